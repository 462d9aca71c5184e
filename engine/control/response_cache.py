"""Whole answers kept for a while: bounded in bytes, the least lately used go first, and nothing is older than its time.

    data   Kept            an answer, and how long it may be kept
    verbs  get, put        `put` makes room first; what is larger than an entry may be is not kept
           expire          drops what is too old, whether anybody asks for it or not
    near   `engine.gateway.cached` makes the keys and owns the clock

Pure: instants are monotonic seconds, keys are digests, contents are bytes. Nothing here is ever written anywhere.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass

ENTRY_OVERHEAD_BYTES = 512  # of Python's objects around an entry: many small answers must not go uncounted


@dataclass(frozen=True, slots=True)
class Kept:
    content: bytes
    kept_at: float
    until: float

    @property
    def size(self) -> int:
        return len(self.content) + ENTRY_OVERHEAD_BYTES


class ResponseCache:
    """At most `limit` bytes in all, and `entry_limit` of one answer."""

    def __init__(self, limit: int, entry_limit: int) -> None:
        self.limit, self.entry_limit = limit, entry_limit
        self.size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()  # the least lately used first
        self._ends: list[tuple[float, bytes]] = []  # a heap; entries that went otherwise are still in it

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Kept | None:
        """The answer, unless it is too old; it then is the most lately used."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= now:
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, content: bytes, now: float, ttl_s: float) -> bool:
        """Keep an answer for `ttl_s` seconds, in the place of an older one; whether it was kept."""
        self.expire(now)
        self._drop(key)
        kept = Kept(content, now, now + ttl_s)
        if kept.size > self.entry_limit or ttl_s <= 0:
            return False
        while self._kept and self.size + kept.size > self.limit:
            self._drop(next(iter(self._kept)))
        if kept.size > self.limit:
            return False
        self._kept[key] = kept
        self.size += kept.size
        heapq.heappush(self._ends, (kept.until, key))
        return True

    def expire(self, now: float) -> float | None:
        """Drop whatever is too old; the instant at which there is more to drop, None when nothing is kept."""
        while self._ends and (self._ends[0][0] <= now or not self._current(*self._ends[0])):
            until, key = heapq.heappop(self._ends)
            if self._current(until, key):
                self._drop(key)
        if len(self._ends) > 2 * len(self._kept) + 16:  # entries that were replaced over and over
            self._ends = [(kept.until, key) for key, kept in self._kept.items()]
            heapq.heapify(self._ends)
        return self._ends[0][0] if self._ends else None

    def _current(self, until: float, key: bytes) -> bool:
        kept = self._kept.get(key)
        return kept is not None and kept.until == until

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size
