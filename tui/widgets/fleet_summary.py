"""The fleet in a line: how many deployments in which state, and what all of them do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tui.core import units
from tui.core.snapshot import Row
from tui.widgets.paint import Piece, tone


def totals(live: Sequence[Row]) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  │ 3.1 req/s  120 tok/s  0 queued`."""
    pieces: list[Piece] = [" ", *_counts(live)]
    pieces += [("  │ ", tone("dim")), (total(live, "rps", units.rate), "bold"), " req/s"]
    pieces += [("  ", ""), (total(live, "tps", units.rate), "bold"), " tok/s"]
    pieces += [("  ", ""), (total(live, "queue", units.count) if live else "0", "bold"), " queued"]
    return pieces


def _counts(rows: Sequence[Row]) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  ✖ 1 FAILED`, in order of the states."""
    looks = Counter((row.look.rank, row.look.glyph, row.look.word.split()[0], row.look.tone) for row in rows)
    pieces: list[Piece] = []
    for (_, glyph, word, colour), number in sorted(looks.items()):
        pieces += [(f"{glyph} {number} {word}", tone(colour, bold=True)), "  "]
    return pieces[:-1] or [("0 deployments", tone("dim"))]


def total(rows: Sequence[Row], field: str, text: Callable[[Any], str]) -> str:
    """The sum of what is known; the sign for what no row has or no source tells."""
    known = [value for row in rows if (value := getattr(row, field)) is not None]
    if not known and rows and all(field in row.hidden for row in rows):
        return units.NOT_EXPOSED
    return text(sum(known) if known else None)
