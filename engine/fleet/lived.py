"""The time that engines on this data folder have lived, for what happens after days: no clock that is set moves it.

An axis of seconds that goes on from engine to engine (`engine.control.idle`). A beat a minute writes down where it is.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from client.errors import FiredeckError
from engine.clock import Clock
from engine.control.idle import Beat, lived_until
from engine.store.store import Store
from engine.telemetry.ledger import boot_id


class Lived:
    """`open()` goes on where the engine before ended; until then the axis begins at 0."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._boot = boot_id()
        self._offset_s = -clock.monotonic()

    async def open(self) -> None:
        rows = await self._store.fetch("last_fleet_beat")
        lived_s = lived_until(Beat(**rows[0]) if rows else None, self._now())
        self._offset_s = lived_s - self._clock.monotonic()

    async def beat(self) -> None:
        """What a full disk does not take now, the next one makes good."""
        with contextlib.suppress(FiredeckError):
            await self._store.transact([("put_fleet_beat", asdict(self._now()))])

    def at(self, monotonic_s: float) -> float:
        """An instant of the monotonic clock on this axis."""
        return monotonic_s + self._offset_s

    def monotonic(self, lived_s: float) -> float:
        """The other way round; below 0 where that was before the machine was started."""
        return lived_s - self._offset_s

    def _now(self) -> Beat:
        now = self._clock.monotonic()
        return Beat(self._boot, now, self._clock.wall().timestamp(), self.at(now))
