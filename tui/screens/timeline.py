"""The timeline of one deployment's incident: its charts, and below them all that happened on the same axis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from textual import on
from textual.app import ComposeResult

from tui import export
from tui.core import incident, series, svg, units
from tui.core.actions import Place
from tui.core.explain import headline
from tui.core.incident import Moment, Report
from tui.core.lists import Entry
from tui.core.placed import context_of, plain, short
from tui.core.series import Mark
from tui.core.window import KEPT_S
from tui.keymap import bindings
from tui.screens.charted import ChartedPage
from tui.screens.listing import ListScreen
from tui.widgets.filter_box import FilterBox
from tui.widgets.key_bar import KeyBar
from tui.widgets.keyed_table import KeyedTable
from tui.widgets.paint import Text
from tui.widgets.status_bar import Banner, StatusBar

SPAN_S = 900
EVENTS, ACTIONS = 500, 1000


class TimelineScreen(ListScreen, ChartedPage):
    """`around`: the instant that is in the middle of the charts at first; now is at their end without one."""

    BINDINGS = bindings("timeline")
    turns = False

    def __init__(self, deployment: str, around: datetime | None = None) -> None:
        super().__init__("timeline")
        self.place: Place = "timeline"
        self.deployment = deployment
        self.moments: tuple[Moment, ...] = ()
        self.window = replace(self.window, span_s=SPAN_S)
        self._around = around

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="summary")
        yield from self.compose_charts()
        yield FilterBox("words, !word, kind:alert")
        yield KeyedTable[Entry[Any]](self.side.listing.columns, id="list")
        yield Text(id="detail")
        yield KeyBar(self.place)

    @property
    def target_name(self) -> str:
        return self.deployment

    @property
    def context(self) -> str:
        return context_of(self.deployment)

    @property
    def kept_as(self) -> tuple[str, str]:
        return "timeline", self.deployment

    def besides(self) -> tuple[Moment, ...]:
        return self.moments

    def take_besides(self, kept: tuple[Moment, ...]) -> None:
        self.moments = kept

    def counted(self, count: int, now: datetime) -> str:
        return f"{short(self.deployment)}: {count} moments"

    def draw_more(self) -> None:
        self.draw_charts()

    def marks(self) -> tuple[Mark, ...]:
        return incident.marks(self.moments)

    async def ask_rows(self) -> Sequence[Entry[Any]]:
        if self._around is not None:
            self.show_around(self._around)
            self._around = None
        source = self.source
        curves, self.limits, events, done = await asyncio.gather(
            self.ask_curves(self.deployment), self.ask_limits(), source.events(self.deployment, EVENTS),
            asyncio.to_thread(self.deck.executor.journal.read, ACTIONS),
        )  # fmt: skip
        self.take_curves(curves)
        self.events = events
        self.moments = incident.moments(
            self.deployment,
            events,
            self.deck.fleets.held(done),
            self.deck.inbox,
            self._curves.history,
            self.limits.rules,
        )
        return incident.rows(self.moments)

    def show_around(self, moment: datetime) -> None:
        """Charts with this instant in their middle."""
        ago_s = (self.picture.engine_now(self.deck.clock()) - moment).total_seconds()
        back_s = max(0, min(KEPT_S - self.span_s, int(ago_s) - self.span_s // 2))
        self.window = replace(self.window, back_s=back_s)

    @on(KeyedTable.Opened)
    def action_open(self) -> None:
        """The charts go to the chosen moment."""
        row = self.chosen()
        if row is not None:
            self.show_around(row.what.time)
            self.looked(f"charts around {units.clock(row.what.time)}")

    # The report.

    def action_export(self) -> None:
        self.run_worker(self._export(), group="export", exclusive=True)

    async def _export(self) -> None:
        now = self.picture.engine_now(self.deck.clock())
        end = now - timedelta(seconds=self.window.back_s)
        folder = self.deck.exports / f"firedeck-{short(self.deployment).replace(':', '-')}-{end:%Y%m%d-%H%M%S}"
        files = {"incident.md": incident.markdown(self._report(end)), **self._pictures()}
        try:
            await asyncio.to_thread(export.write, folder, files)
        except OSError as error:
            self.notify(f"nothing was written: {error}", severity="error", markup=False)
        else:
            self.notify(str(folder / "incident.md"), title="written", timeout=10, markup=False)

    def _report(self, end: datetime) -> Report:
        status = self.picture.status(self.deployment)
        context = self.deck.fleets.context(self.context)
        facts = [f"context {context.name}, account {context.account}"]
        if status is not None:
            facts += [f"state {status.deployment.state}", headline(status)]
        facts += [f"limit: {name} at {value:g}" for name, value in sorted(self.limits.rules.items())]
        start, simulated = end - timedelta(seconds=self.span_s), status is not None and status.simulated
        return Report(plain(self.deployment), start, end, facts, self.moments, simulated)

    def _pictures(self) -> dict[str, str]:
        return {f"{kind.key}.svg": svg.draw(self.chart_of(kind, live=False)) for kind in series.ALL_CHARTS}
