"""`/firedeck/v1/events`, and those of one deployment: the newest ones, or all of them page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from client.errors import InvalidArgument
from client.fleet_types import Event, EventPage
from engine.api.common import Caller, HouseDep, Listing, ListQuery, deployment_name, shown
from engine.api.filtering import compiled
from engine.api.listing import page
from engine.store.store import EVENTS_KEPT

router = APIRouter(prefix="/firedeck/v1", tags=["firedeck"])
NEWEST = 100
After = Annotated[int, Query(ge=0, lt=2**63, description="those with a larger seq")]
Limit = Annotated[
    int | None, Query(ge=1, le=1000, description=f"the newest so many, {NEWEST} if not given; not with pages")
]
Read = Callable[[int, int], Awaitable[list[Event]]]  # after, how many


@router.get("/events", response_model=EventPage)
async def all_events(
    house: HouseDep, caller: Caller, query: Listing, after: After = 0, limit: Limit = None
) -> Response:
    """The newest events of the account's deployments that the filter takes, oldest first. With `pageSize`, `pageToken`
    or `orderBy` (`seq` unless given) all of them, page by page."""
    read = partial(house.fleet.rooms.store.events, caller.account)
    return shown(await _found(read, query, after, limit), query.read_mask, "events")


@router.get("/accounts/{account}/deployments/{deployment_id}/events", response_model=EventPage)
async def events(
    account: str, deployment_id: str, house: HouseDep, caller: Caller, query: Listing, after: After = 0,
    limit: Limit = None,
) -> Response:  # fmt: skip
    """The same of one deployment."""
    read = partial(house.fleet.rooms.store.events_of, deployment_name(account, deployment_id))
    return shown(await _found(read, query, after, limit), query.read_mask, "events")


async def _found(read: Read, query: ListQuery, after: int, limit: int | None) -> EventPage:
    paged = query.size is not None or bool(query.token) or bool(query.order_by)
    if paged and limit is not None:
        raise InvalidArgument("limit and pages exclude each other", field="limit", hint="give pageSize instead")
    if paged:
        items = await read(after, EVENTS_KEPT)
        found, token, total = page(items, **asdict(query), default_order="seq", kind=Event)
        return EventPage(events=found, next_page_token=token, total_size=total)
    newest, holds = limit or NEWEST, compiled(query.filter_text, Event)
    items = await read(after, newest if holds is None else EVENTS_KEPT)
    return EventPage(events=[one for one in items if holds is None or holds(one)][-newest:])
