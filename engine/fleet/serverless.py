"""Keeps the library's account as `firedeck serve --serverless` says: a deployment for each model that is offered, and
no other one. What is not offered any more is deleted softly, so that it comes back with what was loaded onto it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from client.errors import NotFound
from client.names import LIBRARY_ACCOUNT
from client.types import AutoscalingPolicy, Deployment
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.serverless import Serverless, deployment_of

BY = "serve"  # who it was, for events
IDLE = timedelta(minutes=5)  # without a request, then it goes to zero: the least that the product allows
_DESCRIPTION = "serverless: shared by all accounts, best effort"


async def offer(fleet: Fleet, terms: Serverless) -> None:
    """InvalidArgument and NotFound for a model that cannot be offered, FailedPrecondition for one that no node here
    can hold."""
    wanted = {deployment_of(model): model for model in terms.names}
    for model in wanted.values():
        fleet.rooms.library.get(model, "serverless")
    there = {keeper.name: keeper for keeper in fleet.keepers(LIBRARY_ACCOUNT)}
    for name, keeper in there.items():
        if name not in wanted and not keeper.deleted:
            await fleet.delete(name, by=BY, hard=False, ignore_checks=True)
    for name, model in wanted.items():
        found = there.get(name)
        if found is not None and found.deleted:
            found = await _brought_back(fleet, found)
        if found is None:
            await fleet.create(LIBRARY_ACCOUNT, _spec(model, terms), model.rpartition("/")[2], by=BY)
        else:
            await _adapt(fleet, found, _spec(model, terms))


def _spec(model: str, terms: Serverless) -> Deployment:
    return Deployment(
        base_model=model, display_name=model.rpartition("/")[2][:63], description=_DESCRIPTION,
        min_replica_count=0, max_replica_count=terms.replicas, enable_addons=terms.addons,
        preemptible=True,  # best effort: dedicated deployments go first
        autoscaling_policy=AutoscalingPolicy(scale_to_zero_window=IDLE),
    )  # fmt: skip


async def _brought_back(fleet: Fleet, keeper: Keeper) -> Keeper | None:
    """None for one that nobody can bring back any more: it is gone."""
    try:
        await fleet.undelete(keeper.name, by=BY)
    except NotFound:
        await fleet.delete(keeper.name, by=BY, hard=True, ignore_checks=True)
        return None
    return keeper


async def _adapt(fleet: Fleet, keeper: Keeper, spec: Deployment) -> None:
    """To other terms than it was made with. Adapters that are loaded go on where no more may be loaded."""
    changes: dict[str, Any] = {"max_replica_count": spec.max_replica_count}
    if spec.enable_addons or not fleet.deployed.addons_on(keeper.name):
        changes["enable_addons"] = spec.enable_addons
    now = keeper.deployment
    if differing := {name: value for name, value in changes.items() if (getattr(now, name) or 0) != (value or 0)}:
        await fleet.update(keeper.name, Deployment(**differing), None, by=BY)
    if not fleet.deployed.serves_base(keeper):  # an earlier firedeck ended between the two
        await fleet.deployed.add_base(keeper, BY)
