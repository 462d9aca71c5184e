"""The two clocks that the engine reads, behind one seam so that tests and rehearsals can turn the hands."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds on an axis that never jumps: for windows, ages and time-outs."""
        ...

    def wall(self) -> datetime:
        """UTC now: for what people and files read."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of this clock have gone by."""
        ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def wall_at(clock: Clock, at: float) -> datetime:
    """A monotonic instant as UTC, to a tenth of a second: the two clocks are never read at once, and what is told again
    should be the same."""
    told = clock.wall() + timedelta(seconds=at - clock.monotonic())
    return told.replace(microsecond=told.microsecond // 100_000 * 100_000)


STEP_S = 2.0  # a wall clock that is off by more has been set: smeared leap seconds and slewing stay below
BELIEVED_AFTER_S = 3600.0


class Settled:
    """Whether ages may be told by the wall clock, where what is too old is removed for good.

    A clock that was set is believed once it has gone on for an hour: time to notice one that was set wrong.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._offset_now()
        self._set_at = float("-inf")

    def holds(self) -> bool:
        """To be asked whenever something may have to go: clocks are compared with the last time."""
        offset = self._offset_now()
        if abs(offset - self._offset) > STEP_S:
            self._set_at = self._clock.monotonic()
        self._offset = offset
        return self._clock.monotonic() - self._set_at >= BELIEVED_AFTER_S

    def _offset_now(self) -> float:
        return self._clock.wall().timestamp() - self._clock.monotonic()


class FakeClock:
    """A clock that stands still until told to move."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def advance(self, seconds: float) -> None:
        """Move, and wake whoever has slept long enough; they run at the next turn of the event loop."""
        self._elapsed += seconds
        due = [(at, sleeper) for at, sleeper in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, sleeper) for at, sleeper in self._sleepers if at > self._elapsed]
        for _, sleeper in sorted(due, key=lambda one: one[0]):
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, sleeper))
        await sleeper

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)
