"""`--only autoscale`: the tables, and what they say of the two aims. Everything in them is simulated."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from client.cli.output import table
from tests.bench.autoscaling.contest import (
    DEFAULT_S,
    FORESIGHT,
    WARM_UP_S,
    Match,
    Result,
    Side,
    entries,
    front,
    matches,
    run,
)
from tests.bench.autoscaling.replica_model import MEASURED, Model, costs_of
from tests.bench.autoscaling.traces import FITTED, Trace, load

HEADER = ("POLICY", "TTFT p50", "p99", "REPLICA-SECONDS", "COLD STARTS", "REFUSED", "FRONT")
EQUAL_HEADER = ("PEER", "p99", "REPLICA-SECONDS", "STARTS", "FIREDECK", "WITH FORECAST", "ORACLE", "WITH THE WINDOW")
COMPARED = (Side.OURS, Side.FORESEEN, *FORESIGHT)
START_S = 30.0  # from placing a replica to its first answer: the weights of a mid-sized model from a local disk
AIM = 0.9  # of the replica-seconds of the best peer, at a tail as good
SEED = 1
QUICK_S = 1500.0


def main(folder: Path | None, costs: Path | None, start_s: float, *, quick: bool) -> None:
    """Print a table a trace. `folder` may hold the published traces, `costs` is a `costs.json` of replicas."""
    model = Model.of(costs_of(costs) if costs else MEASURED, start_s)
    for name in list(FITTED)[: 1 if quick else None]:
        print(_told(model, _cut(load(name, folder, SEED), quick), quick=quick), flush=True)


def _cut(trace: Trace, quick: bool) -> Trace:
    return Trace(trace.name, [row for row in trace.rows if row[0] < QUICK_S], trace.made) if quick else trace


def _told(model: Model, trace: Trace, *, quick: bool) -> str:
    results = []
    for entry in entries(model, trace, quick=quick):
        print(f"replaying {trace.name}: {entry.policy.name} ...", file=sys.stderr, flush=True)
        results.append(run(model, trace, entry))
    best = front(results)
    return "\n".join(
        [
            f"\nSIMULATED: {_named(trace)}; {model.slots} slots, {model.start_s:g} s to start, the first "
            f"{WARM_UP_S:g} s do not count",
            table(HEADER, [_cells(result, result in best) for result in results]),
            *_said(results, best),
        ]
    )


def _named(trace: Trace) -> str:
    origin = f"generated, seed {SEED}" if trace.made else "published trace"
    prompt, output = (statistics.fmean(row[column] for row in trace.rows) for column in (1, 2))
    return (
        f"{trace.name} ({origin}), {len(trace.rows)} requests in {trace.seconds / 60:.0f} min, "
        f"{prompt:.0f} prompt and {output:.0f} output tokens on average"
    )


def _cells(result: Result, best: bool) -> tuple[str, ...]:
    o = result.outcome
    return (
        o.policy, f"{o.ttft_p50_s:.2f}s", f"{o.ttft_p99_s:.2f}s", f"{o.replica_s:,.0f}", str(o.starts), str(o.refused),
        "knows the future" if result.entry.side in FORESIGHT else "*" if best else "",
    )  # fmt: skip


def _said(results: Sequence[Result], best: Sequence[Result]) -> list[str]:
    mine = sum(r.entry.side != Side.PEER for r in best)
    found = matches(results)
    return [
        f"{mine} of the {len(best)} settings on the Pareto front (p99, replica-seconds, refused) are firedeck's",
        "\nReplica-seconds at equal p99, to those of each peer that no other peer beats (between two targets in "
        "proportion);\nthe oracle knows the load before it comes: its ratio shows what there is to gain (a guide, no "
        f"proven bound), and what of it is left with a scale-down window of {DEFAULT_S:g} s",
        table(EQUAL_HEADER, [_cells_at_equal_tail(match) for match in found]),
        *(f"{side}: {_summed([match.ratio(side) for match in found])}" for side in COMPARED),
        f"aim: at most {AIM}x with the forecast",
    ]


def _cells_at_equal_tail(match: Match) -> tuple[str, ...]:
    peer = match.peer
    ratios = [match.ratio(side) for side in COMPARED]
    return (
        peer.policy, f"{peer.ttft_p99_s:.2f}s", f"{peer.replica_s:,.0f}", str(peer.starts),
        *("" if ratio is None else f"{ratio:.2f}x" for ratio in ratios),
    )  # fmt: skip


def _summed(found: Sequence[float | None]) -> str:
    ratios = [ratio for ratio in found if ratio is not None]
    if not ratios:
        return f"none of {len(found)} peers matched in tail"
    middle, met = statistics.median(ratios), sum(ratio <= AIM for ratio in ratios)
    return (
        f"{min(ratios):.2f}x to {max(ratios):.2f}x the replica-seconds, {middle:.2f}x in the middle; "
        f"{met} of {len(found)} at most {AIM}x, {len(found) - len(ratios)} without a match"
    )
