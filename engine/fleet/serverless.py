"""Keeps the library's account as `firedeck serve --serverless` says: a deployment for each model that is offered, and
no other one but those that were: their users are told a day, and have them until then. What is taken away is deleted
softly, so that it comes back with what was loaded onto it."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import Any

from client.errors import NotFound
from client.names import LIBRARY_ACCOUNT
from client.types import AutoscalingPolicy, Deployment
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.serverless import Serverless, deployment_of, last_day, told, until

log = logging.getLogger(__name__)

BY = "serve"  # who it was, for events
IDLE = timedelta(minutes=5)  # without a request, then it goes to zero: the least that the product allows
_DESCRIPTION = "serverless: shared by all accounts, best effort"


async def offer(fleet: Fleet, terms: Serverless) -> None:
    """InvalidArgument and NotFound for a model that cannot be offered, FailedPrecondition for one that no node here
    can hold, and for a day that gives too little notice."""
    there, today = {keeper.name: keeper for keeper in fleet.keepers(LIBRARY_ACCOUNT)}, fleet.rooms.clock.wall().date()
    ends = {model: _end(model, terms, there.get(deployment_of(model)), today) for model in terms.names}
    wanted = {deployment_of(model): model for model, day in ends.items() if day is None or day > today}
    for model in wanted.values():
        fleet.rooms.library.get(model, "serverless")
    for name, keeper in there.items():
        if name not in wanted and not keeper.deleted:
            await _let_go(fleet, keeper, today)
    for name, model in wanted.items():
        found = there.get(name)
        if found is not None and found.deleted:
            found = await _brought_back(fleet, found)
        if found is None:
            await fleet.create(LIBRARY_ACCOUNT, _spec(model, terms), model.rpartition("/")[2], by=BY)
        else:
            await _adapt(fleet, found, _spec(model, terms))
        await _tell(fleet, fleet.get(name), ends[model])


def offered(fleet: Fleet) -> dict[str, date | None]:
    """The models that are served so now, by id, and the day on which each is taken away."""
    living = [keeper.deployment for keeper in fleet.keepers(LIBRARY_ACCOUNT) if not keeper.deleted]
    return {(one.base_model or "").rpartition("/")[2]: until(one) for one in living}


def _end(model: str, terms: Serverless, keeper: Keeper | None, today: date) -> date | None:
    """The day that its users are to be told, or that has come; None where it goes on."""
    asked, serves = terms.ends.get(model), keeper is not None and not keeper.deleted
    if asked is None or (asked <= today and not serves):
        return asked
    return last_day(model, until(keeper.deployment) if keeper is not None and serves else None, asked, today)


async def _let_go(fleet: Fleet, keeper: Keeper, today: date) -> None:
    """What is offered no more goes on its day; where none was told, that begins now."""
    model = keeper.deployment.base_model or ""
    day = last_day(model, until(keeper.deployment), None, today)
    if day <= today:
        await fleet.delete(keeper.name, by=BY, hard=False, ignore_checks=True)
        return
    await _tell(fleet, keeper, day)
    log.warning("%s is not among --serverless any more: it is served until %s, as its users are told", model, day)


async def _tell(fleet: Fleet, keeper: Keeper, day: date | None) -> None:
    """Write the day where answers and listings find it, with an event. None: it stays."""
    now = keeper.deployment
    if until(now) == day:
        return
    await fleet.update(keeper.name, Deployment(annotations=told(now, day)), None, by=BY)
    model = now.base_model or ""
    if day is None:
        await keeper.announce("Normal", "ServerlessStays", f"{model} is offered serverless again without an end")
    else:
        await keeper.announce("Warning", "ServerlessEnds", f"{model} leaves serverless on {day}: deploy it, or another")


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
