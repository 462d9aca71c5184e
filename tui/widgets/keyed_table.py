"""A table that is told its rows anew ten times a second, and whose cursor stays on what was chosen.

The cursor belongs to a row's name, not to a line: when a live sort moves rows, what the user does still means the row
that was chosen. Only lines whose row changed are sent to the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.geometry import Region, Size
from textual.message import Message

from tui.core.columns import GAP, Column, R
from tui.keymap import table_bindings
from tui.widgets.row_lines import MARGIN, RowLines


class KeyedTable(RowLines[R], can_focus=True, inherit_bindings=False):
    """Shows the rows it is given; says which one is chosen and when one shall be opened.

    Once `pinned`, by any key or click of the user, the cursor never moves by itself: when its row goes away no row is
    chosen, until the user moves it.
    """

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
        super().__init__(shown, sort=sort, id=id)
        self.pinned = False
        self._hidden: str | None = None  # the pinned row, while it is out of sight
        self._at = 0  # where a row was found last
        self._gone_at = 0  # where the chosen row was when it went away

    # What is shown.

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
