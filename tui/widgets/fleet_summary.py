"""The fleet in a line: how many deployments in which state, and what all of them do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from tui.core import units
from tui.core.snapshot import Row
from tui.widgets.paint import Piece, tone


class Totals:
    """Of a fleet that is told of more often than it changes."""

    def __init__(self) -> None:
        self._rows: Sequence[Row] = ()
        self._pieces = totals(())
        self._gone = 0

    def of(self, rows: Sequence[Row]) -> tuple[list[Piece], int]:
        """The line, and how many were deleted, which are not in it."""
        if rows is not self._rows:
            self._gone = list(map(attrgetter("state"), rows)).count("DELETED")
            self._pieces = totals([row for row in rows if not row.deleted] if self._gone else rows)
            self._rows = rows
        return list(self._pieces), self._gone


def totals(live: Sequence[Row]) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  │ 3.1 req/s  120 tok/s  0 queued`."""
    pieces: list[Piece] = [" ", *_counts(live)]
    pieces += [("  │ ", tone("dim")), (total(live, "rps", units.rate), "bold"), " req/s"]
    pieces += [("  ", ""), (total(live, "tps", units.rate), "bold"), " tok/s"]
    pieces += [("  ", ""), (total(live, "queue", units.count) if live else "0", "bold"), " queued"]
    return pieces


def _counts(rows: Sequence[Row]) -> list[Piece]:
    """`● 2 READY  ◌ 1 ZERO  ✖ 1 FAILED`, in order of the states."""
    found = list(map(attrgetter("look"), rows))
    keys = list(map(id, found))
    distinct = dict(zip(keys, found, strict=True))  # most share one: it is not looked into for each
    looks: Counter[tuple[int, str, str, str]] = Counter()
    for key, number in Counter(keys).items():
        look = distinct[key]
        looks[look.rank, look.glyph, look.word.split()[0], look.tone] += number
    pieces: list[Piece] = []
    for (_, glyph, word, colour), number in sorted(looks.items()):
        pieces += [(f"{glyph} {number} {word}", tone(colour, bold=True)), "  "]
    return pieces[:-1] or [("0 deployments", tone("dim"))]


def total(rows: Sequence[Row], field: str, text: Callable[[Any], str]) -> str:
    """The sum of what is known; the sign for what no row has or no source tells."""
    values = list(map(attrgetter(field), rows))
    known = values if None not in values else [value for value in values if value is not None]
    if not known and rows and all(field in row.hidden for row in rows):
        return units.NOT_EXPOSED
    return text(sum(known) if known else None)
