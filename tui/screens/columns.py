"""Which columns a table shows: a list with a tick each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, SelectionList
from textual.widgets.selection_list import Selection

from tui.core.columns import Column


class ColumnsDialog(ModalScreen[tuple[str, ...]]):
    """Dismissed with the keys of the chosen columns; columns that are never left out cannot be unticked."""

    BINDINGS = [
        Binding("escape,enter,C", "done", "done", id="columns.done", tooltip="Show these columns", priority=True),
        Binding("r", "reset", "usual ones", id="columns.reset", tooltip="The columns that are usual here"),
    ]
    AUTO_FOCUS = "SelectionList"

    def __init__(self, columns: Sequence[Column[Any]], shown: Sequence[str]) -> None:
        super().__init__()
        self._columns, self._shown = tuple(columns), set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("Columns: space ticks, enter shows them, r for the usual ones", id="title")
            yield SelectionList[str](*(
                Selection(one.title or one.key, one.key, one.key in self._shown, disabled=one.priority == 0)
                for one in self._columns
            ), compact=True)  # fmt: skip

    def action_done(self) -> None:
        ticked = set(self.query_one(SelectionList).selected)
        always = {one.key for one in self._columns if one.priority == 0}
        self.dismiss(tuple(one.key for one in self._columns if one.key in ticked | always))

    def action_reset(self) -> None:
        self.dismiss(())
