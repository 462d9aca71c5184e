"""The bottom line: how far a change has got, and the keys that work here, from the one table of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tui.core import units
from tui.core.actions import Place, footer_fit
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
        for action in footer_fit(self._place, left, locked=locked, table=deck.actions):
            pieces += [(f" {action.shown_key} ", tone("healthy", bold=True)), (f"{action.label} ", tone("head"))]
        self.show(pieces)
