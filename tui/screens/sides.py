"""Where the rows of each side page come from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic

from client.access_types import AuditLogEntry
from client.listing import Listed
from client.usage_tokens_types import TokenRow
from tui.core import (
    alert_page,
    cost_page,
    incident,
    jobs_page,
    list_pages,
    lists,
    matrix_page,
    model_page,
    quota_page,
    request_page,
    router_page,
    speculation_page,
    spending_page,
)
from tui.core.journal import Entry as Done
from tui.core.journal import Journal
from tui.core.lists import Entry, Listing, T
from tui.core.snapshot import Picture
from tui.sources.base import FleetSource

EVENTS, RECORDS = 500, 200  # how many of them a page has
Held = Callable[[Sequence[Done]], Sequence[Done]]  # those of the contexts at hand, by the names of their deployments
Ask = Callable[[FleetSource, Picture], Awaitable[Sequence[Entry[T]]]]


@dataclass(frozen=True, slots=True)
class Side(Generic[T]):
    """A listing and where its rows come from; `ask_all` where `ask` leaves out what only read."""

    listing: Listing[T]
    ask: Ask[T]
    ask_all: Ask[T] | None = None
    most: int | None = None  # rows that it asks for at most
    local: Callable[[Journal, Held], Sequence[Entry[T]]] | None = None  # of what this machine keeps: asks no source


async def _nodes(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.nodes(await source.nodes(), picture)


async def _events(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.events(await source.events(None, EVENTS))


async def _conditions(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.conditions(picture, source.context.account)


async def _quarantine(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.quarantine(picture)


async def _users(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.users(await source.users())


async def _keys(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.keys(await source.api_keys())


async def _quotas(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return lists.quotas(await source.quotas())


async def _audit(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return _part(await source.audit_logs(RECORDS))


async def _changes(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return _part(await source.audit_logs(RECORDS, reads=False))


async def _requests(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return request_page.rows((await source.requests(RECORDS)).requests)


async def _routers(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return router_page.rows(await source.routers())


async def _models(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    found, loaded = await asyncio.gather(source.models(), source.deployed_models())
    return model_page.models(found, loaded, picture)


async def _adapters(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    loaded, asked = await asyncio.gather(source.deployed_models(), _today(source, picture, "deployment,adapter"))
    return model_page.adapters(loaded, asked, picture)


async def _jobs(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    found, loaded = await asyncio.gather(source.models(), source.deployed_models())
    return jobs_page.rows(found, loaded, picture)


async def _speculation(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    found, asked = await asyncio.gather(source.models(), _today(source, picture, "deployment"))
    return speculation_page.rows(picture.snapshot.deployments if picture.snapshot else [], found, asked)


async def _today(source: FleetSource, picture: Picture, group_by: str) -> list[TokenRow]:
    """What requests used since midnight (UTC), by the engine's clock; nothing where nobody counts that."""
    if "costs" in source.facts.lacks:
        return []
    now = picture.snapshot.time.astimezone(UTC) if picture.snapshot else datetime.now(UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return (await source.token_usage(start, now, group_by)).rows


async def _nothing(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    """Of a page that asks for itself, or asks no source."""
    return ()


def _journal(journal: Journal, held: Held) -> Sequence[Entry[Any]]:
    done = journal.read(RECORDS)
    return lists.journal(done, [next((one.target for one in held([entry])), "") for entry in done])


def _part(found: Listed[AuditLogEntry]) -> Sequence[Entry[Any]]:
    part: Listed[Entry[Any]] = Listed(lists.audit(found))
    part.total_size = found.total_size
    return part


SIDES: dict[str, Side[Any]] = {
    side.listing.id: side
    for side in (
        Side(alert_page.ALERTS, _events),
        Side(list_pages.NODES, _nodes),
        Side(list_pages.EVENTS, _events, most=EVENTS),
        Side(list_pages.CONDITIONS, _conditions),
        Side(list_pages.QUARANTINE, _quarantine),
        Side(list_pages.USERS, _users),
        Side(list_pages.KEYS, _keys),
        Side(quota_page.QUOTAS, _quotas),
        Side(list_pages.AUDIT, _changes, _audit),
        Side(list_pages.JOURNAL, _nothing, local=_journal, most=RECORDS),
        Side(router_page.ROUTERS, _routers),
        Side(cost_page.COSTS, _nothing),
        Side(spending_page.SPENDING, _nothing),
        Side(incident.TIMELINE, _nothing),
        Side(model_page.MODELS, _models),
        Side(jobs_page.JOBS, _jobs),
        Side(model_page.ADAPTERS, _adapters),
        Side(matrix_page.listing(()), _nothing),
        Side(speculation_page.SPECULATION, _speculation),
        Side(request_page.REQUESTS, _requests, most=RECORDS),
    )
}
