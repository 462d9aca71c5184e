"""The spikes of a recording, told beside its pictures: a curve of hours takes one picture a step, and what lies between
two steps would be lost.

    {"peaks": {deployment: {series: [[T, value], ...]}}}

A line stands before the first picture of each minute, and tells what happened since the line before it: of every few
seconds the highest value of each series that changed in them, of ready replicas the lowest, and when. T is in seconds
since 1970. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TOLD_EVERY_S = 60
APART_S = 5.0  # what lies closer together is told by one value: the step of the curves of an hour
_STATS = {
    "ttft_p50_ms": "ttftP50Ms", "ttft_p95_ms": "ttftP95Ms", "ttft_p99_ms": "ttftP99Ms",
    "tokens_per_second": "tokensPerSecond", "requests_per_second": "requestsPerSecond", "queue": "queue",
    "concurrency": "running",
}  # fmt: skip
LOWEST = frozenset({"ready"})  # where the dips are what matters
Series = dict[str, list[float | None]]
Told = dict[str, list[list[float]]]


def sample(status: Mapping[str, Any]) -> dict[str, float | None]:
    """A deployment's state, as a recording has it, as one value of each series; None for what it does not tell."""
    stats, deployment = status["stats"], status["deployment"]
    found: dict[str, float | None] = {name: stats.get(key) for name, key in _STATS.items()}
    found["ready"] = (deployment.get("replicaStats") or {}).get("readyReplicaCount", deployment.get("replicaCount"))
    found["desired"] = deployment.get("desiredReplicaCount")
    return found


def _beyond(series: str, value: float, other: float | None) -> bool:
    return other is None or (value < other if series in LOWEST else value > other)


def _keep(kept: dict[float, tuple[float, float]], series: str, at: float, value: float | None) -> None:
    known = kept.get(at // APART_S)
    if value is not None and (known is None or _beyond(series, value, known[1])):
        kept[at // APART_S] = (at, value)


class Peaks:
    """Gathers them while pictures are written."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, dict[float, tuple[float, float]]]] = {}

    def see(self, name: str, was_at: float, was: Mapping[str, Any] | None, at: float, now: Mapping[str, Any]) -> None:
        """This deployment became another at `at`, since the picture of `was_at`; `was` is None for one that was not
        there."""
        former = sample(was) if was is not None else {}
        for series, value in sample(now).items():
            if value != former.get(series):
                kept = self._found.setdefault(name, {}).setdefault(series, {})
                _keep(kept, series, was_at, former.get(series))
                _keep(kept, series, at, value)

    def taken(self) -> dict[str, Told]:
        """All of them; from now on new ones are gathered."""
        found = {
            name: {series: [[at, value] for at, value in kept.values()] for series, kept in told.items() if kept}
            for name, told in self._found.items()
        }
        self._found = {}
        return found


def lift(curves: Series, told: Mapping[str, Any], first: float, step_s: float, end: float) -> None:
    """Put them into these curves, whose values stand in the middle of steps: the first at the instant `first`. What
    came after `end` is left out."""
    for series, found in told.items():
        values = curves.get(series, [])
        for at, value in found:
            slot = math.ceil((at - first) / step_s - 0.5)
            if 0 <= slot < len(values) and at <= end and _beyond(series, value, values[slot]):
                values[slot] = value
