"""How many replicas a load needs: find what one carries within the objective, then divide. Pure.

Method: open-loop probes at rates between one that holds and one that fails, halving the ratio of the two until they
are within a tolerance. A rate holds when the TTFT percentile meets the objective and nearly nothing fails; the
waiting of an open loop makes this a statement about queueing, which a closed loop hides. Replicas = ceil(target
rate / highest rate that held). A router that knows the load of its replicas does at least as well as this, because
they then share one queue; a prompt cache that is spread over several replicas may do worse. A rate that held above
one that failed is not believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FAILURES_ALLOWED = 0.01
TOLERANCE = 1.1  # the search ends when failing rate / holding rate is below this
START_SHARE = 0.7  # of the closed loop's throughput
GROWTH = 1.5
LEAST_SHARE = 1 / 64  # of the first probe: below it the objective cannot be met at any useful rate
MOST_PROBES = 12
FEW_ANSWERS = 20  # below it the 95th percentile is hardly more than the worst request


@dataclass(frozen=True, slots=True)
class Probe:
    """One open-loop run: `ttft_p95_s` is None when no request was answered."""

    rate: float
    requests: int
    succeeded: int
    ttft_p95_s: float | None

    @property
    def weak(self) -> bool:
        return self.succeeded < FEW_ANSWERS

    def holds(self, ttft_s: float) -> bool:
        answered = self.requests - self.succeeded <= FAILURES_ALLOWED * self.requests
        return answered and self.ttft_p95_s is not None and self.ttft_p95_s <= ttft_s


@dataclass(frozen=True, slots=True)
class Sizing:
    """`replicas` is None when no rate held. `capacity` is requests a second of one replica; reasons for people."""

    replicas: int | None
    capacity: float | None
    headroom: float | None
    reasons: tuple[str, ...]


def next_rate(probes: Sequence[Probe], ttft_s: float, start: float) -> float | None:
    """The rate to probe next, or None when enough is known."""
    if not probes:
        return start
    good, bad = _bracket(probes, ttft_s)
    if len(probes) >= MOST_PROBES:
        return None
    if bad is None:
        return (good or start) * GROWTH
    if good is None:
        lower = bad / 2
        return lower if lower >= start * LEAST_SHARE else None
    return math.sqrt(good * bad) if bad / good > TOLERANCE else None


def size(target: float, probes: Sequence[Probe], ttft_s: float, measured_replicas: int = 1) -> Sizing:
    """Replicas for `target` requests a second, from probes of a deployment that has `measured_replicas`."""
    good, bad = _bracket(probes, ttft_s)
    reasons = [*(_told(probe, ttft_s) for probe in probes), *_doubts(probes, ttft_s, bad)]
    if good is None:
        reasons.append(_nothing_held(probes, ttft_s, bad))
        return Sizing(None, None, None, tuple(reasons))
    each = good / measured_replicas
    upper = "no higher rate was probed" if bad is None else f"{bad:.3g} failed"
    among = "" if measured_replicas == 1 else f" = {good:.3g} by {measured_replicas} replicas"
    replicas = max(1, math.ceil(target / each - 1e-9))
    headroom = replicas * each / target - 1
    reasons.append(f"one replica carries {each:.3g} req/s{among} ({upper})")
    reasons.append(f"ceil({target:.3g} / {each:.3g}) = {replicas}")
    reasons.append(f"margin: {replicas} carry {replicas * each:.3g} req/s, {headroom:.0%} above the target")
    return Sizing(replicas, each, headroom, tuple(reasons))


def _bracket(probes: Sequence[Probe], ttft_s: float) -> tuple[float | None, float | None]:
    """The highest rate that held below the lowest that failed, and that one."""
    bad = min((p.rate for p in probes if not p.holds(ttft_s)), default=None)
    good = [p.rate for p in probes if p.holds(ttft_s) and (bad is None or p.rate < bad)]
    return max(good, default=None), bad


def _told(probe: Probe, ttft_s: float) -> str:
    ttft = "no answer" if probe.ttft_p95_s is None else f"TTFT p95 {probe.ttft_p95_s * 1000:.0f} ms"
    failed = probe.requests - probe.succeeded
    few = f" (weak: {probe.succeeded} answered, fewer than {FEW_ANSWERS})" if probe.weak else ""
    verdict = "holds" if probe.holds(ttft_s) else "fails"
    return f"{probe.rate:.3g} req/s: {verdict}: {ttft}, {failed} of {probe.requests} requests failed{few}"


def _doubts(probes: Sequence[Probe], ttft_s: float, bad: float | None) -> list[str]:
    """Why the probes should not be trusted too far."""
    doubts = []
    above = [p.rate for p in probes if bad is not None and p.rate >= bad and p.holds(ttft_s)]
    if above:
        doubts.append(f"not monotonic: {bad:.3g} req/s failed but {max(above):.3g} held: the lower is used")
    weak = sum(p.weak for p in probes)
    if weak:
        doubts.append(f"{weak} of {len(probes)} probes are weak: a longer --duration gives a firmer answer")
    return doubts


def _nothing_held(probes: Sequence[Probe], ttft_s: float, bad: float | None) -> str:
    limit = f"TTFT p95 within {ttft_s * 1000:.0f} ms"
    if not any(p.succeeded for p in probes):
        return f"no probe had an answer: nothing is known about {limit}"
    if any(p.holds(ttft_s) for p in probes):
        return f"no rate below {bad:.3g} req/s kept {limit}: measure again"
    return f"no rate kept {limit}: faster replicas are needed, not more"
