"""Which replica takes the next request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PREFETCH = 1  # requests beyond its slots that a replica may hold, so that a freed slot never waits for the gateway


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ready replica: `in_flight` requests are there, `slots` can run at once."""

    id: str
    in_flight: int
    slots: int

    @property
    def room(self) -> int:
        return self.slots + PREFETCH - self.in_flight


def choose(candidates: Sequence[Candidate], avoid: frozenset[str] = frozenset()) -> str | None:
    """The replica with the least load for its size, or None when all are full.

    Those in `avoid` (they have failed this very request) are taken only when there is no other.
    """
    with_room = [c for c in candidates if c.room > 0]
    preferred = [c for c in with_room if c.id not in avoid] or with_room
    if not preferred:
        return None
    return min(preferred, key=lambda c: (c.in_flight / c.slots, c.id)).id
