"""An input whose keys act in the order in which they were pressed."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.widgets import Input

ACTIONS = {
    key.strip(): binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


class LineInput(Input):
    """Textual inserts a character in the input's own queue and runs a key's binding in the app's: of a burst
    (`backspace 2`) it would insert first and delete what was just typed. Here both happen in the input's queue.
    """

    async def on_key(self, event: events.Key) -> None:
        action = ACTIONS.get(event.key)
        if action is not None and not event.is_printable:
            event.stop()
            event.prevent_default()
            await self.run_action(action)
