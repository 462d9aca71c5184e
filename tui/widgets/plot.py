"""Charts with axes, drawn by plotext 6 in one thread of its own.

plotext keeps one figure for the whole process and a chart takes 5-20 ms: so nobody but the single worker thread of
`POOL` may call it, and the event loop never waits. The answer is text in spans, without colours of its own: a span
says which line of the chart it belongs to, the widget knows the theme.
"""

from __future__ import annotations

import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from tui.core.series import Chart, Values, fold, time_ticks
from tui.core.states import Tone

SWITCH_INTERVAL_S = 0.0005  # so long a key waits for the interpreter while a chart is drawn; else ten times that
POOL = ThreadPoolExecutor(
    max_workers=1, thread_name_prefix="plotext", initializer=sys.setswitchinterval, initargs=(SWITCH_INTERVAL_S,)
)
AXIS = -1
GUTTER = 6  # the labels of the y axis, and the axis
_FIRST_COLOUR = 1  # lines are drawn in palette colours 1, 2, …: only to find them again in the answer
_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
MARKERS = {"block": ("hd",), "braille": ("braille",), "ascii": ("*", "+", "x", "o")}  # one a line, in turn


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one colour: `line` is the index of the chart's line, or AXIS."""

    text: str
    line: int


Picture = tuple[tuple[Span, ...], ...]


def draw(chart: Chart, width: int, height: int, *, symbols: str = "block") -> Picture:
    """`chart` in `height` rows of `width` cells. Call it through `POOL` only."""
    figure = _blank_figure(width, height)
    columns = max(8, width - GUTTER)
    for index, line in reversed(list(enumerate(chart.lines))):  # the first line lies on top
        _add_line(figure, fold(line, 2 * columns), chart.samples, index, curve(symbols, index))
    if chart.threshold is not None:
        level = (chart.threshold,) * min(chart.samples, 2 * columns)
        _add_line(figure, level, chart.samples, len(chart.lines), curve(symbols, len(chart.lines)))
    top = chart.top
    figure.ruler("y", "left").lim(0, top).ticks(*_y_ticks(chart, top, height))
    figure.ruler("x", "lower").lim(0, max(1, chart.samples - 1)).ticks(*_x_ticks(chart, columns))
    return parse(figure.build().string())[:height]


def mark_columns(chart: Chart, width: int) -> dict[int, Tone]:
    """In which columns of a picture of this width something happened; what asks for attention wins."""
    columns = max(8, width - GUTTER)
    found: dict[int, Tone] = {}
    for position, tone in chart.marks:
        column = GUTTER + round(position / max(1, chart.samples - 1) * (columns - 1))
        if found.get(column) != "attention":
            found[column] = tone
    return found


def limit_row(picture: Picture, lines: int) -> int | None:
    """Where the limit's line begins: it comes after the chart's own `lines`."""
    return next((n for n, row in enumerate(picture) if any(span.line >= lines for span in row)), None)


def named(row: tuple[Span, ...], text: str, lines: int) -> tuple[Span, ...]:
    """The limit's row with `text` on it, at the end where that covers less of the curves."""
    cells = [(sign, span.line) for span in row for sign in span.text]
    starts = (GUTTER, max(GUTTER, len(cells) - len(text)))
    start = min(starts, key=lambda at: sum(0 <= line < lines for _, line in cells[at : at + len(text)]))
    cells[start : start + len(text)] = [(sign, lines) for sign in text]
    return tuple(Span("".join(sign for sign, _ in run), line) for line, run in groupby(cells, key=lambda one: one[1]))


def curve(symbols: str, index: int) -> str:
    """plotext's marker for the line of this index."""
    return MARKERS[symbols][index % len(MARKERS[symbols])]


def _blank_figure(width: int, height: int) -> Any:
    import plotext  # 0.25 s: paid in the worker thread, after the first screen is up

    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    figure.axes(False, axis="both", side="both")
    figure.axes(True, axis="y", side="left")
    figure.axes(True, axis="x", side="lower")
    return figure


def _add_line(figure: Any, values: Values, samples: int, index: int, marker: str) -> None:
    """One line; consecutive known samples are joined, a gap stays a gap."""
    import plotext

    scale = (samples - 1) / max(1, len(values) - 1)
    known = [k for k, value in enumerate(values) if value is not None]
    if not known:
        return
    painted = plotext.marker(marker, plotext.pixel(_FIRST_COLOUR + index))
    signal = figure.signal([k * scale for k in known], [values[k] for k in known], marker=painted)
    signal.lines(True).density("simple" if marker == "hd" else "full")
    for position, (left, right) in enumerate(pairwise(known), start=1):
        if right != left + 1:
            signal.line(position, False)
    figure.draw(signal)


def _y_ticks(chart: Chart, top: float, height: int) -> tuple[list[float], list[str]]:
    """Two to five ticks from 0 to `top`: whole numbers where asked, else numbers of at most two digits."""
    wanted = max(1, min(4, (height - 2) // 3))
    if chart.whole:
        every = max(1, -(-int(top) // wanted))
        found = [float(n) for n in range(0, int(top) + 1, every)]
    else:
        choices = ([top * k / n for k in range(n + 1)] for n in range(wanted, 0, -1))
        found = next((ticks for ticks in choices if all(_short(tick) for tick in ticks)), [0.0, top])
    return found, [chart.label(value).rjust(5) for value in found]


def _short(value: float) -> bool:
    """Two digits say it all."""
    return math.isclose(float(f"{value:.1e}"), value)


def _x_ticks(chart: Chart, columns: int) -> tuple[list[float], list[str]]:
    return time_ticks(chart.samples, chart.step_s, columns, chart.end, chart.back_s)


def parse(text: str) -> Picture:
    """plotext's coloured text as spans."""
    return tuple(_parse_row(row) for row in text.rstrip("\n").split("\n"))


def _parse_row(row: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    line, end = AXIS, 0
    for escape in [*_ESCAPE.finditer(row), None]:
        text = row[end : escape.start() if escape else len(row)]
        if text:
            spans.append(Span(text, line))
        if escape:
            line, end = _line_of(escape[1], line), escape.end()
    return tuple(spans)


def _line_of(codes: str, line: int) -> int:
    if codes in ("", "0"):
        return AXIS
    parts = codes.split(";")
    return int(parts[2]) - _FIRST_COLOUR if parts[:2] == ["38", "5"] and len(parts) > 2 else line
