"""What the replicas of one deployment report, as totals that only grow and gauges of those that live. No I/O.

A replica counts from 0 since its process started. Here only what it counted since the last time is added, so that
what a dead one had done stays in the totals, and one that begins at 0 takes nothing back. Reports are added up when
somebody reads the totals or the replica goes: they come twice a second, and are read four times a minute. A replica of
another version, taken over, may report what cannot be read here: what it counts is then left out from there on.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

Key = tuple[str | int, ...]  # ("counter", name), ("sum", histogram), ("bucket", histogram, i), (count, source[, i])
Body = Mapping[str, Any]  # an answer of a replica's `/stats`

PER_SOURCE = ("drafts", "drafted", "accepted")
PER_POSITION = ("drafted_at", "accepted_at")


@dataclass(slots=True)
class ReplicaFigures:
    """`bounds` are the upper bounds of each histogram's buckets; `living` the last report by id."""

    bounds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    living: dict[str, Body] = field(default_factory=dict)
    _totals: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    _added: dict[str, tuple[Body | None, dict[Key, float]]] = field(default_factory=dict)  # of each living replica
    _unreadable: set[str] = field(default_factory=set)  # the living ones whose counts are left out
    _unread: dict[str, None] = field(default_factory=dict)  # the living ones with a report not added up yet, in order

    def take(self, replica: str, body: Body, *, from_birth: bool) -> None:
        """Take over a report. `from_birth`: this engine started the replica, so that its first report is all new;
        that of a replica that was taken over is the past, which an earlier engine has counted."""
        if "counters" not in body:
            return
        if replica not in self._added:
            self._added[replica] = (None, {}) if from_birth else (body, self._counts(replica, body))
        self.living[replica] = body
        self._unread[replica] = None

    def gone(self, replica: str) -> None:
        """It exists no more: its counts stay, its gauges go."""
        if replica in self.living:
            self._add(replica)
            self._unread.pop(replica, None)
            del self.living[replica], self._added[replica]
            self._unreadable.discard(replica)

    def totals(self) -> Mapping[Key, float]:
        """All that was ever counted, by key."""
        for replica in self._unread:
            self._add(replica)
        self._unread.clear()
        return self._totals

    def gauges(self, *path: str) -> list[float]:
        """One figure of each living replica that reports it."""
        return [value for body in self.living.values() if (value := _at(body, path)) is not None]

    def by_source(self, count: str) -> dict[Key, float]:
        """The totals below one of PER_SOURCE or PER_POSITION, by source or by source and position."""
        return {key[1:]: total for key, total in self.totals().items() if key[0] == count}

    def cumulative(self, histogram: str) -> list[tuple[float, float]]:
        """(upper bound, count at most that) in Prometheus' sense, the last bound being infinity; [] if unknown."""
        whole: list[tuple[float, float]] = []
        count, totals = 0.0, self.totals()
        for i, bound in enumerate((*self.bounds[histogram], float("inf")) if histogram in self.bounds else ()):
            count += totals.get(("bucket", histogram, i), 0.0)
            whole.append((bound, count))
        return whole

    def _add(self, replica: str) -> None:
        """What its last report has more than the one that was added last."""
        body, (former, before) = self.living[replica], self._added[replica]
        if body is former:
            return
        now = self._counts(replica, body)
        for key, value in now.items():
            self._totals[key] += max(0.0, value - before.get(key, 0.0))
        self._added[replica] = (body, now)

    def _counts(self, replica: str, body: Body) -> dict[Key, float]:
        """What it counted in its life; nothing from the first report on that cannot be read."""
        if replica in self._unreadable:
            return {}
        try:
            return {key: float(value) for key, value in self._read(body)}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("replica %s: what it counts cannot be read (%r) and is left out", replica, error)
            self._unreadable.add(replica)
            return {}

    def _read(self, body: Body) -> Iterator[tuple[Key, float]]:
        for name, value in body["counters"].items():
            yield ("counter", name), value
        for name, histogram in body.get("histograms", {}).items():
            bounds = tuple(histogram["bounds"])
            if self.bounds.setdefault(name, bounds) != bounds:
                continue  # a replica of another version: buckets of other bounds cannot be added up
            yield ("sum", name), histogram["sum"]
            yield from ((("bucket", name, i), count) for i, count in enumerate(histogram["counts"]) if count)
        for source, drafts in body.get("speculation", {}).items():
            yield from (((count, source), drafts[count]) for count in PER_SOURCE)
            for count in PER_POSITION:
                yield from (((count, source, i), tokens) for i, tokens in enumerate(drafts[count]) if tokens)


def _at(body: Body, path: tuple[str, ...]) -> float | None:
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None
