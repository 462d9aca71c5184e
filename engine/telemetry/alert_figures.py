"""The figures that `engine.control.alerts` judges, from our own readings over the times that its PromQL has. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from engine.telemetry import readings
from engine.telemetry.readings import Minutes, Readings

SHORT_S, LONG_S = 300.0, 600.0  # [5m] and [10m]
_COMPUTING = ("replica_decode_seconds", "replica_prefill_seconds")


@dataclass(frozen=True, slots=True)
class Beside:
    """What no counter tells: replicas that are ready, now and on average over SHORT_S, and the cost of the last day by
    that of the same day a week before."""

    ready: int
    ready_mean: float | None
    cost_growth: float | None


def figures(read: Readings, beside: Beside) -> dict[str, float | None]:
    """Of one deployment; None where nothing is known."""
    short, long = read.over(SHORT_S), read.over(LONG_S)
    return {
        "ttft_p99_s": short.quantile(readings.TTFT, 0.99) if short else None,
        "utilisation": _utilisation(short, beside) if short else None,
        "error_rate": short.share(readings.FAILED, readings.ENDED) if short else None,
        "cost_growth": beside.cost_growth,
        "acceptance": long.share(readings.ACCEPTED, readings.DRAFTED) if long else None,
    }


def _utilisation(short: Minutes, beside: Beside) -> float | None:
    """Nothing to consolidate where there are not several, and nothing known of replicas that report no times."""
    if beside.ready <= 1 or not beside.ready_mean or not short.totals.keys() >= set(_COMPUTING):
        return None
    return sum(short.rate(name) for name in _COMPUTING) / beside.ready_mean
