"""Load targets: what each of them makes of the load, in replicas. Pure.

The product's targets are figures that one replica should carry: mean / target, rounded up. The TTFT target is this
project's own and another kind: time to first token is no load, so it says how wrong the present count is. It wants what
is ready in proportion to the 99th percentile (or to the wait of the request held longest) over the target, as HPA does
with its metrics; at most twice as many, and at least a slot for each request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.control.autoscale_state import TARGET_METRICS, TTFT_TARGET, Observed, Policy
from engine.control.load import LoadHistory

TTFT_MOST_UP = 2.0  # a queue's delay grows without bound near saturation: no more than twice what is ready at a time
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class TargetReading:
    """One load target: what was observed, what one replica should carry (same unit), the replicas that makes."""

    name: str
    observed: float | None
    target: float
    wanted: int | None


def read_targets(policy: Policy, history: LoadHistory, observed: Observed, now: float) -> tuple[TargetReading, ...]:
    """Every target against the mean of its metric over `policy.average_s`."""
    readings = []
    for name, target in policy.per_replica.items():
        mean = history.mean(TARGET_METRICS[name], policy.average_s, now)
        wanted = None if mean is None else math.ceil(mean / target - _ROUNDING)
        readings.append(TargetReading(name, mean, target, wanted))
    if policy.ttft_p99_ms is not None:
        busy = history.mean("concurrency", policy.average_s, now)
        wanted = None if busy is None else _for_ttft(policy, observed, busy, policy.ttft_p99_ms)
        readings.append(TargetReading(TTFT_TARGET, observed.ttft_p99_ms, policy.ttft_p99_ms, wanted))
    return tuple(readings)


def demand(policy: Policy, history: LoadHistory, seconds: float, now: float) -> float | None:
    """The mean load of the last `seconds` in replicas' worth, not rounded; None when nothing is known of it."""
    loads = [(history.mean(TARGET_METRICS[name], seconds, now), t) for name, t in policy.per_replica.items()]
    if policy.ttft_p99_ms is not None:
        loads.append((history.mean("concurrency", seconds, now), float(policy.slots_per_replica)))
    return max((mean / target for mean, target in loads if mean is not None), default=None)


def _for_ttft(policy: Policy, observed: Observed, busy: float, target_ms: float) -> int:
    """Replicas for `busy` requests at once, so that first tokens come within `target_ms`."""
    a_slot_each = math.ceil(busy / policy.slots_per_replica - _ROUNDING)
    if observed.ttft_p99_ms is None and not observed.held:
        # Nobody has waited for a first token of late: either nobody asks, or all are in the middle of their answers.
        return max(a_slot_each, observed.ready) if busy > 0 else 0
    ratio = max(observed.ttft_p99_ms or 0.0, 1000 * observed.oldest_held_s) / target_ms
    return max(a_slot_each, math.ceil(observed.ready * min(ratio, TTFT_MOST_UP) - _ROUNDING))
