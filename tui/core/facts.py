"""What a source is and cannot do, and how much it may be asked: for the header, the footer and the help."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(seconds=15), timedelta(minutes=5)
CHANGES = ("create", "scale", "update", "delete", "undelete", "undo", "shift", "roll_back", "load", "unload")
TAPE = ("rewind", "forward", "far_back", "far_on", "pause")
_NO_TAPE = dict.fromkeys(TAPE, "only a recording can be wound")


@dataclass(frozen=True, slots=True)
class Facts:
    """`kind`: what the header calls it. `lacks`: reasons by the names of the actions that it does not have.

    `every`: how long after a picture the next one is due. `used` of `limit` requests went out within the last minute
    (`limit` 0: nobody counts); none goes out before `held_until`. `note`: what the header says besides. `hidden`: the
    fields of a row that it never tells; `replicas` and `why` where it has no single replicas and no reasons.
    """

    kind: str
    lacks: Mapping[str, str] = field(default_factory=lambda: _NO_TAPE)
    every: timedelta = timedelta(seconds=1)
    used: int = 0
    limit: int = 0
    held_until: datetime | None = None
    note: str = ""
    hidden: frozenset[str] = frozenset()

    @property
    def stale_after(self) -> timedelta:
        return max(timedelta(seconds=5), self.every * 2.5)


ENGINE = Facts("engine")


class Budget:
    """Requests within a sliding minute, and the pause after a refusal. Instants are the caller's."""

    def __init__(self, limit: int, window: timedelta = timedelta(minutes=1)) -> None:
        self.limit = limit
        self._window, self._sent, self._refusals = window, deque[datetime](), 0
        self.held_until: datetime | None = None

    def used(self, now: datetime) -> int:
        while self._sent and now - self._sent[0] >= self._window:
            self._sent.popleft()
        return len(self._sent)

    def may(self, now: datetime) -> bool:
        """Whether one more may go out now."""
        return self.used(now) < self.limit and (self.held_until is None or now >= self.held_until)

    def spend(self, now: datetime) -> None:
        self._sent.append(now)

    def refused(self, now: datetime, retry_after_s: float | None = None) -> None:
        """The server said that it was too many: as long as it says, else 15 s, 30 s, … 5 minutes."""
        wait = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._refusals, 10))
        self._refusals += 1
        self.held_until = now + (timedelta(seconds=retry_after_s) if retry_after_s else wait)

    def answered(self) -> None:
        self._refusals, self.held_until = 0, None
