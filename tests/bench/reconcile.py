"""One look at a whole fleet: 1,000 deployments with 10 replicas each, without a single process.

`decide`: the pure function alone. `reconcile`: a pass over all replicas, from what is seen of them to what is to be
done. `whole look`: what a keeper does twice a second with that many replicas: sample,
autoscale, decide, show, record; `at rest` nobody asks anything, `at work` each replica has two requests and makes
tokens. The least, the median and the worst of several looks, in time of one core, which a busy machine does not
stretch (much). Reports of replicas are made between the looks, and are not timed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from client import collector
from client.types import AutoscalingPolicy, Deployment
from engine.clock import FakeClock
from engine.control.backoff import Backoff
from engine.control.reconcile import Declared, Observed, Stage, steps
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.fleet.rooms import Rooms
from engine.fleet.template import template_of
from engine.library import Library
from engine.placement.port import Placed
from engine.store.store import Store

DEPLOYMENTS, REPLICAS = 1000, 10
PASSES = 9
WARM_UP = 32  # looks: what is new has been written down, and the windows of the autoscaler are full
AIM_MS = 100.0
TOKENS = 10  # of a replica at work, between two looks
POLICY = AutoscalingPolicy(
    scale_up_window=timedelta(seconds=30), scale_down_window=timedelta(minutes=10),
    scale_to_zero_window=timedelta(hours=1), load_targets={"default": 0.8},
)  # fmt: skip


class Steady:
    """A driver whose processes all live."""

    simulated = True

    def alive(self, placed: Placed) -> bool:
        return True


async def main() -> None:
    """Print the table."""
    print(f"\na look at {DEPLOYMENTS} deployments, {DEPLOYMENTS * REPLICAS} replicas (load {os.getloadavg()[0]:.1f})")
    print(f"{'':>20} {'least':>10} {'median':>10} {'worst':>10} {'aim':>10}")
    _told("decide", [_timed_decide() for _ in range(PASSES)])
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(Path(folder) / "state.db")
        clock = FakeClock()
        keepers = [_keeper(i, store, clock) for i in range(DEPLOYMENTS)]
        collector.spare()  # as an engine does once it has started
        for _ in range(2):  # what is seen first is new
            await _look(keepers, clock, 0)
        _told("reconcile", [await _pass(keepers, clock) for _ in range(PASSES)])
        for what, requests in (("whole look, at rest", 0), ("whole look, at work", 2)):
            took = [await _look(keepers, clock, requests) for _ in range(WARM_UP + PASSES)]
            _told(what, took[WARM_UP:])
        await store.close()


async def _look(keepers: list[Keeper], clock: FakeClock, requests: int) -> float:
    """Milliseconds of one look, half a second after the last, at replicas with so many requests each."""
    clock.advance(0.5)
    for keeper in keepers:
        for replica in keeper.replicas:
            _report(replica, requests, clock.monotonic())
    began = time.process_time()
    for keeper in keepers:
        await keeper.tick()
    return (time.process_time() - began) * 1000


async def _pass(keepers: list[Keeper], clock: FakeClock) -> float:
    """Milliseconds of the reconciling of all of them."""
    began = time.process_time()
    for keeper in keepers:
        await keeper._reconcile(clock.monotonic())
    return (time.process_time() - began) * 1000


def _report(replica: Replica, requests: int, now: float) -> None:
    """What the replica answers when it is asked how it is."""
    tokens = replica.report.count("generated_tokens_total") + (TOKENS if requests else 0)
    body = {
        "status": "ready", "running": requests, "waiting": 0, "slots": 4, "last_progress_age_s": 0.0,
        "progress_tokens": tokens, "longest_call_ms": 20.0,
        "counters": {"generated_tokens_total": tokens, "prompt_tokens_total": 0, "decode_steps_total": tokens},
        "histograms": {"ttft_s": {"bounds": [0.01, 0.1, 1.0], "counts": [tokens, 0, 0, 0], "sum": 0.0}},
    }  # fmt: skip
    replica.in_flight = requests
    replica.take(body)


def _timed_decide() -> float:
    began = time.process_time()
    for _ in range(DEPLOYMENTS):
        assert steps(_DECLARED, _SEEN, _CALM, 1000.0) == []
    return (time.process_time() - began) * 1000


_DECLARED, _CALM = Declared(REPLICAS, "g"), Backoff()
_SEEN = [Observed(f"r{i}", Stage.READY, "g", alive=True, in_flight=i % 3) for i in range(REPLICAS)]


def _keeper(number: int, store: Store, clock: FakeClock) -> Keeper:
    made = Deployment(
        name=f"accounts/local/deployments/d{number}", base_model="m", state="READY", create_time=datetime.now(UTC),
        min_replica_count=REPLICAS, max_replica_count=REPLICAS, max_batch_size=4, max_context_length=512,
        autoscaling_policy=POLICY,
    )  # fmt: skip
    keeper = Keeper(made, Rooms(cast(Any, Steady()), store, Library(store), clock), lambda: 1)
    keeper.begin(REPLICAS)
    generation = template_of(made).generation
    for i in range(REPLICAS):
        replica = keeper.replicas.add(f"d{number}-{i}", generation, "key")
        replica.placed = Placed(replica.id, Path("/nowhere"), 1)
        replica.enter(Stage.READY)
    return keeper


def _told(what: str, took_ms: list[float]) -> None:
    figures = (min(took_ms), statistics.median(took_ms), max(took_ms), AIM_MS)
    print(f"{what:>20} " + " ".join(f"{figure:>7.1f} ms" for figure in figures))
