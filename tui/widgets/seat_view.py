"""One side of the playground: who is asked, the conversation, what was measured of the last answer."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from tui.core import playground
from tui.core.playground import Seat
from tui.widgets.paint import Piece, Text, tone

_WHO = {"user": "▌ you", "assistant": "● model"}


class SeatView(Vertical):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._seat: Seat | None = None

    def compose(self) -> ComposeResult:
        yield Text(classes="seat-title")
        with VerticalScroll(classes="seat-talk"):
            yield Text(classes="seat-said")
        yield Text(classes="seat-figures")

    def show_seat(self, seat: Seat | None) -> None:
        """None: nobody sits here."""
        self.display = seat is not None
        if seat is None or seat == self._seat:
            return
        self._seat = seat
        self.query_one(".seat-title", Text).show([(f" {seat.title} ", "bold $background on $tone-working")])
        self.query_one(".seat-said", Text).show(*_lines(seat))
        self.query_one(".seat-figures", Text).show([_figures(seat)])
        if seat.busy:
            self.query_one(VerticalScroll).scroll_end(animate=False)


def _lines(seat: Seat) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    for who, text in seat.lines():
        lines.append([(_WHO[who], tone("head", bold=True))])
        lines += [[(line, "")] for line in text.splitlines() or [""]]
    if seat.answer is not None and seat.answer.error:
        lines.append([(f"✖ {seat.answer.error}", tone("failed", bold=True))])
    return lines


def _figures(seat: Seat) -> Piece:
    if seat.answer is None:
        return ("nothing asked yet", tone("dim"))
    return (playground.figures(seat.answer), tone("working" if seat.busy else "healthy"))
