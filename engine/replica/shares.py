"""Who is served next when all want service: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).

Each party has a virtual time, the service it has had divided by its weight; the one that is furthest behind comes
first. A party that returns from idleness starts no further behind than those that wait: credit is not saved up.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Shares(Generic[K]):
    """Virtual time by party. A party waits while it has joined more often than it has left.

    Service counts only while somebody waits: with nobody waiting there is nothing to share, and all start equal when
    the next contest begins. So this holds nobody who neither waits nor is ahead of those who do.
    """

    def __init__(self, weights: Mapping[K, float] | None = None) -> None:
        self._weights: Mapping[K, float] = {} if weights is None else weights  # above 0; 1.0 where not named
        self._times: dict[K, float] = {}
        self._waiting: dict[K, int] = {}  # how much of each waits; whose last turn is longest ago comes first
        self._floor = 0.0  # the furthest behind of those that wait; never goes down within a contest

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def join(self, party: K) -> None:
        """One more piece of work of `party` waits."""
        if not self._waiting:
            self._times.clear()
            self._floor = 0.0
        if party not in self._waiting:
            self._raise_floor()
            self._times[party] = self._time(party)
        self._waiting[party] = self._waiting.get(party, 0) + 1

    def leave(self, party: K) -> None:
        """One piece of work of `party` waits no longer, for whatever reason."""
        if self._waiting[party] > 1:
            self._waiting[party] -= 1
            return
        self._raise_floor()
        del self._waiting[party]

    def turn(self, party: K) -> None:
        """A waiting party has had its turn: among equals it comes last now."""
        self._waiting[party] = self._waiting.pop(party)

    def charge(self, party: K, service: float) -> None:
        """Count service (any unit, the same for all) to a party, waiting or not."""
        if self._waiting:
            self._times[party] = self._time(party) + service / self._weights.get(party, 1.0)

    def order(self) -> list[K]:
        """Those that wait, the one furthest behind first."""
        return sorted(self._waiting, key=self._times.__getitem__)

    def _time(self, party: K) -> float:
        return max(self._times.get(party, 0.0), self._floor)

    def _raise_floor(self) -> None:
        """Follow those that wait, and forget idle parties that are not ahead of them: they would start there anyway."""
        if self._waiting:
            self._floor = min(self._times[party] for party in self._waiting)
            ahead = {p: t for p, t in self._times.items() if p in self._waiting or t > self._floor}
            self._times = ahead
