"""The bottom line: how far a change has got, and the keys that work here, from the one table of actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.widgets import Input

from tui.core import units
from tui.core.actions import Action, Place, footer_fit, typed_keys
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from tui.app import Deck


class KeyBar(Text):
    def __init__(self, place: Place) -> None:
        super().__init__(id="keys")
        self._place: Place = place

    def show_keys(self, *, locked: bool) -> None:
        deck = cast("Deck", self.app)
        told = f" ◐ {deck.following} " if deck.following else ""
        pieces: list[Piece] = [(told, tone("working", bold=True))] if told else []
        left = (self.size.width or 80) - units.width(told)
        if isinstance(self.screen.focused, Input):
            self.show([*pieces, *_while_typing(self._place, deck.actions)])
            return
        table = [action for action in deck.actions if action.changes or not deck.lacking(action.name)]
        for action in footer_fit(self._place, left, locked=locked, table=table):
            lacking = bool(deck.lacking(action.name))
            key = tone("dim") if lacking else tone("healthy", bold=True)
            pieces += [(f" {action.shown_key} ", key), (f"{action.label} ", tone("dim" if lacking else "head"))]
        self.show(pieces)


def _while_typing(place: Place, table: Sequence[Action]) -> list[Piece]:
    """A letter is text then: only the keys that are none."""
    found: list[Piece] = []
    for key, label in typed_keys(place, table):
        found += [(f" {key} ", tone("healthy", bold=True)), (f"{label} ", tone("head"))]
    return found
