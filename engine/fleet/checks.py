"""What stands in the way of a change or a delete: deleted already, adapters that it hosts, requests that it answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from client.addon_types import DeployedModel
from client.errors import FailedPrecondition, ResourceExhausted
from client.types import Deployment, Model
from engine.control import capacity
from engine.control.addons import UNDEPLOYING
from engine.fleet.keeper import Keeper
from engine.fleet.template import places
from engine.serverless import is_shared

RECENT_USE = timedelta(minutes=1)  # a deployment used so lately is not deleted without `ignoreChecks`
NAMED = 3  # of those in the way, by an error
SHARE_OF_PLACES = 2  # an account may have one in so many of the adapters' places of a serverless deployment


def check_living(deployment: Deployment) -> None:
    """FailedPrecondition when it is soft-deleted."""
    if deployment.delete_time is not None:
        raise FailedPrecondition(f"deployment {deployment.name!r} is deleted", field="name", hint="undelete it first")


def check_takes_its_addons(
    changed: Deployment, hosted: Sequence[DeployedModel], adapters: Sequence[Model], *, was_merged: bool
) -> None:
    """FailedPrecondition when a changed deployment would take no adapters any more and has some, or only one and has
    more, or has no room for those that it has. `was_merged`: it took only one before, too."""
    if hosted and not (changed.enable_addons or changed.enable_hot_reload_latest_addon):
        raise FailedPrecondition(
            f"{changed.name} has the adapter {hosted[0].model}", field="enableAddons", hint="unload it first"
        )
    standing = [record for record in hosted if record.state != UNDEPLOYING]
    if changed.enable_hot_reload_latest_addon and not was_merged and len(standing) > 1:
        raise FailedPrecondition(
            f"{changed.name} has {len(standing)} adapters, and with enableHotReloadLatestAddon it takes one at a time",
            field="enableHotReloadLatestAddon",
            hint=f"unload all but one first: firedeck unload-lora {standing[0].model}",
        )
    check_room_for(changed, adapters)


def check_share(deployment: Deployment, account: str, adapters: Sequence[Model]) -> None:
    """ResourceExhausted when an account would hold more than its share of a serverless deployment with these adapters
    of its own, the last of which is the one to load: more of them, or of larger ranks together."""
    if not is_shared(deployment.name):
        return
    cached = places(deployment)
    share = max(1, cached // SHARE_OF_PLACES)
    if len(adapters) <= share and capacity.adapters_over(_ranks(adapters), share) is None:
        return
    raise ResourceExhausted(
        f"account {account!r} may hold {share} adapters on {deployment.name}, with ranks of "
        f"{share * capacity.ADAPTER_RANK} in all, and has {len(adapters) - 1}: others share its {cached} places",
        field="model",
        hint=f"unload one of yours first, or load {adapters[-1].name} onto a deployment of your own",
    )


def check_room_for(deployment: Deployment, adapters: Sequence[Model]) -> None:
    """FailedPrecondition when replicas have no room for these adapters, the last of which is the one to load."""
    ranks = _ranks(adapters)
    cached = places(deployment)
    over = capacity.adapters_over(ranks, cached)
    if over is None:
        return
    most, enough = over
    raise FailedPrecondition(
        f"adapters of {deployment.name} may be in memory together with ranks of {most} in all, and a replica has room "
        f"for {cached * capacity.ADAPTER_RANK} ({cached} of rank {capacity.ADAPTER_RANK}); {adapters[-1].name} has "
        f"rank {ranks[-1]}",
        field="model",
        hint=f"numPeftDeviceCached {enough} is room enough, or unload others first",
    )


def _ranks(adapters: Sequence[Model]) -> list[int]:
    return [a.peft_details.r if a.peft_details and a.peft_details.r else capacity.ADAPTER_RANK for a in adapters]


def check_hosts_nothing(deployment: str, hosted: Sequence[DeployedModel]) -> None:
    """FailedPrecondition when a deployment that is to be deleted hosts adapters."""
    if hosted:
        named = ", ".join(str(record.model) for record in hosted[:NAMED])
        raise FailedPrecondition(
            f"deployment {deployment!r} hosts {named}",
            field="name",
            hint="unload them first, or ignoreChecks=true deletes it anyway",
        )


def check_routed_to_by_none(deployment: str, routers: Sequence[str]) -> None:
    """FailedPrecondition when routers may send requests to a deployment that is to be deleted."""
    if routers:
        named = ", ".join(routers[:NAMED])
        raise FailedPrecondition(
            f"deployment {deployment!r} is a target of {named}",
            field="name",
            hint=f"take it out first: firedeck router update {routers[0].rpartition('/')[2]}, "
            "or ignoreChecks=true deletes it anyway",
        )


def check_unused(keeper: Keeper, now: datetime) -> None:
    """FailedPrecondition when a deployment that is to be deleted has requests, or had one a moment ago, be it without
    an answer: whoever asked it may ask again."""
    busy = keeper.running() + keeper.lobby.held
    last = keeper.meter.last_request_at
    if busy or (last is not None and now - last < RECENT_USE):
        use = f"{busy} requests are under way" if busy else "it was asked less than a minute ago"
        raise FailedPrecondition(
            f"deployment {keeper.name!r} is in use: {use}", field="name", hint="ignoreChecks=true deletes it anyway"
        )
