"""One chart: a title that is the legend too, and the picture that the plot thread drew.

The widget keeps the last picture until the next one is ready; a burst of data draws only the newest. Under six rows
there is no room for axes: the lines become sparklines.
"""

from __future__ import annotations

import asyncio
import textwrap
from functools import partial

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tui.core import units
from tui.core.series import Chart, fold
from tui.widgets import plot
from tui.widgets.paint import SERIES_TONES, TONE_CLASSES, drawn, symbols, tone_style, within

LEAST_ROWS, LEAST_COLUMNS = 6, 24
NO_DATA, NO_DATA_THEN, NOT_EXPOSED = "no data yet", "no data of that time", "not exposed by this source"
LEGEND = (("  ", " "), (" ", ""), ("", ""))  # blanks before and behind a line's sign: fewer where room is short
_Key = tuple[Chart, int, int, str]


class ChartView(Widget):
    COMPONENT_CLASSES = set(TONE_CLASSES)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.chart: Chart | None = None
        self.note = ""
        self.stale_age = ""
        self._picture: plot.Picture = ()
        self._key: _Key | None = None
        self._drawing = False

    def show(self, chart: Chart, note: str = "", stale_age: str = "") -> None:
        """Show this chart; `note` says in place of the curves why there are none, `stale_age` how old they are."""
        if stale_age != self.stale_age:
            self.stale_age = stale_age
            self.refresh()
        if (chart, note) != (self.chart, self.note):
            self.chart, self.note = chart, note
            self._redraw()

    @property
    def is_drawing(self) -> bool:
        return self._drawing

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        self.refresh()
        if self.with_axes and not self._drawing and self.is_mounted:
            self._drawing = True
            self.run_worker(self._draw(), group="plot", exit_on_error=True)

    @property
    def with_axes(self) -> bool:
        return (
            self.chart is not None and not self.chart.empty and not self.note
            and self.size.height >= LEAST_ROWS and self.size.width >= LEAST_COLUMNS
        )  # fmt: skip

    async def _draw(self) -> None:
        """Draw until the picture is that of the newest chart and size."""
        try:
            while (key := self._wanted()) is not None:
                chart, width, height, curve = key
                call = partial(plot.draw, chart, width, height, symbols=curve)
                self._picture = await asyncio.get_running_loop().run_in_executor(plot.POOL, call)
                self._key = key
                self.refresh()
        finally:
            self._drawing = False

    def _wanted(self) -> _Key | None:
        if not self.with_axes or self.chart is None:
            return None
        key = (self.chart, self.size.width, self.size.height - 1, symbols(self))
        return None if key == self._key else key

    # Drawing.

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if self.chart is None:
            return Strip.blank(width, base)
        if y == 0:
            segments = self._title(self.chart, base)[0]
        elif self.note or self.chart.empty:
            segments = self._centred(y, self.note or _nothing(self.chart), base)
        elif self.with_axes:
            segments = self._plot_row(y - 1, base)
        else:
            segments = self._spark_row(y - 1, self.chart, base)
        return within(segments, width).adjust_cell_length(width, base)

    def _line_style(self, index: int, base: Style) -> Style:
        name = "dim" if self.stale_age else SERIES_TONES[index % len(SERIES_TONES)]
        return base + tone_style(self, name)

    def _title(self, chart: Chart, base: Style) -> tuple[list[Segment], str]:
        """The title, and the limit where that has no room in it."""
        dim = base + tone_style(self, "dim")
        unit = f" {chart.unit}" if chart.unit not in ("", "ms", "%") else ""  # these are told with each value
        segments = [Segment(chart.title, base + Style(bold=True)), Segment(unit, dim)]
        if self.stale_age:
            mark = drawn(self, f" ▲ {self.stale_age} ago")
            segments.append(Segment(mark, base + tone_style(self, "attention") + Style(bold=True)))
        limit = f" limit {chart.label(chart.threshold)}" if chart.threshold is not None else ""
        room = self.size.width - sum(segment.cell_length for segment in segments)
        for spaces in LEGEND:
            legend = self._legend(chart, base, *spaces)
            if sum(segment.cell_length for segment in legend) <= room:
                break
        else:  # what each line is says more than the last values of the first ones
            legend = self._legend(chart, base, "", "", valued=False)
        segments += legend
        room = self.size.width - sum(segment.cell_length for segment in segments)
        if len(limit) > room:
            return segments, limit
        return [*segments, Segment(limit, base + tone_style(self, "failed"))], ""

    def _legend(self, chart: Chart, base: Style, before: str, behind: str, *, valued: bool = True) -> list[Segment]:
        """The lines' signs with what they are and, `valued`, their last values."""
        dim, segments = base + tone_style(self, "dim"), []
        for index, line in enumerate(chart.lines):
            sign = plot.curve("ascii", index) if symbols(self) == "ascii" else "━"
            label = "" if len(chart.lines) == 1 else f"{behind}{line.label}"
            latest = f" {chart.latest(line)}" if valued and not self.stale_age else ""  # stale: nobody knows it now
            blanks = before[:1] if self.stale_age else before or " " * (index == 0)
            segments.append(Segment(f"{blanks}{sign}", self._line_style(index, base)))
            segments += [Segment(label, dim), Segment(drawn(self, latest), base + Style(bold=True))]
        return segments

    def _centred(self, y: int, text: str, base: Style) -> list[Segment]:
        """The `y`-th line of the widget with `text` in its middle, on as many lines as it needs."""
        lines = textwrap.wrap(text, max(1, self.size.width), break_on_hyphens=False)
        first = max(1, (self.size.height + 1 - len(lines)) // 2)
        line = lines[y - first].center(self.size.width) if 0 <= y - first < len(lines) else ""
        return [Segment(drawn(self, line), base + tone_style(self, "dim"))]

    def _plot_row(self, row: int, base: Style) -> list[Segment]:
        if row >= len(self._picture) or self.chart is None:
            return []
        spans, lines = self._picture[row], len(self.chart.lines)
        if row == plot.limit_row(self._picture, lines) and (limit := self._title(self.chart, base)[1]):
            spans = plot.named(spans, f"{limit.strip()} ", lines)
        segments = [Segment(drawn(self, span.text), self._span_style(span.line, base)) for span in spans]
        return self._marked(segments, base) if row == len(self._picture) - 2 else segments  # the axis

    def _span_style(self, line: int, base: Style) -> Style:
        if line == plot.AXIS:
            return base + tone_style(self, "dim")
        limit = self.chart is not None and line >= len(self.chart.lines)
        return base + tone_style(self, "failed") if limit else self._line_style(line, base)

    def _marked(self, segments: list[Segment], base: Style) -> list[Segment]:
        """The axis with a sign wherever something happened."""
        if self.chart is None or not self.chart.marks:
            return segments
        text = "".join(segment.text for segment in segments).ljust(self.size.width)
        at = plot.mark_columns(self.chart, self.size.width)
        axis, bold = base + tone_style(self, "dim"), Style(bold=True)
        marked = {column: base + tone_style(self, name) + bold for column, name in at.items()}
        return [Segment(drawn(self, "◆") if n in marked else sign, marked.get(n, axis)) for n, sign in enumerate(text)]

    def _spark_row(self, row: int, chart: Chart, base: Style) -> list[Segment]:
        if row >= len(chart.lines):
            return []
        values = list(fold(chart.lines[row], self.size.width))
        return [Segment(drawn(self, units.spark(values, self.size.width)), self._line_style(row, base))]


def _nothing(chart: Chart) -> str:
    """Why there is no curve."""
    if not chart.exposed:
        return NOT_EXPOSED
    return NO_DATA_THEN if chart.back_s else NO_DATA
