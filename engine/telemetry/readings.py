"""What a deployment has counted, read every half minute, so that rates over the last minutes can be told.

    Meter, ReplicaFigures -> read() -> Reading -> Readings.over(seconds) -> Minutes -> account metrics, alerts

Readings are cumulative, as Prometheus' counters and histograms are; `Minutes` is the difference of two, as its `rate`
and `histogram_quantile` would see it. Bounded: ten minutes of readings, of about 150 numbers each. What was not counted
between two readings is unknown and not zero; what nobody had counted before the first one counts from zero. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from engine.telemetry.meter import Meter
from engine.telemetry.metrics import Buckets
from engine.telemetry.replica_figures import ReplicaFigures
from engine.telemetry.replica_metrics import COUNTERS, HISTOGRAMS

READ_EVERY_S = 30.0
LONGEST_S = 600.0  # the longest time that `over` is asked for
_KEPT = int(LONGEST_S / READ_EVERY_S) + 1
_EARLY_S = 1.0  # a reading that came so much too early counts as on time

REQUESTS, FAILED, ENDED = "requests", "requests_failed", "requests_ended"
PROMPT_TOKENS, CACHED_TOKENS = "prompt_tokens", "cached_prompt_tokens"
DRAFTED, ACCEPTED = "drafted_tokens", "accepted_tokens"
TTFT, OVERALL = "ttft_seconds", "request_duration_seconds"


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals at one instant (monotonic seconds). Names of what replicas report are those of `replica_metrics`, with
    `replica_` before them; `codes` are answers by HTTP status."""

    at: float
    totals: Mapping[str, float]
    codes: Mapping[str, float]
    histograms: Mapping[str, Buckets]


def read(at: float, meter: Meter, figures: ReplicaFigures) -> Reading:
    """What a deployment has counted until now."""
    counted = figures.totals()
    totals: dict[str, float] = {
        REQUESTS: meter.requests, FAILED: meter.errors, ENDED: sum(meter.codes.values()),
        PROMPT_TOKENS: meter.prompt_tokens, CACHED_TOKENS: meter.cached_tokens,
    }  # fmt: skip
    for series in COUNTERS:
        if (total := counted.get(("counter", series.figure))) is not None:
            totals[f"replica_{series.name}"] = total
    for name, count in ((DRAFTED, "drafted"), (ACCEPTED, "accepted")):
        totals[name] = sum(figures.by_source(count).values())
    histograms = {TTFT: meter.ttft_buckets(), OVERALL: meter.duration_buckets()}
    for series in HISTOGRAMS:
        if buckets := figures.cumulative(series.figure):
            histograms[f"replica_{series.name}"] = tuple(buckets)
    return Reading(at, totals, dict(meter.codes), histograms)


@dataclass(frozen=True, slots=True)
class Minutes:
    """What was counted between two readings, `seconds` apart."""

    seconds: float
    totals: Mapping[str, float]
    codes: Mapping[str, float]
    histograms: Mapping[str, Buckets]

    def rate(self, name: str) -> float:
        """Per second."""
        return self.totals.get(name, 0.0) / self.seconds

    def share(self, part: str, whole: str) -> float | None:
        """One total by another; None of nothing."""
        counted = self.totals.get(whole, 0.0)
        return self.totals.get(part, 0.0) / counted if counted else None

    def quantile(self, name: str, q: float) -> float | None:
        """As Prometheus' `histogram_quantile`: linear within a bucket, the last finite bound above it; None of
        nothing."""
        buckets = self.histograms.get(name, ())
        if not buckets or not buckets[-1][1]:
            return None
        rank = q * buckets[-1][1]
        for (low, below), (high, count) in pairwise(((0.0, 0.0), *buckets)):
            if count >= rank and count > below:
                return low if high == float("inf") else low + (high - low) * (rank - below) / (count - below)
        return None


class Readings:
    """The newest of one deployment, oldest first."""

    def __init__(self, most: int = _KEPT) -> None:
        self._kept: deque[Reading] = deque(maxlen=most)

    def add(self, reading: Reading) -> None:
        self._kept.append(reading)

    def over(self, seconds: float) -> Minutes | None:
        """The last `seconds` before the newest reading, less where there are none so old; None before the second."""
        if not self._kept or self._kept[-1].at <= self._kept[0].at:
            return None
        *former, new = self._kept
        old = next((one for one in reversed(former) if new.at - one.at >= seconds - _EARLY_S), former[0])
        return Minutes(
            new.at - old.at,
            _less(new.totals, old.totals),
            _less(new.codes, old.codes),
            {name: _fewer(buckets, old.histograms.get(name, ())) for name, buckets in new.histograms.items()},
        )


def _less(new: Mapping[str, float], old: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0.0, value - old.get(name, 0.0)) for name, value in new.items()}


def _fewer(new: Buckets, old: Buckets) -> Buckets:
    before = dict(old)
    return tuple((bound, max(0.0, count - before.get(bound, 0.0))) for bound, count in new)
