"""firedeck's own additions below `/firedeck/v1`: the fleet as the dashboard watches it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from client.access_types import ADMIN
from client.fleet_types import AlertPage, DeploymentStatus, FleetSnapshot, History, NodePage, NodeView
from engine.api.common import Caller, HouseDep, Listing, deployment_name, listed
from engine.clock import wall_at
from engine.fleet import views
from engine.fleet.frames import Frame, seen
from engine.house import House
from engine.keys import Principal

router = APIRouter(prefix="/firedeck/v1", tags=["firedeck"])
_ONE = "/accounts/{account}/deployments/{deployment_id}"
_SHOW: dict[str, Any] = {"response_model_exclude_none": True, "response_model_by_alias": True}


@router.get("/fleet", response_model=FleetSnapshot)
async def fleet(house: HouseDep, caller: Caller) -> Response:
    """Every deployment that this key may see, soft-deleted ones included, with numbers, replicas and reasons."""
    quotas_of = house.access.quotas.holding_up
    whole = caller.role == ADMIN
    frame = await seen(house.fleet, quotas_of, house.started_at, caller.account, whole=whole)
    return Response(frame.snapshot(), media_type="application/json")


_DATA = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("FleetSnapshot", "FleetChanges")]}
_EVENT = {
    "type": "object",
    "description": "Each event: a FleetSnapshot first.",
    "required": ["data"],
    "properties": {
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": _DATA},
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": _EVENT}}}}


@router.get("/fleet:watch", response_class=StreamingResponse, responses=_STREAM)
async def watch(
    house: HouseDep,
    caller: Caller,
    interval: Annotated[float, Query(ge=0.2, le=60)] = 1.0,
    changes: Annotated[bool, Query(description="after the first snapshot FleetChanges, where they say all")] = False,
) -> StreamingResponse:
    """Server-sent events: a FleetSnapshot now and every `interval` seconds, as long as the key is good.

    A watcher that reads slowly misses some; what it gets next is the newest. Of a very large fleet they come more
    rarely. With `changes` a whole snapshot comes again when there are other deployments than before, or one was missed.
    """
    return StreamingResponse(_frames(house, caller, interval, changes=changes), media_type="text/event-stream")


async def _frames(house: House, caller: Principal, interval_s: float, *, changes: bool) -> AsyncIterator[bytes]:
    clock, quotas_of = house.fleet.rooms.clock, house.access.quotas.holding_up
    sent: Frame | None = None
    while not house.closing.is_set() and house.keyring.stands(caller):
        frame = await house.frames.latest(
            house.fleet, quotas_of, house.started_at, caller.account, interval_s / 2, whole=caller.role == ADMIN
        )
        if frame is not sent:
            yield frame.event_since(sent) if changes else frame.event
        sent = frame
        # At multiples of the interval, whenever they began: all who watch share one frame.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval_s - clock.monotonic() % interval_s):
                await house.closing.wait()


@router.get("/nodes", response_model=NodePage)
async def nodes(house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The machines that replicas are placed on: labels, capacity, what is free now."""
    return listed(views.nodes(house.fleet), query, NodeView, NodePage, "nodes")


@router.get("/accounts/{account}/alerts", **_SHOW)
async def alerts(account: str, house: HouseDep, caller: Caller) -> AlertPage:
    """What is wrong with the account's deployments now, and the rules that say so."""
    return AlertPage(alerts=views.alerts(house.fleet, account), rules=views.alert_rules())


@router.get(_ONE, **_SHOW)
async def status(account: str, deployment_id: str, house: HouseDep, caller: Caller) -> DeploymentStatus:
    """One deployment as the dashboard shows it: numbers, replicas, the autoscaler's reasons, conditions."""
    keeper, clock = house.fleet.get(deployment_name(account, deployment_id)), house.fleet.rooms.clock
    shown = views.status(house.fleet, keeper, house.access.quotas.holding_up, whole=caller.role == ADMIN)
    if shown.autoscaler is not None:
        shown.autoscaler.decided_at = wall_at(clock, keeper.autoscaler.decided_at)
    return shown


@router.get(_ONE + "/history", **_SHOW)
async def history(
    account: str,
    deployment_id: str,
    house: HouseDep,
    caller: Caller,
    seconds: Annotated[int, Query(ge=1, le=86_400)] = 300,
) -> History:
    """Samples of the last `seconds`, for charts."""
    keeper = house.fleet.get(deployment_name(account, deployment_id))
    return keeper.recorder.read(keeper.name, seconds)
