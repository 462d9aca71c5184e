"""Replicas that answer `/health` and fail requests, or are far slower than the others: passed over for a while. Pure.

    data   Outliers     what came of the last requests at each replica of a deployment, and until when it is ejected
    verbs  answered     a request was answered, so many times as slowly as expected
           failed       one was not; says why when that ejects the replica
           passed_over  of these replicas those that get no request now
    near   `engine.gateway.verdict` tells what came of requests, `engine.fleet.balancer` leaves the ejected out

A replica is ejected after five failures in a row; or by its last 30 s, when half of what it was asked failed, or its
answers began five times later than those of the others, each measured by what was expected of it. It is out for 10 s,
then twice as long each time, at most five minutes, and begins anew after five good minutes. Never more than half of the
replicas are out, so that one alone never is: Envoy's outlier detection, in numbers that fit small sets.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from engine.control.backoff import doubling

IN_A_ROW = 5
WINDOW_S = 30.0
KNOWN_AFTER = 10  # requests in the window; of fewer nothing is concluded
FAILED_SHARE = 0.5
TIMES = 5.0  # as much as the others: that is outlying
OUT_FIRST_S, OUT_MAX_S = 10.0, 300.0
FORGIVEN_S = 300.0
SHARE_MAX = 0.5  # of the replicas
_KEPT = 64  # requests of each replica


@dataclass(slots=True)
class _Record:
    """`recent`: (when, failed, times as slow as expected or None); `bad`: how many of these could eject it."""

    recent: deque[tuple[float, bool, float | None]] = field(default_factory=deque)
    bad: int = 0
    in_a_row: int = 0
    ejections: int = 0
    until: float = -math.inf

    def add(self, outcome: tuple[float, bool, float | None]) -> None:
        if len(self.recent) == _KEPT:
            self.bad -= _bad(self.recent.popleft())
        self.recent.append(outcome)
        self.bad += _bad(outcome)

    def since(self, start: float) -> list[tuple[float, bool, float | None]]:
        return [one for one in self.recent if one[0] >= start]


class Outliers:
    """Of one deployment. Instants are seconds on the caller's monotonic axis."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def answered(self, replica: str, now: float, slowness: float | None = None) -> str | None:
        """Why it is ejected, by this answer; None while it is not."""
        return self._take(replica, now, failed=False, slowness=slowness)

    def failed(self, replica: str, now: float) -> str | None:
        """The same of a request that was lost, or answered with a fault of the replica's."""
        return self._take(replica, now, failed=True, slowness=None)

    def passed_over(self, replicas: Collection[str], now: float) -> frozenset[str]:
        """At most half of them: those that are out for longest."""
        out = [(record.until, name) for name in replicas if (record := self._records.get(name)) and record.until > now]
        if not out:
            return frozenset()
        return frozenset(name for _, name in sorted(out, reverse=True)[: int(SHARE_MAX * len(replicas))])

    def keep(self, living: Collection[str]) -> None:
        for gone in self._records.keys() - living:
            del self._records[gone]

    def _take(self, replica: str, now: float, *, failed: bool, slowness: float | None) -> str | None:
        record = self._records.setdefault(replica, _Record())
        if record.until > now:
            return None  # it was asked before
        record.add((now, failed, slowness))
        record.in_a_row = record.in_a_row + 1 if failed else 0
        why = self._outlying(replica, record, now)
        if why is not None:
            self._eject(record, now)
        return why

    def _outlying(self, replica: str, record: _Record, now: float) -> str | None:
        if record.in_a_row >= IN_A_ROW:
            return f"{record.in_a_row} requests in a row failed there"
        if record.bad < FAILED_SHARE * KNOWN_AFTER:
            return None  # neither share nor median can be so high: nearly always, and the others are many
        start = now - WINDOW_S
        own = record.since(start)
        if len(own) < KNOWN_AFTER:
            return None
        others = [one for name, other in self._records.items() if name != replica for one in other.since(start)]
        if len(others) < KNOWN_AFTER:
            return None
        share, usual = _failed(own), _failed(others)
        if share >= FAILED_SHARE and share >= TIMES * usual:
            return f"{share:.0%} of the last {len(own)} requests failed there, and {usual:.0%} elsewhere"
        slow, normal = _slowness(own), _slowness(others)
        if slow >= TIMES * max(1.0, normal):
            return f"its answers began {slow / max(1.0, normal):.0f} times as late as those of the others"
        return None

    @staticmethod
    def _eject(record: _Record, now: float) -> None:
        if now - record.until > FORGIVEN_S:
            record.ejections = 0
        record.ejections += 1
        record.until = now + doubling(OUT_FIRST_S, record.ejections, OUT_MAX_S)
        record.in_a_row = 0
        record.recent.clear()
        record.bad = 0


def _bad(outcome: tuple[float, bool, float | None]) -> bool:
    _, failed, slowness = outcome
    return failed or (slowness is not None and slowness >= TIMES)


def _failed(outcomes: Collection[tuple[float, bool, float | None]]) -> float:
    return sum(failed for _, failed, _ in outcomes) / len(outcomes)


def _slowness(outcomes: Collection[tuple[float, bool, float | None]]) -> float:
    """The median; 1, as expected, where too little is known."""
    known = [slowness for _, _, slowness in outcomes if slowness is not None]
    return statistics.median(known) if len(known) >= KNOWN_AFTER else 1.0
