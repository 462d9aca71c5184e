"""The bottom line: the keys that work here, from the one table of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tui.core.actions import Place, footer_fit
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from tui.app import Deck


class KeyBar(Text):
    def __init__(self, place: Place) -> None:
        super().__init__(id="keys")
        self._place: Place = place

    def show_keys(self, *, locked: bool) -> None:
        pieces: list[Piece] = []
        table = cast("Deck", self.app).actions
        for action in footer_fit(self._place, self.size.width or 80, locked=locked, table=table):
            pieces += [(f" {action.shown_key} ", tone("healthy", bold=True)), (f"{action.label} ", tone("head"))]
        self.show(pieces)
