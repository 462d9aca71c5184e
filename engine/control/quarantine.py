"""Requests under which replicas died, by digest of their body. Pure: the caller brings the clock.

One death makes a request a suspect, a second one on another replica quarantines it: it is refused from then on, so
that it cannot take down the whole set. An answer clears a suspect. Marks expire, and only so many are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

DEATHS_UNTIL_QUARANTINE = 2
KEPT_S = 600.0  # from the last death
MARKS_MAX = 1024


def digest_of(body: bytes) -> str:
    """SHA-256 of a request's body, in hex: what people can compare, and nobody can read a prompt from."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Mark:
    """A request that was being answered by `replicas` when they died, the last time at `last_at` (seconds)."""

    digest: str
    replicas: tuple[str, ...]
    last_at: float

    @property
    def quarantined(self) -> bool:
        return len(self.replicas) >= DEATHS_UNTIL_QUARANTINE

    def ends_at(self) -> float:
        return self.last_at + KEPT_S


class Quarantine:
    """The marks of one deployment's requests, the least recent first."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def blame(self, digest: str, replica: str, now: float) -> bool:
        """`replica` died while it answered this request. True when that is what quarantines it."""
        former = self.mark(digest, now)
        known = former.replicas if former else ()
        if replica in known:
            return False
        mark = Mark(digest, (*known, replica)[:DEATHS_UNTIL_QUARANTINE], now)
        self._marks.pop(digest, None)
        self._marks[digest] = mark
        while len(self._marks) > MARKS_MAX:
            del self._marks[next(iter(self._marks))]
        return mark.quarantined and not (former and former.quarantined)

    def answered(self, digest: str) -> None:
        """It was answered and the replica lives: no suspect any more."""
        mark = self._marks.get(digest)
        if mark is not None and not mark.quarantined:
            del self._marks[digest]

    def mark(self, digest: str, now: float) -> Mark | None:
        """What is known against this request, or None."""
        mark = self._marks.get(digest)
        if mark is None or now < mark.ends_at():
            return mark
        del self._marks[digest]
        return None

    def all(self, now: float) -> list[Mark]:
        """Every mark that has not expired, the least recent first."""
        return [mark for mark in self._marks.values() if now < mark.ends_at()]

    def restore(self, marks: Iterable[Mark]) -> None:
        """Go on where an earlier engine ended, with the newest of these marks (the least recent first)."""
        self._marks = {mark.digest: mark for mark in list(marks)[-MARKS_MAX:]}

    def quarantined(self, now: float) -> list[Mark]:
        """Those refused now, the latest last."""
        return [mark for mark in self.all(now) if mark.quarantined]
