"""Which columns a table shows: a list with a tick each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from tui.core.columns import Column


class ColumnsDialog(ModalScreen[tuple[str, ...]]):
    """Dismissed with the keys of the chosen columns, none for the usual ones. Some columns are never left out."""

    BINDINGS = [
        Binding("escape,enter,h", "done", "done", id="columns.done", tooltip="Show these columns", priority=True),
        Binding("space", "tick", "tick", id="columns.tick", tooltip="Show or leave out this column", priority=True),
        Binding("f1", "app.help", show=False, id="columns.help", tooltip="What this is"),
        Binding("r", "reset", "usual ones", id="columns.reset", tooltip="The columns that are usual here"),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, columns: Sequence[Column[Any]], shown: Sequence[str]) -> None:
        super().__init__()
        self._columns, self._shown = tuple(columns), set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("Columns: space ticks, enter shows them, r: usual ones", id="title")
            yield OptionList(*(Option(self._line(one), one.key) for one in self._columns), id="columns")

    def _line(self, column: Column[Any]) -> Content:
        always = "  (always)" if column.priority == 0 else ""
        return Content(f"{'✔' if column.key in self._shown else ' '} {column.title or column.key}{always}")

    def action_tick(self) -> None:
        options = self.query_one(OptionList)
        column = self._columns[options.highlighted or 0]
        if column.priority > 0:
            self._shown ^= {column.key}
            options.replace_option_prompt(column.key, self._line(column))

    def action_done(self) -> None:
        usual = {one.key for one in self._columns if not one.optional}
        chosen = tuple(one.key for one in self._columns if one.key in self._shown)
        self.dismiss(() if set(chosen) == usual else chosen)

    def action_reset(self) -> None:
        self.dismiss(())
