"""The state that a deployed model shows: its own for an adapter, its deployment's for a base."""

from __future__ import annotations

from client.addon_types import DeployedModel
from engine.control import lifecycle
from engine.control.addons import DEPLOYED, DEPLOYING, FAILED, UNDEPLOYING
from engine.fleet.keeper import Keeper

_OF_BASE = {
    lifecycle.CREATING: DEPLOYING, lifecycle.READY: DEPLOYED, lifecycle.UPDATING: DEPLOYED, lifecycle.FAILED: FAILED,
}  # fmt: skip


def state_of(record: DeployedModel, keeper: Keeper) -> tuple[str, str]:
    """(state, why it failed or "") of a record on the deployment of `keeper`."""
    if record.state == UNDEPLOYING:
        return UNDEPLOYING, ""
    deployment = keeper.deployment
    if record.model == deployment.base_model:
        failed = deployment.status.message if deployment.state == lifecycle.FAILED and deployment.status else ""
        return _OF_BASE.get(deployment.state, DEPLOYING), failed
    if record.model not in keeper.addons.wanted:
        return FAILED, f"{record.model} is no adapter any more: unload it"
    settled = deployment.state == lifecycle.READY
    return keeper.addons.state(record.model or "", keeper.replicas, settled=settled)
