"""A side page: one table (nodes, events, users, ...), and below it what is known of the chosen row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from textual import on
from textual.app import ComposeResult

from client.errors import FiredeckError
from client.listing import Listed
from tui.core import keys, lists, query, units
from tui.core.actions import Place
from tui.core.lists import Answer, Entry
from tui.core.query import View
from tui.keymap import bindings
from tui.screens.columns import ColumnsDialog
from tui.screens.deployment import DeploymentScreen
from tui.screens.page import Page
from tui.screens.sides import SIDES
from tui.widgets.filter_box import FilterBox
from tui.widgets.key_bar import KeyBar
from tui.widgets.keyed_table import KeyedTable
from tui.widgets.paint import Piece, Text, as_of, tone
from tui.widgets.status_bar import Banner, StatusBar


class ListScreen(Page):
    """Asks its source as often as the listing says, keeps what it has when that fails, and says why and how old."""

    place: Place = "list"
    CSS_PATH = "listing.tcss"
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
        self._page = page
        self._renewed = False  # what is shown has been answered since the page was opened
        self._of: str | None = None  # the context that the rows are of
        self._total: int | None = None  # where the source has said how many there are besides

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="summary")
        yield FilterBox(f"words, !word, {self.side.listing.columns[0].key}:word")
        yield KeyedTable[Entry[Any]](self.side.listing.columns, id="list")
        yield Text(id="detail")
        yield KeyBar(self.place)

    @property
    def listed(self) -> str:
        return str(self.side.listing.id)

    @property
    def table(self) -> KeyedTable[Entry[Any]]:
        return self.query_one(KeyedTable)

    @property
    def filter_box(self) -> FilterBox:
        return self.query_one(FilterBox)

    @property
    def view(self) -> View:
        """How the user looks at this page: kept by the app, so that it is the same when the page is opened again."""
        return self.deck.views.get(self.side.listing.id, View())

    @view.setter
    def view(self, view: View) -> None:
        self.deck.views[self.side.listing.id] = view
        self.draw()

    def on_mount(self) -> None:
        self.filter_box.value = self.view.text

    def found(self, now: datetime) -> tuple[Entry[Any], ...] | None:
        """Every row, before the filter; None before the first answer."""
        return self.entries

    def draw(self) -> None:
        if self._of != self.context:  # another one's rows are not shown for its own
            self._of, self._asked_at, self._note = self.context, None, ""
            self._show_kept(self.deck.answers.get(self.kept_as))
        now = self.deck.clock()
        view = self.view
        self.table.show_columns(query.chosen(view, self.side.listing.columns))
        rows = lists.select(self.found(now) or (), self.side.listing, view)
        self.table.show(rows, view.sort, reverse=view.reverse, stale=bool(self._age(now)))
        self.query_one("#summary", Text).show(self._summary(len(rows), now))
        self._draw_detail()

    def _show_kept(self, kept: Answer | None) -> None:
        """What was answered when the page was open before, until there is news."""
        self._renewed, self._total = False, kept.total if kept else None
        self.entries, self._answered_at = (kept.entries, kept.at) if kept else (None, None)
        if kept is not None:
            self.take_besides(kept.besides)

    @property
    def kept_as(self) -> tuple[str, str]:
        """What the answers are about: the page, and of several contexts the one."""
        return self._page, self.context

    @property
    def keeps(self) -> bool:
        """Whether the rows are those that the page begins with."""
        return not self._reads

    def besides(self) -> Any:
        """What the page knows beside its rows."""

    def take_besides(self, kept: Any) -> None:
        """That again, of an answer which was kept."""

    def _age(self, now: datetime) -> str:
        """How old the rows are, until they are renewed and once they are not any more; else nothing."""
        if self.side.local is not None or (self._renewed and self.picture.link.lost_at is None and not self._note):
            return ""
        return units.since(self._answered_at, now) if self._answered_at else ""

    def _summary(self, shown: int, now: datetime) -> list[Piece]:
        listing = self.side.listing
        age = as_of(self._answered_at, self._age(now))  # first: on a narrow screen the rest of the line is cut
        title: Piece = (f" {listing.title} ", "bold $background on $tone-working")
        pieces: list[Piece] = [title, *age, "  " if age else " ", *self._whose()]
        found = self.found(now)
        if found is None:
            lost = self.picture.link.lost_at is not None and self.side.local is None
            why = self._note or ("not known: no connection" if lost else "")
            return [*pieces, (why or "asking", tone("attention" if why else "dim"))]
        none = listing.empty.partition(";")[0]  # the rest of it is what can be done, told below
        pieces.append((self.counted(len(found), now), "bold") if found else none)
        if self.side.ask_all and not self._reads:
            key = keys.shown(self.deck.actions, "show_reads")
            pieces.append((f"  without reads ({key} shows them)", tone("dim")))
        pieces += self.filter_box.told(shown)
        if self._note:
            pieces.append((f"  {self._note}", tone("attention")))
        return pieces

    def _whose(self) -> list[Piece]:
        """Of several contexts the one that the page is of, and the key that turns to another."""
        if not self.context or self.side.local is not None:
            return []
        colour = self.deck.config.tone_of(self.deck.fleets.context(self.context))
        name: Piece = (f"of {self.context}", tone(colour, bold=True) if colour else "bold")
        if not self.turns:
            return [name, "  "]
        return [name, (f" ({keys.shown(self.deck.actions, 'context')} turns to another)  ", tone("dim"))]

    def counted(self, count: int, now: datetime) -> str:
        """How many rows there are, and where they are a part: of how many, as far as that is known."""
        most = self.side.most
        if self._total is not None and self._total > count:
            return f"the newest {count} of {self._total}"
        return f"the newest {count}" if self._total is None and count == most else f"{count}"

    def _draw_detail(self) -> None:
        row = self.chosen()
        now = self.deck.clock()
        told = self.detail(row, self.picture.engine_now(now)) if row else ()
        if self.found(now) == ():
            told = (self.side.listing.empty,)  # and what to do about it
        self.query_one("#detail", Text).show(*([f" {line}"] for line in told))

    def detail(self, row: Entry[Any], now: datetime) -> tuple[str, ...]:
        """What is told of the chosen row; `now` is the engine's clock."""
        return self.side.listing.detail(row, now)

    def chosen(self) -> Entry[Any] | None:
        index = self.table.index_of(self.table.cursor)
        return None if index is None else self.table.rows[index]

    # Its rows.

    def ask_details(self) -> None:
        now, every = self.deck.clock(), self.side.listing.every_s
        due = self._asked_at is None or (now - self._asked_at).total_seconds() >= every
        if due and not self._asking and self._answerable:
            self._asking, self._asked_at = True, now
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    @property
    def _answerable(self) -> bool:
        """Somebody is there to be asked, or nobody need be: of what this machine or the picture has."""
        if self.side.local is not None:
            return True
        reached = self.picture.link.lost_at is None or not self.side.listing.every_s
        return reached and self.picture.snapshot is not None

    async def ask_rows(self) -> Sequence[Entry[Any]]:
        ask = self.side.ask_all if self._reads and self.side.ask_all else self.side.ask
        return await ask(self.source, self.picture)

    def ask_anew(self) -> None:
        """The user wants other rows: an answer that is on its way is followed by another question."""
        self._asked_at = None
        self.draw()
        self.ask_details()

    async def _ask(self) -> None:
        context = self.context
        try:
            local = self.side.local
            if local is not None:
                journal, held = self.deck.executor.journal, self.deck.fleets.held
                entries, note = await asyncio.to_thread(local, journal, held), ""
            else:
                entries, note = await self.ask_rows(), ""
        except FiredeckError as error:
            entries, note = (), error.text
        finally:
            self._asking = False
        if self.is_gone:
            return
        if context != self.context:  # what was asked of another one
            self.ask_anew()
            return
        if not note:
            self._take(tuple(entries), entries.total_size if isinstance(entries, Listed) else None)
        self._note = note
        self.draw()

    def _take(self, entries: tuple[Entry[Any], ...], total: int | None) -> None:
        """An answer. What is made of the picture is as old as that is."""
        of_picture = self.side.local is None and not self.side.listing.every_s
        at = self.picture.received_at if of_picture else None
        self.entries, self._total, self._answered_at = entries, total, at or self.deck.clock()
        self._renewed = True
        if self.keeps:
            self.deck.keep_answer(self.kept_as, Answer(entries, self._answered_at, total, self.besides()))

    # What the user does.

    @on(KeyedTable.Chosen)
    def _row_chosen(self) -> None:
        self._draw_detail()

    @on(KeyedTable.Opened)
    def action_open(self) -> None:
        row = self.chosen()
        if row is not None and self.picture.status(row.deployment) is not None:
            self.app.push_screen(DeploymentScreen(row.deployment))

    @on(FilterBox.Edited)
    def _filter_changed(self) -> None:
        self.view = replace(self.view, text=self.filter_box.value)

    @on(FilterBox.Done)
    def _filter_done(self) -> None:
        self.table.focus()

    def action_show_reads(self) -> None:
        if self.side.ask_all is None:
            self.notify("only the audit log has reads", severity="warning")
            return
        self._reads = not self._reads
        self.ask_anew()

    @on(KeyedTable.SortAsked)
    def _sort_asked(self, message: KeyedTable.SortAsked) -> None:
        self.view = query.sorted_by(self.view, message.key)

    def action_sort(self) -> None:
        self.view = query.next_sort(self.view, self.table.seen_columns)

    def action_reverse(self) -> None:
        self.view = replace(self.view, reverse=not self.view.reverse)

    def action_columns(self) -> None:
        shown = [one.key for one in self.table.columns]
        self.app.push_screen(ColumnsDialog(self.side.listing.columns, shown), self._columns_chosen)

    def _columns_chosen(self, keys: tuple[str, ...] | None) -> None:
        self.view = replace(self.view, columns=keys or ())

    def action_filter(self) -> None:
        self.filter_box.open()

    def action_back(self) -> None:
        """Out of the filter first, then to the page before."""
        if self.filter_box.shut():
            self.table.focus()
        else:
            self.app.pop_screen()
