"""Which replica takes the next request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class Choice(NamedTuple):
    """Which replica was taken, and among what: `ready` replicas, of which `with_room`, of which `fresh` had not failed
    this very request. `in_flight` and `slots` are the taken one's, before the request."""

    id: str
    in_flight: int
    slots: int
    ready: int
    with_room: int
    fresh: int

    @property
    def why(self) -> str:
        """The end of: it was taken because it was ..."""
        if self.ready == 1:
            return "the only replica that took requests"
        if self.with_room == 1:
            return f"the only one of {self.ready} replicas with room"
        if self.fresh == 1 < self.with_room:
            return "the only one with room that had not failed this very request"
        asked = f"{self.in_flight} request{'s' * (self.in_flight != 1)} on {self.slots} slot{'s' * (self.slots != 1)}"
        return f"the least loaded for its size of {self.ready} replicas ({asked})"


def choice(candidates: Sequence[Candidate], avoid: frozenset[str], taken: str) -> Choice:
    """What `choose` chose among, for those who ask why."""
    one = next(c for c in candidates if c.id == taken)
    with_room = [c for c in candidates if c.room > 0]
    fresh = sum([c.id not in avoid for c in with_room])
    return Choice(taken, one.in_flight, one.slots, len(candidates), len(with_room), fresh)


def choose(candidates: Sequence[Candidate], avoid: frozenset[str] = frozenset()) -> str | None:
    """The replica with the least load for its size, or None when all are full.

    Those in `avoid` (they have failed this very request) are taken only when there is no other.
    """
    with_room = [c for c in candidates if c.room > 0]
    preferred = [c for c in with_room if c.id not in avoid] or with_room
    if not preferred:
        return None
    return min(preferred, key=lambda c: (c.in_flight / c.slots, c.id)).id
