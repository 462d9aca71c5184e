"""A table on Textual's line API: a thousand rows cost what the screen shows of them.

The cursor belongs to a row's name, not to a line: when a live sort moves rows, what the user does still means the row
that was chosen. Only lines whose row changed are sent to the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.core import columns, units
from tui.core.columns import GAP, Column, Placed, R
from tui.keymap import table_bindings
from tui.widgets.paint import TONE_CLASSES, drawn, tone_style, within

MEASURED = 200  # rows: of more only those on the screen are measured
MARGIN = 2  # the cursor's mark and a blank


@dataclass(frozen=True, slots=True)
class _Drawn(Generic[R]):
    row: R
    chosen: bool
    marked: bool
    strip: Strip


class KeyedTable(ScrollView, Generic[R], can_focus=True, inherit_bindings=False):
    """Shows the rows it is given; says which one is chosen and when one shall be opened.

    Once `pinned`, by any key or click of the user, the cursor never moves by itself: when its row goes away no row is
    chosen, until the user moves it. `stale`: nothing of it is known to hold now, and all of it is dim.
    """

    COMPONENT_CLASSES = set(TONE_CLASSES)
    BINDINGS = table_bindings()

    @dataclass
    class Chosen(Message):
        """The cursor is on another row now, or on none. `by_user` is False when it moved by itself."""

        name: str | None
        by_user: bool

    @dataclass
    class Opened(Message):
        name: str

    @dataclass
    class SortAsked(Message):
        key: str

    def __init__(self, shown: Sequence[Column[R]], *, sort: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.columns = tuple(shown)
        self.rows: tuple[R, ...] = ()
        self.cursor: str | None = None
        self.pinned = False
        self.marked: frozenset[str] = frozenset()
        self.stale = False
        self.sort = sort
        self.reverse = False
        self._hidden: str | None = None  # the pinned row, while it is out of sight
        self._at = 0  # where a row was found last
        self._gone_at = 0  # where the chosen row was when it went away
        self._cells: dict[str, tuple[R, tuple[str, ...]]] = {}  # of rows that are measured or drawn
        self._needs: dict[str, int] = {}
        self._placed: tuple[Placed[R], ...] = ()
        self._drawn: dict[str, _Drawn[R]] = {}
        self._head: Strip | None = None
        self._lines: dict[int, R] = {}  # what each line of the screen was drawn of

    # What is shown.

    def show_columns(self, shown: Sequence[Column[R]]) -> None:
        """Other columns, from the next `show` on."""
        if tuple(shown) != self.columns:
            self.columns, self._cells, self._placed, self._drawn, self._head = tuple(shown), {}, (), {}, None
            self._needs = {}

    @property
    def seen_columns(self) -> tuple[Column[R], ...]:
        """Those that have room on the screen."""
        return tuple(placed.column for placed in self._placed) or self.columns

    def show(self, rows: tuple[R, ...], sort: str = "", *, reverse: bool = False, stale: bool = False) -> None:
        """Put these rows on the screen; the cursor stays with its row."""
        before, self.rows = self.rows, rows
        ordered = (sort, reverse) == (self.sort, self.reverse)
        if not ordered or len(before) != len(rows):
            self._needs = {}
        relaid = self._lay_out() or not ordered or len(before) != len(rows) or stale != self.stale
        if stale != self.stale:
            self._drawn = {}
        self.sort, self.reverse, self.stale = sort, reverse, stale
        self._keep_cursor(before)
        if relaid:
            self._head = None
            self.virtual_size = Size(self.size.width, len(rows) + 1)
            self.refresh()
            return
        self._refresh_changed()

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

    def _refresh_changed(self) -> None:
        """The lines that were drawn of other rows, or of these as they were."""
        lines = enumerate((self.whole(self.rows[n]) for n in self._seen()), 1)
        dirty = [Region(0, y, self.size.width, 1) for y, row in lines if self._lines.get(y) != row]
        if dirty:
            self.refresh(*dirty)

    def _keep_cursor(self, before: tuple[R, ...]) -> None:
        if self.index_of(self.cursor) is not None:
            return
        names = [row.name for row in self.rows]
        if self.cursor is None and self.pinned:
            if self._hidden in names:  # a filter hid it: it is still what the user means
                self.cursor, self._hidden = self._hidden, None
                self.post_message(self.Chosen(self.cursor, by_user=False))
            return
        self._gone_at = next((n for n, row in enumerate(before) if row.name == self.cursor), 0)
        self._hidden = self.cursor if self.pinned else None
        self.cursor = names[min(self._gone_at, len(names) - 1)] if names and not self.pinned else None
        self.post_message(self.Chosen(self.cursor, by_user=False))

    def pin(self) -> None:
        """The user means what the cursor is on."""
        self.pinned |= self.cursor is not None

    def leave(self) -> None:
        """No row is meant until the user chooses one."""
        self.cursor, self.pinned, self._hidden = None, True, None
        self.refresh()
        self.post_message(self.Chosen(None, by_user=True))

    def mark(self, names: frozenset[str]) -> None:
        """Rows that are meant together."""
        if names != self.marked:
            self.marked = names
            self.refresh()

    @property
    def rows_drawn(self) -> int:
        """How many rows are kept as they were drawn: only what is seen is drawn."""
        return len(self._drawn)

    def choose(self, name: str, *, by_user: bool = False) -> None:
        """Move the cursor to the row of this name, and it into view."""
        self.pinned |= by_user
        index = self.index_of(name)
        if name == self.cursor or index is None:
            return
        old, self.cursor = self.index_of(self.cursor), name
        self._hidden = None
        if not self._into_view(index):
            top = self.scroll_offset.y
            lines = [n - top + 1 for n in (old, index) if n is not None and 0 < n - top + 1 < self.size.height]
            self.refresh(*(Region(0, line, self.size.width, 1) for line in lines))
        self.post_message(self.Chosen(name, by_user))

    def index_of(self, name: str | None) -> int | None:
        if self._at < len(self.rows) and self.rows[self._at].name == name:
            return self._at
        found = next((n for n, row in enumerate(self.rows) if row.name == name), None)
        self._at = self._at if found is None else found
        return found

    def _into_view(self, index: int) -> bool:
        """Scroll so that row `index` shows; True if that was needed."""
        top, height = self.scroll_offset.y, max(1, self.size.height - 1)
        if top <= index < top + height:
            return False
        self.scroll_to(y=index if index < top else index - height + 1, animate=False)
        return True

    # Keys and mouse.

    def action_move(self, by: int) -> None:
        if self.rows:
            at = self.index_of(self.cursor)
            if at is None:
                at = self._gone_at - (by > 0)  # one down is the row that has taken its place
            self.choose(self.rows[max(0, min(len(self.rows) - 1, at + by))].name, by_user=True)

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.size.height - 2))

    def action_edge(self, index: int) -> None:
        if self.rows:
            self.choose(self.rows[index].name, by_user=True)

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            self._click_head(event.x)
            return
        index = event.y - 1 + self.scroll_offset.y
        if index < len(self.rows):
            name = self.rows[index].name
            self.choose(name, by_user=True)
            if event.chain > 1:
                self.post_message(self.Opened(name))

    def _click_head(self, x: int) -> None:
        left = MARGIN
        for placed in self._placed:
            if left <= x < left + placed.width + GAP and placed.column.title:
                self.post_message(self.SortAsked(placed.column.key))
            left += placed.width + GAP

    def on_resize(self) -> None:
        self._lay_out()
        self._drawn, self._head = {}, None  # strips are as wide as the widget was
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        index = self.index_of(self.cursor)
        if index is not None:
            self._into_view(index)
        self.refresh()

    def watch_show_vertical_scrollbar(self) -> None:
        if self._lay_out():  # the bar takes its cells from the columns
            self.refresh()

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
        self._drawn[row.name] = _Drawn(row, chosen, marked, strip)
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
