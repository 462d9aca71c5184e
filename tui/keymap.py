"""Textual bindings out of the table of actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tui.core.actions import MOVES, Place, of


def bindings(place: Place) -> list[BindingType]:
    return [
        Binding(
            ",".join(action.keys),
            f"{'app' if action.group == 'App' else 'screen'}.{action.id}",
            action.label,
            id=action.name,
            tooltip=action.tooltip,
            key_display=action.shown_key,
        )
        for action in of(place)
    ]


def table_bindings() -> list[BindingType]:
    return [
        Binding(
            ",".join(move.keys), move.id, move.label, show=False, id=f"table.{move.label.replace(' ', '_')}",
            tooltip=move.tooltip, key_display=move.shown_keys,
        )
        for move in MOVES
    ]  # fmt: skip
