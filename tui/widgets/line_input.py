"""An input whose keys act in the order in which they were pressed."""

from __future__ import annotations

from dataclasses import replace

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Input

from tui.core.keys import NEVER

_KEPT: list[BindingType] = [
    replace(binding, key=",".join(keys))
    for binding in Input.BINDINGS
    if isinstance(binding, Binding) and (keys := [k for k in binding.key.split(",") if k not in NEVER])
]
ACTIONS = {key: kept.action for kept in _KEPT if isinstance(kept, Binding) for key in kept.key.split(",")}


class LineInput(Input, inherit_bindings=False):
    """Textual inserts a character in the input's own queue and runs a key's binding in the app's: of a burst
    (`backspace 2`) it would insert first and delete what was just typed. Here both happen in the input's queue.
    """

    BINDINGS = _KEPT

    async def on_key(self, event: events.Key) -> None:
        action = ACTIONS.get(event.key)
        if action is not None and not event.is_printable:
            event.stop()
            event.prevent_default()
            await self.run_action(action)


class NameInput(LineInput):
    """Where a name is typed, to show that this place is meant."""
