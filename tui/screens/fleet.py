"""The first page: every deployment on one screen, with charts of the chosen one, the reason for its size, events."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from tui import screens
from tui.core import filter as filters
from tui.core import grouping, query
from tui.core.actions import Place
from tui.core.columns import FLEET, SEVERAL, Column
from tui.core.explain import headline
from tui.core.placed import context_of, short
from tui.core.query import View
from tui.core.row import Row
from tui.core.snapshot import Picture
from tui.core.totals import Totals
from tui.keymap import bindings
from tui.screens.marking import MarkingScreen
from tui.screens.page import CHOOSE_FIRST
from tui.widgets.events_log import EventsLog
from tui.widgets.filter_box import FilterBox
from tui.widgets.fleet_summary import summary
from tui.widgets.fleet_table import FleetTable
from tui.widgets.key_bar import KeyBar
from tui.widgets.paint import Piece, Text, as_of, tone
from tui.widgets.reasons import Reasons, coming, pipeline, stale_mark, troubles
from tui.widgets.status_bar import Banner, StatusBar

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus

LEAST_TABLE, TABLE_SHARE = 3, 0.3  # rows, and the share of the screen that it may take from the charts
REST = timedelta(seconds=0.9)
ASKED_MORE = 1.5  # times as many requests as where the cursor is: below that it stays, it must not flutter


class FleetScreen(MarkingScreen):
    place: Place = "fleet"
    BINDINGS = bindings("fleet")
    AUTO_FOCUS = "FleetTable"

    def __init__(self) -> None:
        super().__init__()
        self.order = filters.FIRST
        self.show_deleted = False
        self._expected: str | None = None
        self._ordered = filters.Ordered()
        self._totals = Totals()
        self._rested_at: datetime | None = None  # when the cursor last looked for a busier deployment

    def on_mount(self) -> None:
        self.order, self.show_deleted = self.deck.views.get("fleet", self.order), self.deck.last_view.show_deleted
        self.filter_box.value = self.order.text
        self.table.trend_of = lambda name: self.deck.picture_of(context_of(name)).trend(name)

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="summary")
        yield FilterBox("words, !word, state:ready, queue>0, ttft95>500ms")
        yield FleetTable(id="fleet")
        yield Text(id="why")
        yield from self.compose_charts()
        with Horizontal(id="below"):
            yield EventsLog(id="events")
            yield Reasons(id="reasons")
        yield KeyBar("fleet")

    @property
    def filter_box(self) -> FilterBox:
        return self.query_one(FilterBox)

    @property
    def context(self) -> str:
        """That of the chosen deployment, else the one that is meant."""
        chosen = context_of(self.table.cursor or "") if self.is_mounted else ""
        return chosen or self.deck.focus

    @property
    def picture(self) -> Picture:
        """Of all contexts."""
        return self.deck.picture

    def troubled(self) -> dict[str, tuple[str, Picture]]:
        fleets = self.deck.fleets
        return {name: (fleets.context(name).account, self.deck.picture_of(name)) for name in fleets.members}

    @property
    def all_columns(self) -> tuple[Column[Row], ...]:
        return SEVERAL if self.deck.fleets.several else FLEET

    @property
    def view(self) -> View:
        """The order, and what the box has now."""
        return replace(self.order, text=self.filter_box.value)

    def target(self) -> DeploymentStatus | None:
        return self.picture.status(self.table.cursor) if self.table.cursor else None

    def draw(self) -> None:
        now = self.deck.clock()
        rows = filters.select(self.deck.rows(), self.view, show_deleted=self.show_deleted, ordered=self._ordered)
        order, stale = self.order, self.picture.stale(now)
        self.table.colours = {one.name: one.colour for one in self.deck.fleets.standings(now, self.deck.config)}
        shown = grouping.grouped(rows, order.group)
        most = max(LEAST_TABLE, int(self.size.height * TABLE_SHARE))
        self.table.styles.height = max(LEAST_TABLE, min(len(shown) + 1, most))
        self.table.styles.overflow_y = "auto" if len(shown) + 1 > most else "hidden"
        self.table.show_columns(query.chosen(order, self.all_columns))
        self.table.show(shown, order.sort, reverse=order.reverse, stale=stale)
        if self._expected is not None and self.table.index_of(self._expected) is not None:
            self.table.choose(self._expected, by_user=True)
            self._expected = None
        self._choose_a_busy_one(rows)
        self._draw_summary(len(rows))
        self._draw_why()

    def _choose_a_busy_one(self, rows: tuple[Row, ...]) -> None:
        """Until the user touches the table the cursor rests on the deployment asked most: its charts show life."""
        now = self.picture.snapshot.time if self.picture.snapshot is not None else None
        if self.table.pinned or now is None or (self._rested_at is not None and abs(now - self._rested_at) < REST):
            return
        self._rested_at = now
        most = max(rows, key=attrgetter("requests"), default=None)
        chosen = self.picture.row(self.table.cursor or "")
        least = ASKED_MORE * chosen.requests if chosen is not None else 0
        if most is not None and most.requests > least:
            self.table.choose(most.name)

    def _draw_summary(self, shown: int) -> None:
        if self.picture.snapshot is None:
            self.query_one("#summary", Text).show([" waiting for the first picture of the fleet"])
            return
        rows = self.picture.rows
        self._totals.take(rows)
        pieces, gone = summary(self._totals), self._totals.deleted
        if self.order.group:
            pieces += ["  ", (f" by {self.order.group} ", "bold $background on $tone-working")]
        if self.table.marked:
            pieces += ["  ", (f" {len(self.marked())} marked ", "bold $background on $tone-attention")]
        pieces += self.filter_box.told(shown)
        pieces += as_of(self.picture.received_at, self.picture.stale_age(self.deck.clock()))
        if self.deck.fleets.several and (old := sum(bool(row.stale) for row in self.table.rows)):
            pieces += [(f"  ▲ {old} as of a while ago", tone("attention", bold=True))]
        if gone:
            pieces += [(f"  +{gone} deleted", tone("dim"))]
        self.query_one("#summary", Text).show(pieces)

    def _draw_why(self) -> None:
        status, row = self.target(), self.picture.row(self.table.cursor or "")
        if status is None or row is None:
            self.query_one("#why", Text).show([self._nothing_chosen()])
            self.query_one(Reasons).show()
            return
        local = self.deck.clock()
        now, stale_age = self.part.engine_now(local), self.part.stale_age(local)
        first: list[Piece] = [(f" {short(row.name)}", "bold"), (" · ", tone("dim"))]
        first += [*stale_mark(stale_age), row.why]
        following = coming(status, now, stale_age)
        second: list[Piece] = [" ", ("→ ", tone("attention", bold=True)), (following, tone("attention"))]
        if found := troubles(status, now):
            second = [" ", ("▲ ", tone("attention", bold=True)), (found[0], tone("attention"))]
        elif row.ready != row.desired:
            second = [" ", *pipeline(status)]
        elif not following:
            second = [(f" {headline(status)}", tone("dim"))]
        self.query_one("#why", Text).show(first, second)
        self.query_one(Reasons).show_status(status, now, stale_age, explained="why" not in self.part.hidden)

    def _nothing_chosen(self) -> str:
        if self.picture.snapshot is None:
            return ""
        if self.table.rows:
            return " no deployment is chosen (↑ ↓)"
        return " no deployment matches" if self.picture.rows else " no deployments yet: create one (:create)"

    # What the user does.

    @on(FleetTable.Chosen)
    def _chosen(self, message: FleetTable.Chosen) -> None:
        if message.by_user:
            self._expected = None
            self.deck.look_at(self.context)
        self.call_after_refresh(self._look_at_chosen)  # the cursor is seen first: all else takes a while to draw

    def _look_at_chosen(self) -> None:
        self._draw_why()
        self.draw_charts()
        self.ask_details()

    @on(FleetTable.Opened)
    def _opened(self, message: FleetTable.Opened) -> None:
        self.action_open()

    @on(FleetTable.SortAsked)
    def _sort_asked(self, message: FleetTable.SortAsked) -> None:
        self.order = query.sorted_by(self.order, message.key)
        self.draw()

    @on(FilterBox.Edited)
    def _filter_changed(self) -> None:
        self.draw()

    @on(FilterBox.Done)
    def _filter_done(self) -> None:
        self.table.focus()
        if self.table.cursor is None:
            self.table.action_edge(0)

    def pin(self) -> None:
        self._expected = None
        self.table.pin()
        self.deck.look_at(self.context)

    def go_to(self, context: str) -> None:
        """The cursor to the first row of this context, unless it is there."""
        if self.context != context:
            first = next((row.name for row in self.table.rows if row.context == context), None)
            if first is not None:
                self.table.choose(first, by_user=True)
            else:
                self.table.leave()

    def expect(self, name: str) -> None:
        """Put the cursor on this deployment as soon as it shows up, unless the user does something else before."""
        self._expected = name

    def open(self, name: str) -> None:
        self.app.push_screen(screens.DeploymentScreen(name))

    def action_open(self) -> None:
        self.pin()
        if self.table.cursor is None or self.target() is None:
            self.notify(CHOOSE_FIRST, severity="warning")
        else:
            self.open(self.table.cursor)

    def action_back(self) -> None:
        """Out of the filter first, then the marks go."""
        if not self.filter_box.shut():
            self.table.mark(frozenset())
            self.draw()
        self.table.focus()

    def action_filter(self) -> None:
        self.filter_box.open()

    def action_sort(self) -> None:
        self.order = query.next_sort(self.order, self.table.seen_columns)
        self.draw()

    def action_reverse(self) -> None:
        self.order = replace(self.order, reverse=not self.order.reverse)
        self.draw()

    def action_group(self) -> None:
        by = grouping.following(self.order.group, several=self.deck.fleets.several)
        self.order = replace(self.order, group=by)
        self.notify(f"grouped by {self.order.group}" if self.order.group else "not grouped", timeout=2)
        self.draw()

    def action_columns(self) -> None:
        shown = [one.key for one in self.table.columns]
        self.app.push_screen(screens.ColumnsDialog(self.all_columns, shown), self._columns_chosen)

    def _columns_chosen(self, keys: tuple[str, ...] | None) -> None:
        self.order = replace(self.order, columns=keys or ())
        self.draw()

    def action_show_deleted(self) -> None:
        self.show_deleted = not self.show_deleted
        self.draw()

    def action_create(self) -> None:
        if not self.deck.refuses("create", self.context):
            self.app.push_screen(screens.CreateDialog(context=self.context))
