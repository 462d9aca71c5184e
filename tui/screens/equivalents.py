"""Lines for a shell about one deployment: enter copies the chosen one. And the question beside what to compare."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from tui.widgets.line_input import LineInput


class EquivalentsDialog(ModalScreen[str]):
    """Dismissed with the line to copy; empty for none."""

    BINDINGS = [
        Binding("escape", "close", "close", id="equivalents.close", tooltip="Copy nothing"),
        Binding("f1", "app.help", show=False, id="equivalents.help", tooltip="What this is"),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, name: str, lines: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._name, self._lines = name, tuple(lines)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"{self._name}: enter copies a line", id="title", markup=False)
            yield OptionList(*(Option(Content(f"{label:<9} {line}")) for label, line in self._lines), id="lines")

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._lines[event.option_index][1])

    def action_close(self) -> None:
        self.dismiss("")


class CompareDialog(ModalScreen[str]):
    """Dismissed with the full name of the deployment to put beside; empty for none."""

    BINDINGS = [
        Binding("escape", "close", "close", id="compare.close", tooltip="Leave it as it is"),
        Binding("f1", "app.help", show=False, id="compare.help", tooltip="What this is"),
    ]
    AUTO_FOCUS = "LineInput"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("Beside which deployment?", id="title")
            yield LineInput(placeholder="its id", id="beside", compact=True)
            yield Label(", ".join(name.rpartition("/")[2] for name in self._names), id="known", markup=False)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        wanted = event.value.strip()
        found = [name for name in self._names if wanted in (name, name.rpartition("/")[2])]
        begun = [name for name in self._names if wanted and name.rpartition("/")[2].startswith(wanted)]
        if found or len(begun) == 1:
            self.dismiss((found or begun)[0])
        else:
            known = ", ".join(name.rpartition("/")[2] for name in begun or self._names)
            told = f"no such deployment: {wanted}" if wanted and not begun else f"type one of: {known}"
            self.notify(told, severity="warning", markup=False)

    def action_close(self) -> None:
        self.dismiss("")
