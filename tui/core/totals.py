"""What all deployments do together, of a fleet of which a part changes from picture to picture. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tui.core import units
from tui.core.row import Row
from tui.core.snapshot import changed
from tui.core.states import Look

Summed = Literal["rps", "tps", "queue"]


class Totals:
    """Rows are looked into when they change; from then on their figures stand in lists, at the row's place."""

    def __init__(self) -> None:
        self._clear(0)

    def _clear(self, count: int) -> None:
        self._rows: Sequence[Row] = ()
        self._looks: list[Look | None] = [None] * count  # None of a deleted one: it is counted, and nothing else of it
        self._counts: Counter[Look | None] = Counter({None: count})
        self._figures: dict[Summed, list[float | None]] = {name: [None] * count for name in ("rps", "tps", "queue")}

    def take(self, rows: Sequence[Row]) -> None:
        if rows is self._rows:
            return
        alike = len(rows) == len(self._rows)
        if not alike:
            self._clear(len(rows))
        rps, tps, queue = self._figures["rps"], self._figures["tps"], self._figures["queue"]
        for n in changed(self._rows, rows) if alike else range(len(rows)):
            row = rows[n]
            live, stats = not row.deleted, row.status.stats
            self._look(n, row.look if live else None)
            rps[n], tps[n], queue[n] = (
                (stats.requests_per_second, stats.tokens_per_second, row.queue) if live else (None, None, None)
            )  # fmt: skip
        self._rows = rows

    def _look(self, n: int, look: Look | None) -> None:
        before = self._looks[n]
        if look is not before:
            self._counts[before] -= 1
            self._counts[look] += 1
            self._looks[n] = look

    @property
    def deleted(self) -> int:
        return self._counts[None]

    @property
    def live(self) -> int:
        return len(self._looks) - self.deleted

    def looks(self) -> list[tuple[Look, int]]:
        """How many look so, in order of the states; what scales is one state, however far."""
        found: Counter[Look] = Counter()
        for look, number in self._counts.items():
            if look is not None and number:
                found[Look(look.glyph, look.word.split()[0], look.tone, look.rank)] += number
        return sorted(found.items(), key=lambda pair: (pair[0].rank, pair[0].glyph, pair[0].word))

    def told(self, name: Summed, text: Callable[[Any], str]) -> str:
        """The sum of what is known; the sign for what no row has or no source tells."""
        known = [value for value in self._figures[name] if value is not None]
        if known or not self.live:
            return text(sum(known))
        hidden = all(name in row.hidden for row in self._rows if not row.deleted)
        return units.NOT_EXPOSED if hidden else text(None)
