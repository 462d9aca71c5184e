"""Rows as lines of columns, on Textual's line API: measured, placed and drawn as far as the screen shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.core import columns, units
from tui.core.columns import GAP, Column, Placed, R
from tui.widgets.paint import TONE_CLASSES, drawn, tone_style, within

DRAWN = 256  # rows that are kept as they were drawn: several screens, for scrolling back and forth
MEASURED = 200  # rows: of more only those on the screen are measured
MARGIN = 2  # the cursor's mark and a blank


@dataclass(frozen=True, slots=True)
class _Drawn(Generic[R]):
    row: R
    chosen: bool
    marked: bool
    strip: Strip


class RowLines(ScrollView, Generic[R], can_focus=True, inherit_bindings=False):
    """A head and the rows below it. `stale`: nothing of them is known to hold now, and all of it is dim."""

    COMPONENT_CLASSES = set(TONE_CLASSES)

    def __init__(self, shown: Sequence[Column[R]], *, sort: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.columns = tuple(shown)
        self.rows: tuple[R, ...] = ()
        self.cursor: str | None = None
        self.marked: frozenset[str] = frozenset()
        self.stale = False
        self.sort = sort
        self.reverse = False
        self._cells: dict[str, tuple[R, tuple[str, ...]]] = {}  # of rows that are measured or drawn
        self._needs: dict[str, int] = {}
        self._placed: tuple[Placed[R], ...] = ()
        self._drawn: dict[str, _Drawn[R]] = {}
        self._head: Strip | None = None
        self._lines: dict[int, R] = {}  # what each line of the screen was drawn of

    # Where it stands.

    def show_columns(self, shown: Sequence[Column[R]]) -> None:
        """Other columns, from the next `show` on."""
        if tuple(shown) != self.columns:
            self.columns, self._cells, self._placed, self._drawn, self._head = tuple(shown), {}, (), {}, None
            self._needs = {}

    @property
    def seen_columns(self) -> tuple[Column[R], ...]:
        """Those that have room on the screen."""
        return tuple(placed.column for placed in self._placed) or self.columns

    def whole(self, row: R) -> R:
        """The row as it is drawn, with what is not kept in those that nobody sees."""
        return row

    def _celled(self, row: R) -> tuple[R, tuple[str, ...]]:
        known = self._cells.get(row.name)
        same = known is not None and (known[0] is row or known[0] == row)
        return known if known is not None and same else (row, columns.cells(self.columns, row))

    def _seen(self) -> range:
        """The indexes of the rows on the screen."""
        top = self.scroll_offset.y
        return range(top, min(len(self.rows), top + max(0, self.size.height - 1)))

    def _lay_out(self) -> bool:
        """Place the columns anew; True if that moved anything. Of many rows those on the screen are measured, and no
        column gets narrower again while it scrolls or its numbers change."""
        many = len(self.rows) > MEASURED
        measured = (self.rows[n] for n in self._seen()) if many else self.rows
        self._cells = {row.name: self._celled(self.whole(row)) for row in measured}
        needs = columns.measure(self.columns, (cells for _, cells in self._cells.values()))
        if many:
            self._needs = needs = {key: max(width, self._needs.get(key, 0)) for key, width in needs.items()}
        bar = self.styles.scrollbar_size_vertical if self.show_vertical_scrollbar else 0
        placed = columns.fit(self.columns, needs, max(1, self.size.width - MARGIN - 1 - bar))
        if placed == self._placed:
            return False
        self._placed, self._drawn, self._head = placed, {}, None
        return True

    @property
    def rows_drawn(self) -> int:
        """How many rows are kept as they were drawn: of those that were seen the last ones."""
        return len(self._drawn)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn, self._head = {}, None

    # Drawing.

    def render_line(self, y: int) -> Strip:
        if y == 0:
            self._head = self._head or self._render_head()
            return self._head
        index = y - 1 + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip.blank(self.size.width, self.rich_style)
        row = self._lines[y] = self.whole(self.rows[index])
        return self._render_row(row)

    def _render_row(self, row: R) -> Strip:
        chosen, marked = row.name == self.cursor, row.name in self.marked
        known = self._drawn.get(row.name)
        if known is not None and (known.chosen, known.marked) == (chosen, marked) and known.row == row:
            return known.strip
        base = self.rich_style + (tone_style(self, "cursor") if chosen else Style())
        sign = ("▌" if chosen else " ") + ("✔" if marked else " ")
        mark = Segment(drawn(self, sign), base + tone_style(self, "healthy"))
        cells = dict(zip((c.key for c in self.columns), self._celled(row)[1], strict=True))
        segments = [mark]
        for placed in self._placed:
            text = units.fitted(cells[placed.column.key], placed.width, placed.column.align)
            segments.append(Segment(drawn(self, text), base + self.style_of(placed.column, row, chosen)))
            segments.append(Segment(" " * GAP, base))
        strip = within(segments, self.size.width).adjust_cell_length(self.size.width, base)
        self._drawn.pop(row.name, None)
        self._drawn[row.name] = _Drawn(row, chosen, marked, strip)
        if len(self._drawn) > DRAWN:
            del self._drawn[next(iter(self._drawn))]
        return strip

    def style_of(self, column: Column[R], row: R, chosen: bool) -> Style:
        if self.stale:
            return tone_style(self, "dim")
        tone = column.tone(row)
        return tone_style(self, tone) if tone is not None else self.cell_style(column, row, chosen)

    def cell_style(self, column: Column[R], row: R, chosen: bool) -> Style:
        """Of a cell without a tone: the first column stands out, what is unknown or nothing recedes."""
        if column is self.columns[0]:
            return Style(bold=True)
        quiet = column.cell(row) in (*units.NOTHING_KNOWN, "0", "")
        return tone_style(self, "dim") if quiet and not chosen else Style()

    def _render_head(self) -> Strip:
        style = self.rich_style + tone_style(self, "head")
        arrow = "▲" if self.reverse else "▼"
        segments = [Segment("  ", style)]
        for placed in self._placed:
            column = placed.column
            sorted_by = column.key == self.sort
            text = units.fitted(column.title, placed.width, column.align)
            segments.append(Segment(text, style + Style(bold=True, underline=sorted_by)))
            segments.append(Segment(drawn(self, arrow.ljust(GAP) if sorted_by else " " * GAP), style))
        return within(segments, self.size.width).adjust_cell_length(self.size.width, style)
