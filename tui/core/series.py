"""A deployment's history, shaped for a chart: lines, unit, a time axis in ages, gaps where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from tui.core import units
from tui.core.peaks import LOWEST
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.fleet_types import History

Values = tuple[float | None, ...]
Symbols = Literal["block", "braille", "ascii"]  # what curves are drawn with
SHARE = "%"  # the unit of what goes from 0 to 1


@dataclass(frozen=True, slots=True)
class Line:
    """`exposed`: the source has such a series, though it may have no data yet."""

    label: str
    values: Values
    exposed: bool = True
    lowest: bool = False  # it is the dips that matter

    @property
    def latest(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over equally spaced samples. `whole` asks for whole numbers on the axis.

    `end` is how the axis calls the last sample: `now`, or `last` once nobody knows what came after it. `back_s`: how
    long before that the picture ends. `marks` are where something happened, as numbers of samples. `threshold` is where
    an alert's rule begins to hold.
    """

    title: str
    unit: str
    lines: tuple[Line, ...] = ()
    step_s: float = 1.0
    whole: bool = False
    end: str = "now"
    back_s: float = 0.0
    marks: tuple[tuple[float, Tone], ...] = ()
    threshold: float | None = None

    def label(self, value: float | None) -> str:
        """`value` as the legend and the axis show it."""
        if self.unit == "ms":
            return units.milliseconds(value) if value else units.rate(value)
        if self.unit == SHARE:
            return units.percent(value)
        if value is not None and 0.1 <= value < 1:
            return f"{value:.2g}"  # an axis has ticks at quarters
        return units.rate(value).removesuffix(".0")

    def latest(self, line: Line) -> str:
        """The last value of a line, as the legend shows it."""
        return self.label(line.latest) if line.exposed else units.NOT_EXPOSED

    @property
    def exposed(self) -> bool:
        """Whether the source has any of it."""
        return any(line.exposed for line in self.lines) or not self.lines

    @property
    def samples(self) -> int:
        return max((len(line.values) for line in self.lines), default=0)

    @property
    def empty(self) -> bool:
        return all(value is None for line in self.lines for value in line.values)

    @property
    def top(self) -> float:
        """The axis ends here: a round number at or above every value, so that the axis does not tremble."""
        known = [v for line in self.lines for v in line.values if v is not None]
        highest = max([*known, *([self.threshold] if self.threshold is not None and known else [])], default=0.0)
        return float(max(1, -(-int(highest * 1.0001 + 0.999) // 1))) if self.whole else round_up(highest)


@dataclass(frozen=True, slots=True)
class ChartKind:
    """What one chart shows of a `History`."""

    key: str
    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    whole: bool = False
    rule: str = ""  # the alert rule whose threshold is drawn
    rule_scale: float = 1.0  # from the rule's unit to the chart's


SLOW = "FiredeckSlowFirstToken"  # the rule about TTFT, in seconds
_TTFT = (("p50", "ttft_p50_ms"), ("p95", "ttft_p95_ms"), ("p99", "ttft_p99_ms"))
CHARTS: tuple[ChartKind, ...] = (
    ChartKind("ttft", "TTFT", "ms", _TTFT, False, SLOW, 1000.0),
    ChartKind("tps", "Tokens out", "tok/s", (("tok/s", "tokens_per_second"),)),
    ChartKind("replicas", "Replicas", "", (("ready", "ready"), ("desired", "desired")), True),
    ChartKind("load", "Load", "", (("req/s", "requests_per_second"), ("queue", "queue"), ("run", "concurrency"))),
)
# Of a deployment's own page, below those that each page has.
MORE_CHARTS: tuple[ChartKind, ...] = (
    ChartKind("tokens", "Between tokens", "ms", (("p50", "inter_token_p50_ms"), ("p95", "inter_token_p95_ms"))),
    ChartKind("kv", "KV cache", SHARE, (("used", "kv_share"),)),
    ChartKind("drafts", "Drafts", SHARE, (("accepted", "draft_acceptance"),)),
)
ALL_CHARTS = (*CHARTS, *MORE_CHARTS)
MATTERS = {"ttft": 1, "tokens": 1}  # which line of a chart is compared, if not the first


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, to be shown on the axis; `at` in epoch seconds."""

    at: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Compared:
    """Another history to draw beside: `label` says whose or of when; its curves end where the chart's own do."""

    label: str
    history: History
    back_s: int = 0


def chart(
    kind: ChartKind, history: History | None, span_s: int, *, live: bool = True, back_s: int = 0,
    marks: Sequence[Mark] = (), compared: Compared | None = None, rules: Mapping[str, float] | None = None,
) -> Chart:  # fmt: skip
    """The chart of one kind over `span_s`, ending `back_s` ago; what is older than the history is a gap, so that the
    picture scrolls. `rules` are the thresholds of alert rules, by name."""
    step = _step(history)
    samples = max(2, round(span_s / step))
    lines = [
        Line(label, _window(history, name, samples, step, back_s), _exposed(history, name), name in LOWEST)
        for label, name in kind.lines
    ]
    if compared is not None:
        lines.append(_beside(kind, compared, span_s, samples))
    limit = (rules or {}).get(kind.rule)
    return Chart(
        kind.title, kind.unit, tuple(lines), step, kind.whole, "now" if live else "last", back_s,
        _marked(history, marks, samples, step, back_s), None if limit is None else limit * kind.rule_scale,
    )  # fmt: skip


def _beside(kind: ChartKind, compared: Compared, span_s: int, samples: int) -> Line:
    """One line of the other: the one that matters most."""
    label, name = kind.lines[MATTERS.get(kind.key, 0)]
    step = _step(compared.history)
    values = _window(compared.history, name, max(2, round(span_s / step)), step, compared.back_s)
    return Line(f"{label} {compared.label}", _resampled(values, samples), lowest=name in LOWEST)


def _exposed(history: History | None, name: str) -> bool:
    """A history without any series has not begun yet."""
    return history is None or not history.series or name in history.series


def _step(history: History | None) -> float:
    return history.step_s if history is not None and history.step_s > 0 else 1.0


def _window(history: History | None, name: str, samples: int, step: float, back_s: int) -> Values:
    values = history.series.get(name, []) if history is not None else []
    back = round(back_s / step)
    kept = tuple(values[: len(values) - back] if back else values)[-samples:]
    return (None,) * (samples - len(kept)) + kept


def _resampled(values: Values, samples: int) -> Values:
    """As many samples over the same span."""
    if len(values) == samples:
        return values
    return tuple(values[min(len(values) - 1, int(n * len(values) / samples))] for n in range(samples))


def _marked(
    history: History | None, marks: Sequence[Mark], samples: int, step: float, back_s: int
) -> tuple[tuple[float, Tone], ...]:
    if history is None or not history.times:
        return ()
    last = history.times[-1] - back_s
    at = [(samples - 1 - (last - mark.at) / step, mark.tone) for mark in marks]
    return tuple((position, tone) for position, tone in at if 0 <= position <= samples - 1)


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten; at least 1."""
    scale = 1.0
    while value > 10 * scale:
        scale *= 10
    return next((step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale), 10 * scale)


def time_ticks(
    samples: int, step_s: float, columns: int, end: str = "now", back_s: float = 0.0
) -> tuple[list[float], list[str]]:
    """Positions (sample numbers) and labels like `-4m`, `-30s`, `now`, about one each 11 columns."""
    end = f"-{short_span(back_s)}" if back_s else end
    span = samples * step_s
    if samples < 2 or span <= 0:
        return [0.0], [end]
    wanted = max(2, columns // 11)
    every = next((s for s in _TICK_STEPS_S if (span - 1) // s <= wanted), span)
    numbers = [-every * k for k in range(int(span // every), 0, -1) if every * k < span]
    labels = [f"-{short_span(back_s - number)}" for number in numbers]
    return [samples - 1 + n / step_s for n in numbers] + [samples - 1.0], [*labels, end]


_TICK_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)


def short_span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds < 60 else units.age(seconds)


def fold(line: Line, columns: int) -> Values:
    """At most `columns` samples, the highest of each bin, or the lowest: spikes survive; a bin of gaps is a gap."""
    values, extreme = line.values, min if line.lowest else max
    if len(values) <= columns or columns < 1:
        return tuple(values)
    edges = [round(k * len(values) / columns) for k in range(columns + 1)]
    bins = (values[a:b] for a, b in pairwise(edges))
    return tuple(extreme((v for v in part if v is not None), default=None) for part in bins)
