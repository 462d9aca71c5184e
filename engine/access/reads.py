"""Reads that come again and again, as those of an open dashboard do, in the audit log without filling it.

The same read, by the same key from the same address, of the same resource, with the same outcome, is recorded at once
when it comes first; then one record has the number of the others: when none has come for a minute, and once an hour
while they go on. Different resources are different reads, so that who looked at what stands there in any case. So many
are told apart as `REMEMBERED_MAX`: beyond, what has not come for longest is summed up and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.access.sweeping import Sweeper
from engine.clock import Clock
from engine.telemetry.audit import TEXT_MAX, Seen

OVER_AFTER_S = 60.0
SUMMED_UP_EVERY_S = 3600.0
REMEMBERED_MAX = 1000


@dataclass(slots=True)
class _Again:
    """What came since `began`, besides the first, which has been recorded. Monotonic seconds."""

    began: float
    last: float
    more: int = 0


class Reads:
    """`add` takes what is to be recorded. Open with `open()`, end with `await close()`."""

    def __init__(self, add: Callable[[Seen], None], clock: Clock) -> None:
        self._add = add
        self._clock = clock
        self._known: dict[Seen, _Again] = {}  # what came last is last
        self._sweeper = Sweeper(self.sweep, clock, "sum up what was read again and again")

    def open(self) -> None:
        self._sweeper.open()

    async def close(self) -> None:
        """What was counted so far is recorded."""
        await self._sweeper.close()
        for read in list(self._known):
            self._forget(read)

    def note(self, seen: Seen) -> None:
        """Somebody has read this."""
        read = replace(seen, resource=seen.resource[:TEXT_MAX], user_agent=seen.user_agent[:TEXT_MAX])
        now = self._clock.monotonic()
        again = self._known.pop(read, None)
        if again is None:
            self._add(read)
            self._known[read] = _Again(now, now)
            if len(self._known) > REMEMBERED_MAX:
                self._forget(next(iter(self._known)))
            return
        self._known[read] = again
        again.last, again.more = now, again.more + 1

    def sweep(self) -> None:
        """Sum up what is over, and what has gone on for an hour."""
        now = self._clock.monotonic()
        for read, again in list(self._known.items()):
            if now - again.last >= OVER_AFTER_S:
                self._forget(read)
            elif again.more and now - again.began >= SUMMED_UP_EVERY_S:
                self._sum_up(read, again)
                again.began, again.more = now, 0

    def _forget(self, read: Seen) -> None:
        self._sum_up(read, self._known.pop(read))

    def _sum_up(self, read: Seen, again: _Again) -> None:
        if again.more:
            self._add(replace(read, detail=f"{again.more} more in {again.last - again.began:.0f} s"))
