"""What a deployment of a simulated week is charged for, by the engine's own ledger, beside the time counted here."""

from __future__ import annotations

from collections.abc import Iterable

from engine.control.ledger import Axis, Beat, Book, Interval, Presence, Terms
from engine.control.reconcile import Stage
from tests.faults.week_parts import Unit

TERMS = Terms("n", "US_IOWA_1", "NVIDIA_H100_80GB", 1, 1_000_000, simulated=True)
BOOT = "boot"


class Bill:
    """Looked at as often as its deployment; `restart` when the engine is killed."""

    def __init__(self) -> None:
        self.ready_s = 0.0
        self.intervals = 0
        self._charged_ms = 0
        self._book = Book(Axis(BOOT, 0))
        self._looked_at = 0.0
        self._ready_at: dict[str, float] = {}  # the last instant at which each was known to take requests
        self._held: set[str] = set()  # whether they outlived the engine is not known yet

    def look(self, units: Iterable[Unit], now: float) -> None:
        there = {unit.id: unit for unit in units}
        changed = self._book.observe({name: _presence(unit, now) for name, unit in there.items()}, now)
        self.intervals += len(changed)
        self._charged_ms += sum(_length_ms(one) for one in changed)
        for name, unit in there.items():
            if unit.stage == Stage.READY:
                self.ready_s += now - self._ready_at.get(name, unit.stage_since)
                self._ready_at[name] = now
                self._held.discard(name)
        for name in [name for name in self._ready_at if name not in there or there[name].stage != Stage.READY]:
            if name in there and name in self._held:
                continue
            if name in there:
                self.ready_s += there[name].stage_since - self._ready_at[name]
            self._held.discard(name)
            del self._ready_at[name]
        self._looked_at = now

    def restart(self) -> None:
        at_ms = round(self._looked_at * 1000)
        left = list(self._book.open.values())
        self._book = Book(Axis(BOOT, 0), left, Beat(BOOT, at_ms, at_ms), self.intervals)
        self._held = set(self._ready_at)

    def charged_s(self) -> float:
        """Until the last look."""
        at_ms = round(self._looked_at * 1000)
        return (self._charged_ms + sum(one.within(0, at_ms) for one in self._book.open.values())) / 1000


def _presence(unit: Unit, now: float) -> Presence:
    return Presence("d", unit.stage_since, now, TERMS if unit.stage == Stage.READY else None)


def _length_ms(one: Interval) -> int:
    return 0 if one.ended_ms is None else one.ended_ms - one.began_ms
