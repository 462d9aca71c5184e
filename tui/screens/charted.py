"""What every page with charts shares: their window over the past, marks and limits on them, other curves beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal

from client.errors import FiredeckError
from tui import screens
from tui.core import incident, keys, series, units
from tui.core.placed import context_of, short
from tui.core.series import Chart, ChartKind, Compared, Mark
from tui.core.window import FIRST, SPANS_S, Window, is_young
from tui.screens.page import Page
from tui.widgets.chart import ChartView

if TYPE_CHECKING:
    from client.fleet_types import Event, History

EVENTS = 200
RULES_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Curves:
    """What the charts may show, and of which deployment; `note` says why there is no history, `unlike` why there is
    nothing to compare with."""

    deployment: str | None = None
    history: History | None = None
    note: str = ""
    compared: Compared | None = None
    unlike: str = ""
    window: Window = FIRST


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of the alert rules, by name, and when they were asked for."""

    rules: Mapping[str, float] = field(default_factory=dict)
    asked_at: datetime | None = None
    context: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What charts were drawn of. Curves, limits and window are never changed in place: others are another object."""

    name: str | None
    note: str
    stale_age: str
    span_s: int
    marks: tuple[Mark, ...]
    curves: Curves = field(compare=False)
    limits: Limits = field(compare=False)
    window: Window = field(compare=False)

    def same_as(self, other: Drawn | None) -> bool:
        """Without a look into the curves, which may be a day long."""
        if other is None or self != other:
            return False
        return self.curves is other.curves and self.limits is other.limits and self.window is other.window


class ChartedPage(Page):
    """Subclasses say of which deployment the curves are, and ask for them."""

    def __init__(self) -> None:
        super().__init__()
        self.window = FIRST
        self.events: list[Event] = []
        self.limits = Limits()
        self._curves = Curves()
        self._drawn: Drawn | None = None

    def compose_charts(self) -> ComposeResult:
        with Horizontal(id="charts"):
            for kind in series.CHARTS:
                yield ChartView(id=f"chart-{kind.key}")

    def compose_more_charts(self) -> ComposeResult:
        with Horizontal(id="more-charts"):
            for kind in series.MORE_CHARTS:
                yield ChartView(id=f"chart-{kind.key}")

    @property
    def span_s(self) -> int:
        """What the charts cover: the user's choice, or 5 minutes; 2 while there is nothing that could fill those."""
        if self.window.span_s is not None:
            return self.window.span_s
        return SPANS_S[0] if self.part.snapshot is not None and is_young(self.part.snapshot) else SPANS_S[1]

    @property
    def target_name(self) -> str | None:
        """The deployment whose curves are shown."""
        raise NotImplementedError

    # Asking.

    async def ask_curves(self, name: str | None) -> Curves:
        if name is None:
            return Curves()
        if self.deck.picture_of(context_of(name)).link.lost_at is not None:  # of one context among others
            return self._curves if self._curves.deployment == name else Curves(name)
        window, shown_s = self.window, self.span_s
        source = self.deck.source
        try:
            history = await source.history(name, window.asked_s(shown_s))
        except FiredeckError as error:
            return Curves(name, None, error.text, window=window)
        try:
            compared = await self._ask_compared(name, window, shown_s)
        except FiredeckError as error:
            return Curves(name, history, unlike=error.text, window=window)
        return Curves(name, history, compared=compared, window=window)

    def take_curves(self, curves: Curves) -> None:
        """What was asked for has come; while the charts stand still only what the user has asked for is shown."""
        known = self._curves
        if self.window.frozen and (known.deployment, known.window) == (curves.deployment, self.window):
            return
        if curves.unlike and curves.unlike != known.unlike:
            self.notify(f"nothing to compare with: {curves.unlike}", severity="warning", markup=False)
        self._curves = curves
        if curves is not known and curves.deployment is not None and curves.history is not None:
            self.deck.keep_curves(curves)
        if curves.window != self.window:
            self.ask_anew()

    async def _ask_compared(self, name: str, window: Window, shown_s: int) -> Compared | None:
        source = self.deck.source
        if window.other:
            history = await source.history(window.other, window.asked_s(shown_s))
            return Compared(short(window.other), history, window.back_s)
        if not window.compared_s:
            return None
        back_s = window.back_s + window.compared_s
        history = await source.history(name, shown_s + back_s)
        return Compared(f"{series.short_span(window.compared_s)} ago", history, back_s)

    async def ask_limits(self) -> Limits:
        """Now and then: they change with the engine's version alone. Where it has none there is no line to draw."""
        now = self.deck.clock()
        context, source = self.context, self.source
        limits = self.limits if self.limits.context == context else Limits(context=context)
        if limits.asked_at is not None and (now - limits.asked_at).total_seconds() < RULES_EVERY_S:
            return limits
        try:
            rules = (await source.alerts()).rules
        except FiredeckError:
            return replace(limits, asked_at=now)
        return Limits({rule.name: rule.threshold for rule in rules}, now, context)

    # Drawing.

    def draw_charts(self) -> None:
        """The target's own curves or none: never those of the deployment that was chosen before."""
        name, now = self.target_name, self.deck.clock()
        curves, at = self._known()
        stale_age = self.part.stale_age(now) and (units.since(at, now) if at is not None else self.part.stale_age(now))
        note = curves.note if name is not None else "no deployment is chosen"
        if curves.history is None:
            note = note or ("asking" if self.part.link.lost_at is None else "not known: no connection")
        drawn = Drawn(name, note, stale_age, self.span_s, self.marks(), curves, self.limits, self.window)
        if drawn.same_as(self._drawn):
            return
        for kind in series.ALL_CHARTS:
            for view in self.query(f"#chart-{kind.key}").results(ChartView):  # not every page has all of them
                view.show(self.chart_of(kind, live=not stale_age, marks=drawn.marks), note, stale_age)
                self._drawn = drawn

    def _known(self) -> tuple[Curves, datetime | None]:
        """The target's curves; while nobody answers those that another page has had, and since when they are known."""
        name = self.target_name
        if self._curves.deployment == name:
            return self._curves, None
        if name is None or self.part.link.lost_at is None:
            return Curves(name), None
        return self.deck.curves.get(name, (Curves(name), None))

    def marks(self) -> tuple[Mark, ...]:
        """What happened to the target, for the axis."""
        return incident.marks(incident.moments(self.target_name or "", self.events, (), self.deck.inbox, None, {}))

    def chart_of(self, kind: ChartKind, *, live: bool, marks: tuple[Mark, ...] | None = None) -> Chart:
        """One chart of the target, as the window has it; an empty one while its curves have not come."""
        curves, _ = self._known()
        chart = series.chart(
            kind, curves.history, self.span_s, live=live, back_s=curves.window.back_s,
            marks=self.marks() if marks is None else marks, compared=curves.compared,
            rules=self.limits.rules if self.limits.context == self.context else {},
        )  # fmt: skip
        if self.window.frozen and curves.history is not None and curves.history.times:
            last = datetime.fromtimestamp(curves.history.times[-1] - curves.window.back_s, UTC)
            return replace(chart, title=f"{chart.title} frozen", end=units.clock(last), back_s=0.0)
        return chart

    # What the user does.

    def action_span(self, by: int = 1) -> None:
        self.window = self.window.zoomed(self.span_s, by)
        self.looked(f"charts: {series.short_span(self.span_s)}")

    def action_pan(self, direction: int) -> None:
        self.window = self.window.panned(self.span_s, direction)
        back = self.window.back_s
        self.looked(f"charts end {units.age(back)} ago" if back else "charts end now")

    def action_freeze(self) -> None:
        self.window = replace(self.window, frozen=not self.window.frozen)
        key = keys.shown(self.deck.actions, "freeze")
        self.looked(f"charts stand still; {key} lets them go on" if self.window.frozen else "charts go on")

    def action_compare(self) -> None:
        self.window = self.window.compared()
        ago = self.window.compared_s
        self.looked(f"beside {series.short_span(ago)} ago" if ago else "beside nothing")

    def action_compare_with(self) -> None:
        others = [row.name for row in self.deck.picture.rows if row.name != self.target_name and not row.deleted]
        self.app.push_screen(screens.CompareDialog(others), self._compare_with)

    def _compare_with(self, name: str | None) -> None:
        if name:
            self.window = replace(self.window, other=name, compared_s=0)
            self.looked(f"beside {short(name)}")

    def looked(self, told: str) -> None:
        """The window is another one: what it shows is asked for at once, also while it stands still."""
        self.notify(told, timeout=2)
        self.draw_charts()
        self.ask_anew()

    def ask_anew(self) -> None:
        raise NotImplementedError
