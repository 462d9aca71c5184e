"""The line above a table that narrows it: opened with `/`, put away by Enter with its words kept, emptied by Escape."""

from __future__ import annotations

from textual import on
from textual.message import Message
from textual.widgets import Input

from tui.core import query
from tui.widgets.line_input import LineInput
from tui.widgets.paint import Piece, tone


class FilterBox(LineInput):
    """`hint` is shown while it is empty."""

    class Edited(Message):
        """Its words are others now."""

    class Done(Message):
        """It was put away by Enter: the table has the keys again."""

    def __init__(self, hint: str) -> None:
        super().__init__(placeholder=hint, compact=True)

    def open(self) -> None:
        self.display = True
        self.focus()

    def shut(self) -> bool:
        """Empty it and put it away; whether there was anything to do."""
        was_there = bool(self.value) or self.display
        self.value, self.display = "", False
        return was_there

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.display = False
        self.post_message(self.Done())

    def told(self, shown: int) -> list[Piece]:
        """What a summary says of it: a chip for each word, `shown` rows being left; nothing while it is empty."""
        chips: list[Piece] = []
        for term in query.terms(self.value):
            chips += [" ", (f" {term} ", "bold $background on $tone-working")]
        return [" ", ("/", tone("dim")), *chips, f" {shown} shown"] if chips else []
