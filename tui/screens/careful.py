"""What every dialog that can change something begins with: the focus on Cancel, where Enter does no harm.

Typing works all the same: what is typed on a button goes into the first field, which takes the focus.
"""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Button, Input


class CarefulDialog(ModalScreen[bool]):
    AUTO_FOCUS = "#cancel"
    BINDINGS = [
        Binding("left", "button(-1)", show=False, id="careful.left", tooltip="To the button before"),
        Binding("right", "button(1)", show=False, id="careful.right", tooltip="To the next button"),
    ]

    def action_button(self, by: int) -> None:
        """From button to button, where the focus is on one: fields and lists keep these keys for themselves."""
        buttons = [one for one in self.query(Button) if not one.disabled]
        if self.focused in buttons:
            at = min(max(buttons.index(self.focused) + by, 0), len(buttons) - 1)
            self.set_focus(buttons[at])

    def expect(self, event: events.Key | events.Paste) -> None:
        """Asked by the app before it hands the event to what has the focus. Moved any later, the focus would leave the
        first keys of a burst behind those that follow them."""
        if isinstance(self.focused, Button) and self._is_typed(event):
            self.set_focus(self.first_field)

    def _is_typed(self, event: events.Key | events.Paste) -> bool:
        if self.first_field is None:
            return False
        if isinstance(event, events.Paste):
            return True
        typed = (event.is_printable and event.key != "space") or event.key == "backspace"
        return typed and event.key not in self.active_bindings

    @property
    def first_field(self) -> Input | None:
        return next(iter(self.query(Input)), None)
