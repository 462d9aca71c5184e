"""The fleet in a line: how many deployments in which state, and what all of them do."""

from __future__ import annotations

from tui.core import units
from tui.core.totals import Totals
from tui.widgets.paint import Piece, tone


def summary(totals: Totals) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  │ 3.1 req/s  120 tok/s  0 queued`."""
    pieces: list[Piece] = [" ", *_counts(totals)]
    pieces += [("  │ ", tone("dim")), (totals.told("rps", units.rate), "bold"), " req/s"]
    pieces += [("  ", ""), (totals.told("tps", units.rate), "bold"), " tok/s"]
    pieces += [("  ", ""), (totals.told("queue", units.count), "bold"), " queued"]
    return pieces


def _counts(totals: Totals) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  ✖ 1 FAILED`, in order of the states."""
    pieces: list[Piece] = []
    for look, number in totals.looks():
        pieces += [(f"{look.glyph} {number} {look.word}", tone(look.tone, bold=True)), "  "]
    return pieces[:-1] or [("0 deployments", tone("dim"))]
