"""Unlocking a production context: its name must be typed."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Label

from tui.screens.careful import CarefulDialog
from tui.widgets.line_input import LineInput


class UnlockDialog(CarefulDialog):
    """Dismissed with True if the name was typed."""

    BINDINGS = [
        Binding("escape", "cancel", "cancel", id="unlock.cancel", tooltip="Stay read-only"),
        Binding("f1", "app.help", show=False, id="unlock.help", tooltip="What the field is"),
    ]

    def __init__(self, context: str) -> None:
        super().__init__()
        self._wanted = context

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"Unlock changes on {self._wanted}", id="title", markup=False)
            yield Label(f"This is a production context. Type its name to allow changes: {self._wanted}", markup=False)
            yield LineInput(id="name", compact=True)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Unlock", id="confirm", variant="error", compact=True, disabled=True)

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the dialog

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#confirm", Button).disabled = event.value != self._wanted

    @on(Input.Submitted)
    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        if self.query_one(Input).value == self._wanted:
            self.dismiss(True)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(False)
