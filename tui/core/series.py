"""A deployment's history, shaped for a chart: lines, unit, a time axis in ages, gaps where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from client.fleet_types import History
from tui.core import units

Values = tuple[float | None, ...]
Symbols = Literal["block", "braille", "ascii"]  # what curves are drawn with


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    values: Values

    @property
    def latest(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over equally spaced samples. `whole` asks for whole numbers on the axis.

    `end` is how the axis calls the last sample: `now`, or `last` once nobody knows what came after it.
    """

    title: str
    unit: str
    lines: tuple[Line, ...] = ()
    step_s: float = 1.0
    whole: bool = False
    end: str = "now"

    def label(self, value: float | None) -> str:
        """`value` as the legend and the axis show it."""
        if self.unit == "ms":
            return units.milliseconds(value) if value else units.rate(value)
        if value is not None and 0.1 <= value < 1:
            return f"{value:.2g}"  # an axis has ticks at quarters
        return units.rate(value).removesuffix(".0")

    @property
    def samples(self) -> int:
        return max((len(line.values) for line in self.lines), default=0)

    @property
    def empty(self) -> bool:
        return all(value is None for line in self.lines for value in line.values)

    @property
    def top(self) -> float:
        """The axis ends here: a round number at or above every value, so that the axis does not tremble."""
        highest = max((v for line in self.lines for v in line.values if v is not None), default=0.0)
        return float(max(1, -(-int(highest * 1.0001 + 0.999) // 1))) if self.whole else round_up(highest)


@dataclass(frozen=True, slots=True)
class ChartKind:
    """What one chart shows of a `History`."""

    key: str
    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    whole: bool = False


CHARTS: tuple[ChartKind, ...] = (
    ChartKind("ttft", "TTFT", "ms", (("p50", "ttft_p50_ms"), ("p95", "ttft_p95_ms"))),
    ChartKind("tps", "Tokens out", "tok/s", (("tok/s", "tokens_per_second"),)),
    ChartKind("replicas", "Replicas", "", (("ready", "ready"), ("desired", "desired")), True),
    ChartKind("load", "Load", "", (("req/s", "requests_per_second"), ("queue", "queue"))),
)


def chart(kind: ChartKind, history: History | None, span_s: int, *, live: bool = True) -> Chart:
    """The chart of one kind over `span_s`; what is older than the history is a gap, so that the picture scrolls."""
    step = history.step_s if history is not None and history.step_s > 0 else 1.0
    samples = max(2, round(span_s / step))
    series = history.series if history is not None else {}
    lines = tuple(Line(label, _padded(series.get(name, []), samples)) for label, name in kind.lines)
    return Chart(kind.title, kind.unit, lines, step, kind.whole, "now" if live else "last")


def _padded(values: Sequence[float | None], samples: int) -> Values:
    kept = tuple(values[-samples:])
    return (None,) * (samples - len(kept)) + kept


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten; at least 1."""
    scale = 1.0
    while value > 10 * scale:
        scale *= 10
    return next((step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale), 10 * scale)


def time_ticks(samples: int, step_s: float, columns: int, end: str = "now") -> tuple[list[float], list[str]]:
    """Positions (sample numbers) and labels like `-4m`, `-30s`, `now`, about one each 11 columns."""
    span = samples * step_s
    if samples < 2 or span <= 0:
        return [0.0], [end]
    wanted = max(2, columns // 11)
    every = next((s for s in _TICK_STEPS_S if (span - 1) // s <= wanted), span)
    numbers = [-every * k for k in range(int(span // every), 0, -1) if every * k < span]
    labels = [f"-{short_span(-number)}" for number in numbers]
    return [samples - 1 + n / step_s for n in numbers] + [samples - 1.0], [*labels, end]


_TICK_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)


def short_span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds < 60 else units.age(seconds)


def fold(values: Sequence[float | None], columns: int) -> Values:
    """At most `columns` samples, the highest of each bin: spikes survive; a bin of gaps is a gap."""
    if len(values) <= columns or columns < 1:
        return tuple(values)
    edges = [round(k * len(values) / columns) for k in range(columns + 1)]
    bins = (values[a:b] for a, b in pairwise(edges))
    return tuple(max((v for v in part if v is not None), default=None) for part in bins)
