"""A chart as an SVG picture of its own: lines with gaps, axes, the limit, and a mark wherever something happened. Pure.

Every line has a dash pattern too, so that none is told by
colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tui.core.series import Chart, Line, time_ticks

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 34, 28
COLOURS, DASHES = ("#0b5cad", "#a84b00", "#0b6b70", "#5f3dc4"), ("", "6 3", "2 3", "8 3 2 3")
LIMIT, AXIS, TEXT = "#b3132b", "#8b98a9", "#1b2430"
Y_TICKS = 4


def draw(chart: Chart) -> str:
    """`chart` as a document of its own, on white."""
    parts = [*_frame(chart), *_limit(chart), *_marks(chart)]
    for index, line in enumerate(chart.lines):
        parts += _line(chart, line, index)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _x(chart: Chart, sample: float) -> float:
    return LEFT + sample / max(1, chart.samples - 1) * (WIDTH - LEFT - RIGHT)


def _y(chart: Chart, value: float) -> float:
    return HEIGHT - BOTTOM - value / chart.top * (HEIGHT - TOP - BOTTOM)


def _frame(chart: Chart) -> Iterator[str]:
    unit = f" ({chart.unit})" if chart.unit else ""
    yield f'<text x="{LEFT}" y="14" fill="{TEXT}" font-weight="bold">{escape(chart.title + unit)}</text>'
    for n in range(Y_TICKS + 1):
        value = chart.top * n / Y_TICKS
        y = _y(chart, value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{AXIS}" stroke-width="0.3"/>'
        label = escape(chart.label(value))
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{TEXT}">{label}</text>'
    for at, label in zip(*time_ticks(chart.samples, chart.step_s, 80, chart.end, chart.back_s), strict=True):
        x = _x(chart, at)
        yield f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle" fill="{TEXT}">{escape(label)}</text>'
    if chart.empty:
        yield f'<text x="{WIDTH // 2}" y="{HEIGHT // 2}" text-anchor="middle" fill="{TEXT}">no data</text>'


def _limit(chart: Chart) -> Iterator[str]:
    if chart.threshold is not None and chart.threshold <= chart.top:
        y = _y(chart, chart.threshold)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{LIMIT}" stroke-width="1"/>'
        told = escape(f"limit {chart.label(chart.threshold)}")
        yield f'<text x="{WIDTH - RIGHT}" y="{y - 3:.1f}" text-anchor="end" fill="{LIMIT}">{told}</text>'


def _marks(chart: Chart) -> Iterator[str]:
    for sample, _ in chart.marks:
        x, low = _x(chart, sample), HEIGHT - BOTTOM
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{low}" stroke="{LIMIT}" stroke-dasharray="1 3"/>'


def _line(chart: Chart, line: Line, index: int) -> Iterator[str]:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    for points in _runs(chart, line):
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}"/>'
    x = LEFT + 110 * index
    yield f'<line x1="{x}" y1="24" x2="{x + 22}" y2="24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    yield f'<text x="{x + 26}" y="28" fill="{TEXT}">{escape(line.label)}</text>'


def _runs(chart: Chart, line: Line) -> Iterator[list[tuple[float, float]]]:
    """The stretches without a gap; a lonely sample is drawn as a short one."""
    run: list[tuple[float, float]] = []
    for sample, value in enumerate([*line.values, None]):
        if value is not None:
            run.append((_x(chart, sample), _y(chart, value)))
        elif run:
            yield run if len(run) > 1 else [run[0], (run[0][0] + 1, run[0][1])]
            run = []
