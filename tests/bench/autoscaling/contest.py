"""Which policies are compared, at which settings, and which of their outcomes are worth having.

A target in requests a second needs to know what a replica can do. It is estimated from the requests of the warm-up
alone, for every policy alike: nobody has seen the part that counts. (Fixed counts have: they are what an operator
would choose who knew the trace beforehand, and stay the hardest peer.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.control.autoscale_state import TTFT_TARGET
from engine.control.autoscale_state import Policy as Rules
from engine.control.forecast import Forecast
from engine.control.windows import PRODUCT
from tests.bench.autoscaling.ours import Ours
from tests.bench.autoscaling.peers import Fixed, Knative, RayServe
from tests.bench.autoscaling.replica_model import Model
from tests.bench.autoscaling.simulator import Outcome, Policy, Simulation
from tests.bench.autoscaling.traces import Row, Trace

WARM_UP_S = 300.0
MOST = 100  # replicas, for every policy
SHARES = (0.6, 0.7, 0.8, 0.9)  # of what a replica can do
DOWN_S = (PRODUCT.defaults.down_s, 60.0)  # the second is Knative's stable window
TTFT_MS = 8000.0


@dataclass(frozen=True)
class Entry:
    """One policy at one setting. `ours`: this project's; `forecasts`: with the forecast as floor."""

    policy: Policy
    ours: bool = False
    forecasts: bool = False


@dataclass(frozen=True)
class Result:
    entry: Entry
    outcome: Outcome


def capacity(model: Model, rows: Iterable[Row]) -> float:
    """Requests a second that one replica can carry with all slots busy, at the mean lengths of `rows`."""
    sizes = [(prompt, output) for _, prompt, output in rows]
    prompt, output = (float(sum(column)) / len(sizes) for column in zip(*sizes, strict=True))
    return 1 / (prompt * model.prefill_token_s + output * model.round_s[-1] / model.slots)


def entries(model: Model, trace: Trace, *, quick: bool) -> Iterator[Entry]:
    """Defaults first, then what each policy can be tuned to. Policies remember, so each is made for one run."""
    able = capacity(model, (row for row in trace.rows if row[0] < WARM_UP_S))
    mean = len(trace.rows) / trace.seconds / able
    peak = max(Counter(row[0] // 60 for row in trace.rows).values()) / 60 / able  # of the busiest minute
    for count in range(max(1, round(0.8 * mean)), round(1.5 * peak) + 1, 2 if quick else 1):
        yield Entry(Fixed(count))
    yield Entry(Knative(model.slots, least=1, name="Knative, as it comes"))
    yield Entry(RayServe(most=MOST, name="Ray Serve, as it comes"))
    yield Entry(Ours(_rules({}), name="firedeck, as it comes"), ours=True)
    for share in SHARES[1:2] if quick else SHARES:
        yield from _tuned(model, able, share)
    yield Entry(Ours(_rules({TTFT_TARGET: TTFT_MS}), name=f"firedeck TTFT p99 {TTFT_MS / 1000:g}s"), ours=True)


def _tuned(model: Model, able: float, share: float) -> Iterator[Entry]:
    rate = share * able
    yield Entry(Knative(model.slots, utilization=share, least=1, name=f"Knative {share:.0%} of slots"))
    yield Entry(Knative(able, by_rate=True, utilization=share, least=1, name=f"Knative {rate:.2f} req/s"))
    for down_s in DOWN_S:
        ongoing = share * model.slots
        named = f"down {down_s:.0f}s"
        yield Entry(RayServe(ongoing, down_delay_s=down_s, most=MOST, name=f"Ray Serve {ongoing:.1f} ongoing, {named}"))
        rules = _rules({"requests_per_second": rate}, down_s)
        yield Entry(Ours(rules, name=f"firedeck {rate:.2f} req/s, {named}"), ours=True)
        name = f"firedeck {rate:.2f} req/s, {named}, forecast"
        yield Entry(Ours(rules, name=name, forecast=Forecast()), ours=True, forecasts=True)


def _rules(targets: dict[str, float], down_s: float = PRODUCT.defaults.down_s) -> Rules:
    windows = PRODUCT.defaults
    return Rules(1, MOST, windows.up_s, down_s, windows.zero_s, targets, slots_per_replica=8)


def run(model: Model, trace: Trace, entry: Entry) -> Result:
    return Result(entry, Simulation(model, entry.policy, trace.rows, warm_up_s=WARM_UP_S).run())


def worse(a: Outcome, b: Outcome) -> bool:
    """Whether `b` is nowhere worse than `a` (tail, cost, refusals) and somewhere better."""
    pairs = [(a.ttft_p99_s, b.ttft_p99_s), (a.replica_s, b.replica_s), (a.refused, b.refused)]
    return all(y <= x for x, y in pairs) and any(y < x for x, y in pairs)


def front(results: Sequence[Result]) -> list[Result]:
    """Those that no other beats: the Pareto front."""
    return [r for r in results if not any(worse(r.outcome, other.outcome) for other in results)]


@dataclass(frozen=True)
class Match:
    """A peer that no other peer beats, and the cheapest of ours with as good a tail and as few refusals, if any."""

    peer: Result
    ours: Result | None

    @property
    def ratio(self) -> float | None:
        """Of replica-seconds, ours to the peer's."""
        return self.ours.outcome.replica_s / self.peer.outcome.replica_s if self.ours else None


def matches(results: Sequence[Result], *, forecasts: bool) -> list[Match]:
    """At equal tail: every peer of the peers' own front, the best tail first. Peers that refuse requests are left out
    where others do not: a tail of those that were let in says nothing of the rest."""
    peers = front([r for r in results if not r.entry.ours])
    least = min(r.outcome.refused for r in peers)
    mine = [r for r in results if r.entry.ours and r.entry.forecasts is forecasts]
    pairs = [(p, _cheapest(mine, p.outcome)) for p in peers if p.outcome.refused == least]
    return [Match(peer, ours) for peer, ours in sorted(pairs, key=lambda pair: pair[0].outcome.ttft_p99_s)]


def _cheapest(mine: Sequence[Result], peer: Outcome) -> Result | None:
    able = [r for r in mine if r.outcome.ttft_p99_s <= peer.ttft_p99_s and r.outcome.refused <= peer.refused]
    return min(able, key=lambda r: r.outcome.replica_s, default=None)
