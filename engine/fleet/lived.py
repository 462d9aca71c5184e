"""The time that engines on this data folder have lived, for what happens after days: no clock that is set moves it.

Two axes of seconds that go on from engine to engine. `at` and `monotonic` are of all time that certainly went by
(`engine.control.idle`); `watched` is of that for which an engine was there, to see whether anybody asks. A beat a
minute writes down where they are.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass

from client.errors import FiredeckError
from engine.clock import Clock
from engine.control.idle import Beat, lived_until
from engine.store.store import Store
from engine.telemetry.ledger import boot_id


@dataclass(frozen=True, slots=True)
class Axis:
    """Seconds that run with the monotonic clock."""

    offset_s: float

    def at(self, monotonic_s: float) -> float:
        """An instant of the monotonic clock on this axis."""
        return monotonic_s + self.offset_s

    def monotonic(self, axis_s: float) -> float:
        """The other way round; below 0 where that was before the machine was started."""
        return axis_s - self.offset_s


class Lived:
    """`open()` goes on where the engine before ended; until then the axes begin at 0."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._boot = boot_id()
        self._axis = self.watched = Axis(-clock.monotonic())

    async def open(self) -> None:
        rows, now = await self._store.fetch("last_fleet_beat"), self._clock.monotonic()
        last = Beat(**rows[0]) if rows else None
        self._axis = Axis(lived_until(last, self._now()) - now)
        self.watched = Axis((last.watched_s if last else 0.0) - now)

    async def beat(self) -> None:
        """What a full disk does not take now, the next one makes good."""
        with contextlib.suppress(FiredeckError):
            await self._store.transact([("put_fleet_beat", asdict(self._now()))])

    def at(self, monotonic_s: float) -> float:
        return self._axis.at(monotonic_s)

    def monotonic(self, lived_s: float) -> float:
        return self._axis.monotonic(lived_s)

    def _now(self) -> Beat:
        now = self._clock.monotonic()
        return Beat(self._boot, now, self._clock.wall().timestamp(), self.at(now), self.watched.at(now))
