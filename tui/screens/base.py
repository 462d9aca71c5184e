"""What the fleet page and a deployment's page share: charts and events of one deployment, the change verbs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus, Event, History
from tui.core import series
from tui.core.plan import Verb
from tui.screens import verbs
from tui.screens.page import Page
from tui.screens.verbs import CHOOSE_FIRST
from tui.widgets.chart import ChartView
from tui.widgets.events_log import EventsLog

SPANS_S = (120, 300, 900, 3600)
YOUNG_S = 240


@dataclass(frozen=True, slots=True)
class Curves:
    """What the charts may show, and of which deployment; `note` says why there is no history."""

    deployment: str | None = None
    history: History | None = None
    note: str = ""


class DeckScreen(Page):
    """A page about a deployment. Subclasses say which one is meant and draw the picture."""

    def __init__(self) -> None:
        super().__init__()
        self._span_s: int | None = None
        self._asking = False
        self._curves = Curves()

    def compose_charts(self) -> ComposeResult:
        with Horizontal(id="charts"):
            for kind in series.CHARTS:
                yield ChartView(id=f"chart-{kind.key}")

    @property
    def span_s(self) -> int:
        """What the charts cover: the user's choice, or 5 minutes; 2 while the engine is too young to fill those."""
        if self._span_s is not None:
            return self._span_s
        snapshot = self.picture.snapshot
        young = snapshot is not None and (snapshot.time - snapshot.engine.started_at).total_seconds() < YOUNG_S
        return SPANS_S[0] if young else SPANS_S[1]

    def target(self) -> DeploymentStatus | None:
        """The deployment that the user means now."""
        raise NotImplementedError

    @property
    def target_name(self) -> str | None:
        status = self.target()
        return status.deployment.name if status is not None else None

    @property
    def events_of(self) -> str | None:
        """Whose events the page shows; None for the whole fleet's."""
        return None

    def pin(self) -> None:
        """The user has begun to act on the target: from now on only the user changes what that is."""

    def draw_more(self) -> None:
        self.draw_charts()

    # History and events of the deployment that is looked at.

    def ask_details(self) -> None:
        if not self._asking and self.picture.snapshot is not None and self.picture.link.lost_at is None:
            self._asking = True
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    async def _ask(self) -> None:
        name = self.target_name
        try:
            curves, (events, note) = await asyncio.gather(self._ask_curves(name), self._ask_events())
        finally:
            self._asking = False
        if self.is_gone:
            return
        self.query_one(EventsLog).show(events, note)
        if name == self.target_name:
            self._curves = curves
            self.draw_charts()
        else:
            self.ask_details()

    async def _ask_curves(self, name: str | None) -> Curves:
        if name is None:
            return Curves()
        try:
            return Curves(name, await self.deck.source.history(name, self.span_s))
        except FiredeckError as error:
            return Curves(name, None, error.text)

    async def _ask_events(self) -> tuple[list[Event] | None, str]:
        """The events, or None and why they did not come: the charts may have another source than they."""
        try:
            return await self.deck.source.events(self.events_of, 100), ""
        except FiredeckError as error:
            return None, error.text

    def draw_charts(self) -> None:
        """The target's own curves or none: never those of the deployment that was chosen before."""
        name = self.target_name
        curves = self._curves if self._curves.deployment == name else Curves(name)
        stale_age = self.picture.stale_age(self.deck.clock())
        note = curves.note if name is not None else "no deployment is chosen"
        if curves.history is None and self.picture.link.lost_at is not None:
            note = note or "not known: no connection"
        for kind in series.CHARTS:
            chart = series.chart(kind, curves.history, self.span_s, live=not stale_age)
            self.query_one(f"#chart-{kind.key}", ChartView).show(chart, note, stale_age)

    # Actions that both pages have.

    def action_span(self) -> None:
        self._span_s = SPANS_S[(SPANS_S.index(self.span_s) + 1) % len(SPANS_S)]
        self.notify(f"charts: the last {series.short_span(self.span_s)}", timeout=2)
        self.draw_charts()
        self.ask_details()

    def action_copy_model(self) -> None:
        self.pin()
        status = self.target()
        if status is None:
            self.notify(CHOOSE_FIRST, severity="warning")
        else:
            self.app.copy_to_clipboard(status.deployment.model_string)
            self.notify(status.deployment.model_string, title="copied for a request's model", timeout=4)

    def action_scale(self) -> None:
        self._begin("scale")

    def action_undo(self) -> None:
        """The dialog of the change that takes the last one back; it is reviewed and confirmed like any other."""
        self.deck.begin_undo()

    def action_update(self) -> None:
        self._begin("update")

    def action_delete(self) -> None:
        self._begin("delete")

    def action_undelete(self) -> None:
        self._begin("undelete")

    def _begin(self, verb: Verb) -> None:
        self.pin()
        verbs.begin(self.deck, verb, self.target())
