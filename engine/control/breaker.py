"""Who is refused for a while, because guards had to stop too many of its requests. Pure, on monotonic seconds.

    data   Limit      so many hits within so many seconds; refused for so many seconds then
           Breaker    the hits of each key, and until when it is refused
    verbs  hit        one more; True when it was the last straw
           until      the instant until which a key is refused, None for one that is not
           release    by an admin: its hits are forgotten too
    near   `engine.access.guards` has one for each guard

When its time is over a key begins anew, without hits. Hits while it is refused do not count: it was not let in.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

_LOOKED_AT = 2  # keys that each hit looks at, to forget those that have nothing against them any more


@dataclass(frozen=True, slots=True)
class Limit:
    hits: int
    window_s: float
    refused_s: float


@dataclass(slots=True)
class _Standing:
    hits: deque[float] = field(default_factory=deque)  # instants, the oldest first
    until: float | None = None


class Breaker:
    """Of one guard, over all keys."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._keys: OrderedDict[str, _Standing] = OrderedDict()

    def __len__(self) -> int:
        """Keys that are known."""
        return len(self._keys)

    def hit(self, key: str, now: float) -> bool:
        """A request of this key was stopped; whether the key is refused from now on."""
        self._forget_idle(now)
        if self.until(key, now) is not None:
            return False
        standing = self._keys.setdefault(key, _Standing())
        self._age(standing, now)
        standing.hits.append(now)
        if len(standing.hits) < self.limit.hits:
            return False
        standing.hits.clear()
        standing.until = now + self.limit.refused_s
        return True

    def until(self, key: str, now: float) -> float | None:
        standing = self._keys.get(key)
        if standing is None or standing.until is None or standing.until <= now:
            return None
        return standing.until

    def refused(self, now: float) -> dict[str, float]:
        """All keys that are refused now, and until when."""
        return {key: until for key in self._keys if (until := self.until(key, now)) is not None}

    def release(self, key: str, now: float) -> bool:
        """Let a key in again; whether it was refused."""
        was = self.until(key, now) is not None
        self._keys.pop(key, None)
        return was

    def _age(self, standing: _Standing, now: float) -> None:
        standing.until = None if standing.until is None or standing.until <= now else standing.until
        while standing.hits and standing.hits[0] <= now - self.limit.window_s:
            standing.hits.popleft()

    def _forget_idle(self, now: float) -> None:
        for _ in range(min(_LOOKED_AT, len(self._keys))):
            key, standing = next(iter(self._keys.items()))
            self._age(standing, now)
            if standing.hits or standing.until is not None:
                self._keys.move_to_end(key)
            else:
                del self._keys[key]
