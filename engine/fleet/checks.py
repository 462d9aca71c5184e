"""What stands in the way of a change or a delete: the adapters that a deployment hosts."""

from __future__ import annotations

from collections.abc import Sequence

from client.addon_types import DeployedModel
from client.errors import FailedPrecondition
from client.types import Deployment

NAMED = 3  # of those in the way, by an error


def check_takes_its_addons(changed: Deployment, hosted: Sequence[DeployedModel]) -> None:
    """FailedPrecondition when a changed deployment would take no adapters any more and has some."""
    if hosted and not (changed.enable_addons or changed.enable_hot_reload_latest_addon):
        raise FailedPrecondition(
            f"{changed.name} has the adapter {hosted[0].model}", field="enableAddons", hint="unload it first"
        )


def check_hosts_nothing(deployment: str, hosted: Sequence[DeployedModel]) -> None:
    """FailedPrecondition when a deployment that is to be deleted hosts adapters."""
    if hosted:
        named = ", ".join(str(record.model) for record in hosted[:NAMED])
        raise FailedPrecondition(
            f"deployment {deployment!r} hosts {named}",
            field="name",
            hint="unload them first, or ignoreChecks=true deletes it anyway",
        )
