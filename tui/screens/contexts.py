"""Which of several contexts is meant: a list with how each of them stands."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from tui.core import units
from tui.core.contexts import Standing
from tui.widgets.paint import drawn, tone


class ContextDialog(ModalScreen[str]):
    """Dismissed with the name of the one to turn to; empty for none."""

    BINDINGS = [
        Binding("escape", "close", "close", id="contexts.close", tooltip="Leave it as it is"),
        Binding("f1", "app.help", show=False, id="contexts.help", tooltip="What this is"),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, found: Sequence[Standing], chosen: str) -> None:
        super().__init__()
        self._found, self._chosen = tuple(found), chosen

    def compose(self) -> ComposeResult:
        wide = max(units.width(one.name) for one in self._found)
        with Vertical(id="dialog"):
            yield Label("Contexts: enter turns to one", id="title")
            yield OptionList(*(Option(self._line(one, wide), one.name) for one in self._found), id="contexts")

    def _line(self, one: Standing, wide: int) -> Content:
        locked = "  read-only" if one.locked else ""
        return Content.assemble(
            drawn(self, "▸ " if one.name == self._chosen else "  "),
            (units.fitted(one.name, wide), tone(one.colour, bold=True) if one.colour else "bold"),
            f"  account {one.account}  ",
            (drawn(self, one.word), tone(one.tone)),
            ("  PROD" if one.prod else "", tone("failed", bold=True)),
            (locked, tone("attention")),
        )

    def on_mount(self) -> None:
        names = [one.name for one in self._found]
        self.query_one(OptionList).highlighted = names.index(self._chosen) if self._chosen in names else 0

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index].name)

    def action_close(self) -> None:
        self.dismiss("")
