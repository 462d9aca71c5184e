"""Which policies are compared, at which settings, and which of their outcomes are worth having.

A target in requests a second needs to know what a replica can do. It is estimated from the requests of the warm-up
alone, for every policy alike: nobody has seen the part that counts. (Fixed counts have: they are what an operator
would choose who knew the trace beforehand, and stay the hardest peer.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from engine.control.autoscale_state import TTFT_TARGET
from engine.control.autoscale_state import Policy as Rules
from engine.control.forecast import Forecast
from engine.control.windows import PRODUCT
from tests.bench.autoscaling.oracle import Oracle
from tests.bench.autoscaling.ours import Ours
from tests.bench.autoscaling.peers import Fixed, Knative, RayServe
from tests.bench.autoscaling.replica_model import Model
from tests.bench.autoscaling.simulator import Outcome, Policy, Simulation
from tests.bench.autoscaling.traces import Row, Trace

WARM_UP_S = 300.0
MOST = 100  # replicas, for every policy
BY_RATE = (0.5, 0.6, 0.7, 0.8, 0.9)  # of the requests a second that a replica can carry
AT_ONCE = (0.6, 0.9, 1.4, 2.1, 3.2)  # of its slots: the backlog counts, so more than all of them is a target too
AWAITED = (0.4, 0.6, 0.75, 0.9, 1.1)  # of a replica's time, for the oracle
DEFAULT_S, START_S, MOST_S = PRODUCT.defaults.down_s, 30.0, PRODUCT.max_down_s  # windows down; the second: one start
STABLE_S = (60.0, 120.0)  # Knative's default, and a calmer one
AROUND_S = (10.0, 30.0, 60.0)  # what the oracle takes the mean of, either side
TTFT_MS = 8000.0


class Side(StrEnum):
    PEER = "peer"
    OURS = "ours"
    FORESEEN = "with forecast"  # ours, with the forecast as floor
    ORACLE = "oracle"  # takes no part: it says what there is to gain
    PATIENT = "oracle with the window"  # neither does it: what there is to gain with the default window down


FORESIGHT = (Side.ORACLE, Side.PATIENT)


@dataclass(frozen=True)
class Entry:
    """One policy at one setting. Settings of a `family` differ in their target alone: what lies between two of them
    can be had by a target between theirs. "": of no family."""

    policy: Policy
    side: Side = Side.PEER
    family: str = ""


@dataclass(frozen=True)
class Result:
    entry: Entry
    outcome: Outcome


def capacity(model: Model, rows: Iterable[Row]) -> float:
    """Requests a second that one replica can carry with all slots busy, at the mean lengths of `rows`."""
    sizes = [(prompt, output) for _, prompt, output in rows]
    prompt, output = (float(sum(column)) / len(sizes) for column in zip(*sizes, strict=True))
    return 1 / model.work_s(prompt, output)


def entries(model: Model, trace: Trace, *, quick: bool) -> Iterator[Entry]:
    """Defaults first, then what each policy can be tuned to. Policies remember, so each is made for one run."""
    able = capacity(model, (row for row in trace.rows if row[0] < WARM_UP_S))
    mean = len(trace.rows) / trace.seconds / able
    peak = max(Counter(row[0] // 60 for row in trace.rows).values()) / 60 / able  # of the busiest minute
    for count in range(max(1, round(0.8 * mean)), round(1.5 * peak) + 1, 2 if quick else 1):
        yield Entry(Fixed(count))
    yield Entry(Knative(model.slots, least=1, name="Knative, as it comes"))
    yield Entry(RayServe(most=MOST, name="Ray Serve, as it comes"))
    yield Entry(Ours(_rules({}), name="firedeck, as it comes"), Side.OURS)
    yield Entry(Ours(_rules({TTFT_TARGET: TTFT_MS}), name=f"firedeck TTFT p99 {TTFT_MS / 1000:g}s"), Side.OURS)
    first, last = (1, 3) if quick else (0, None)
    for share in BY_RATE[first:last]:
        yield from _by_rate(able, share)
    for share in AT_ONCE[first:last]:
        yield from _at_once(model.slots, share)
    for share in AWAITED[first:last]:
        for around_s in AROUND_S:
            for side, down_s in zip(FORESIGHT, (0.0, DEFAULT_S), strict=True):
                yield Entry(Oracle(model, trace.rows, share, around_s, down_s), side, f"{side} {around_s}")


def _by_rate(able: float, share: float) -> Iterator[Entry]:
    target = share * able
    for stable_s in STABLE_S:
        name = f"Knative {target:.2f} req/s, stable {stable_s:.0f}s"
        policy = Knative(able, by_rate=True, utilization=share, stable_s=stable_s, least=1, name=name)
        yield Entry(policy, family=f"Knative rate {stable_s}")
    for down_s in (DEFAULT_S, START_S):
        rules = _rules({"requests_per_second": target}, down_s)
        yield from _ours(rules, f"{target:.2f} req/s, down {down_s:.0f}s", f"rate {down_s}")


def _at_once(slots: int, share: float) -> Iterator[Entry]:
    target = share * slots
    for down_s in (0.0, DEFAULT_S, MOST_S):
        name = f"Knative {target:.1f} at once, down delay {down_s:.0f}s"
        policy = Knative(target, utilization=1.0, down_delay_s=down_s, least=1, name=name)
        yield Entry(policy, family=f"Knative at once {down_s}")
    for down_s in (DEFAULT_S, START_S, MOST_S):
        name = f"Ray Serve {target:.1f} at once, down {down_s:.0f}s"
        yield Entry(RayServe(target, down_delay_s=down_s, most=MOST, name=name), family=f"Ray Serve {down_s}")
    for down_s, panic in ((DEFAULT_S, True), (MOST_S, True), (DEFAULT_S, False)):
        rules = replace(_rules({"concurrent_requests": target}, down_s), panic=panic)
        said = f"down {down_s:.0f}s" + ("" if panic else ", no panic")
        yield from _ours(rules, f"{target:.1f} at once, {said}", f"at once {said}")


def _ours(rules: Rules, named: str, family: str) -> Iterator[Entry]:
    yield Entry(Ours(rules, name=f"firedeck {named}"), Side.OURS, family)
    yield Entry(Ours(rules, name=f"firedeck {named}, forecast", forecast=Forecast()), Side.FORESEEN, family)


def _rules(targets: dict[str, float], down_s: float = PRODUCT.defaults.down_s) -> Rules:
    windows = PRODUCT.defaults
    return Rules(1, MOST, windows.up_s, down_s, windows.zero_s, targets, slots_per_replica=8)


def run(model: Model, trace: Trace, entry: Entry) -> Result:
    return Result(entry, Simulation(model, entry.policy, trace.rows, warm_up_s=WARM_UP_S).run())


def worse(a: Outcome, b: Outcome) -> bool:
    """Whether `b` is nowhere worse than `a` (tail, cost, refusals) and somewhere better."""
    pairs = [(a.ttft_p99_s, b.ttft_p99_s), (a.replica_s, b.replica_s), (a.refused, b.refused)]
    return all(y <= x for x, y in pairs) and any(y < x for x, y in pairs)


def front(results: Iterable[Result]) -> list[Result]:
    """Those that no other beats: the Pareto front. An oracle neither has a place on it nor takes one."""
    real = [r for r in results if r.entry.side not in FORESIGHT]
    return [r for r in real if not any(worse(r.outcome, other.outcome) for other in real)]


@dataclass(frozen=True)
class Match:
    """A peer that no other peer beats, and the cost of each side with as good a tail and as few refusals."""

    peer: Outcome
    replica_s: dict[Side, float]  # without those that have no such setting

    def ratio(self, side: Side) -> float | None:
        """Of replica-seconds, to the peer's."""
        return self.replica_s[side] / self.peer.replica_s if side in self.replica_s else None


