"""Textual bindings out of the table of actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tui.core.actions import Place, of


def bindings(place: Place) -> list[BindingType]:
    return [
        Binding(
            ",".join(action.keys),
            f"{'app' if action.group == 'App' else 'screen'}.{action.id}",
            action.label,
            id=action.id,
            tooltip=action.tooltip,
            key_display=action.shown_key,
        )
        for action in of(place)
    ]
