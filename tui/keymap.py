"""Textual bindings out of the table of actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tui.core.actions import MOVES, Action, Place, of


def owner(action: Action) -> str:
    """Who has its method: the app what is the same on every page, else the page."""
    return "app" if action.group == "App" or action.id.startswith("wind(") else "screen"


def bindings(place: Place) -> list[BindingType]:
    return [
        Binding(
            ",".join(action.keys),
            f"{owner(action)}.{action.id}",
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