def matches(results: Sequence[Result]) -> list[Match]:
    """At equal tail: every peer of the peers' own front, the best tail first. Peers that refuse requests are left out
    where others do not: a tail of those that were let in says nothing of the rest."""
    peers = [r.outcome for r in front(r for r in results if r.entry.side == Side.PEER)]
    least = min(p.refused for p in peers)
    found = []
    for peer in sorted((p for p in peers if p.refused == least), key=lambda p: p.ttft_p99_s):
        costs = {side: cost(results, side, peer) for side in Side}
        found.append(Match(peer, {side: c for side, c in costs.items() if c is not None}))
    return found


def cost(results: Sequence[Result], side: Side, peer: Outcome) -> float | None:
    """The least replica-seconds at which `side` has a tail as good as `peer` and as few refusals.

    A target can be set to any figure: between neighbouring settings of a family cost is taken in proportion to tail.
    """
    families: dict[str, list[Outcome]] = {}
    for r in results:
        if r.entry.side == side and r.outcome.refused <= peer.refused:
            families.setdefault(r.entry.family or r.outcome.policy, []).append(r.outcome)
    found = [c for family in families.values() for c in _costs(family, peer.ttft_p99_s)]
    return min(found, default=None)


def _costs(family: Sequence[Outcome], p99_s: float) -> Iterator[float]:
    """Of the settings whose tail is no longer than `p99_s`, and where a pair of neighbours has it between them."""
    ordered = sorted(family, key=lambda o: o.ttft_p99_s)
    yield from (o.replica_s for o in ordered if o.ttft_p99_s <= p99_s)
    for a, b in pairwise(ordered):
        if a.ttft_p99_s < p99_s < b.ttft_p99_s:
            part = (p99_s - a.ttft_p99_s) / (b.ttft_p99_s - a.ttft_p99_s)
            yield a.replica_s + part * (b.replica_s - a.replica_s)
