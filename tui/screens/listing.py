"""A side page: one table (nodes, events, users, ...), and below it what is known of the chosen row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from textual import on
from textual.app import ComposeResult

from client.access_types import AuditLogEntry
from client.errors import FiredeckError
from client.listing import Listed
from tui.core import list_pages, lists, units
from tui.core.actions import Place
from tui.core.journal import Journal
from tui.core.lists import Entry, Listing, T
from tui.core.snapshot import Picture
from tui.keymap import bindings
from tui.screens.deployment import DeploymentScreen
from tui.screens.page import Page
from tui.sources.base import FleetSource
from tui.widgets.filter_box import FilterBox
from tui.widgets.key_bar import KeyBar
from tui.widgets.keyed_table import KeyedTable
from tui.widgets.paint import Piece, Text, as_of, tone
from tui.widgets.status_bar import Banner, StatusBar

EVENTS, RECORDS = 500, 200  # how many of them a page has
Ask = Callable[[FleetSource, Picture], Awaitable[Sequence[Entry[T]]]]


@dataclass(frozen=True, slots=True)
class Side(Generic[T]):
    """A listing and where its rows come from; `ask_all` where `ask` leaves out what only read."""

    listing: Listing[T]
    ask: Ask[T]
    ask_all: Ask[T] | None = None
    most: int | None = None  # rows that it asks for at most
    local: Callable[[Journal], Sequence[Entry[T]]] | None = None  # of what this machine keeps: asks no source


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


def _part(found: Listed[AuditLogEntry]) -> Sequence[Entry[Any]]:
    part: Listed[Entry[Any]] = Listed(lists.audit(found))
    part.total_size = found.total_size
    return part


async def _nothing(source: FleetSource, picture: Picture) -> Sequence[Entry[Any]]:
    return ()


def _journal(journal: Journal) -> Sequence[Entry[Any]]:
    return lists.journal(journal.read(RECORDS))


SIDES: dict[str, Side[Any]] = {
    side.listing.id: side
    for side in (
        Side(list_pages.NODES, _nodes), Side(list_pages.EVENTS, _events, most=EVENTS),
        Side(list_pages.CONDITIONS, _conditions),
        Side(list_pages.QUARANTINE, _quarantine), Side(list_pages.USERS, _users), Side(list_pages.KEYS, _keys),
        Side(list_pages.QUOTAS, _quotas), Side(list_pages.AUDIT, _changes, _audit),
        Side(list_pages.JOURNAL, _nothing, local=_journal, most=RECORDS),
    )
}  # fmt: skip


class ListScreen(Page):
    """Asks its source as often as the listing says, keeps what it has when that fails, and says why and how old."""

    place: Place = "list"
    BINDINGS = bindings("audit")
    AUTO_FOCUS = "KeyedTable"

    def __init__(self, page: str) -> None:
        super().__init__()
        self.side = SIDES[page]
        self.place = "audit" if self.side.ask_all else "list"
        self.entries: tuple[Entry[Any], ...] | None = None
        self._asked_at: datetime | None = None
        self._answered_at: datetime | None = None
        self._asking = False
        self._note = ""
        self._reads = False
        self._total: int | None = None  # where the source has said how many there are besides

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="summary")
        yield FilterBox("words, !word")
        yield KeyedTable[Entry[Any]](self.side.listing.columns, id="list")
        yield Text(id="detail")
        yield KeyBar(self.place)

    @property
    def table(self) -> KeyedTable[Entry[Any]]:
        return self.query_one(KeyedTable)

    @property
    def filter_box(self) -> FilterBox:
        return self.query_one(FilterBox)

    def draw(self) -> None:
        now = self.deck.clock()
        rows = lists.select(self.entries or (), self.side.listing, self.filter_box.value)
        self.table.show(rows, stale=bool(self._age(now)))
        self.query_one("#summary", Text).show(self._summary(len(rows), now))
        self._draw_detail()

    def _age(self, now: datetime) -> str:
        """How old the rows are, once they are not renewed any more; else nothing."""
        if self.picture.link.lost_at is None and not self._note:
            return ""
        return units.since(self._answered_at, now) if self._answered_at else ""

    def _summary(self, shown: int, now: datetime) -> list[Piece]:
        listing = self.side.listing
        pieces: list[Piece] = [(f" {listing.title} ", "bold $background on $tone-working"), " "]
        if self.entries is None:
            return [*pieces, (self._note or "asking", tone("attention" if self._note else "dim"))]
        pieces.append((self._count() if self.entries else listing.empty, "bold" if self.entries else ""))
        if self.side.ask_all and not self._reads:
            pieces.append(("  without reads (x shows them)", tone("dim")))
        pieces += self.filter_box.told(shown)
        pieces += as_of(self._answered_at, self._age(now))
        if self._note:
            pieces.append((f"  {self._note}", tone("attention")))
        return pieces

    def _count(self) -> str:
        """How many rows there are, and where they are a part: of how many, as far as that is known."""
        count, most = len(self.entries or ()), self.side.most
        if self._total is not None and self._total > count:
            return f"the newest {count} of {self._total}"
        return f"the newest {count}" if self._total is None and count == most else f"{count}"

    def _draw_detail(self) -> None:
        row = self._chosen()
        told = self.side.listing.detail(row, self.picture.engine_now(self.deck.clock())) if row else ()
        self.query_one("#detail", Text).show(*([f" {line}"] for line in told))

    def _chosen(self) -> Entry[Any] | None:
        index = self.table.index_of(self.table.cursor)
        return None if index is None else self.table.rows[index]

    # Its rows.

    def ask_details(self) -> None:
        now, every = self.deck.clock(), self.side.listing.every_s
        due = self._asked_at is None or (now - self._asked_at).total_seconds() >= every
        if due and not self._asking and self.picture.snapshot is not None and self.picture.link.lost_at is None:
            self._asking, self._asked_at = True, now
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    async def _ask(self) -> None:
        ask = self.side.ask_all if self._reads and self.side.ask_all else self.side.ask
        try:
            local = self.side.local
            if local is not None:
                entries, note = await asyncio.to_thread(local, self.deck.executor.journal), ""
            else:
                entries, note = await ask(self.deck.source, self.picture), ""
        except FiredeckError as error:
            entries, note = (), error.text
        finally:
            self._asking = False
        if self.is_gone:
            return
        if not note:
            self.entries, self._answered_at = tuple(entries), self.deck.clock()
            self._total = entries.total_size if isinstance(entries, Listed) else None
        self._note = note
        self.draw()

    # What the user does.

    @on(KeyedTable.Chosen)
    def _row_chosen(self) -> None:
        self._draw_detail()

    @on(KeyedTable.Opened)
    def action_open(self) -> None:
        row = self._chosen()
        if row is not None and self.picture.status(row.deployment) is not None:
            self.app.push_screen(DeploymentScreen(row.deployment))

    @on(FilterBox.Edited)
    def _filter_changed(self) -> None:
        self.draw()

    @on(FilterBox.Done)
    def _filter_done(self) -> None:
        self.table.focus()

    def action_show_reads(self) -> None:
        if self.side.ask_all is None:
            self.notify("only the audit log has reads", severity="warning")
            return
        self._reads, self._asked_at = not self._reads, None
        self.draw()
        self.ask_details()

    def action_filter(self) -> None:
        self.filter_box.open()

    def action_back(self) -> None:
        """Out of the filter first, then to the page before."""
        if self.filter_box.shut():
            self.table.focus()
        else:
            self.app.pop_screen()
