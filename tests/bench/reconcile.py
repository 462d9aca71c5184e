"""One look at a whole fleet: 1,000 deployments with 10 replicas each, without a single process.

`decide`: the pure function alone. `whole look`: what a keeper does twice a second with that many replicas at rest:
sample, autoscale, decide, show, record. Medians and worst of a few passes, in time of one
core, which a busy machine does not stretch; the aim is at most 100 ms for a pass of decisions.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from client.types import AutoscalingPolicy, Deployment
from engine.clock import FakeClock
from engine.control.backoff import Backoff
from engine.control.reconcile import Declared, Observed, Stage, steps
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.fleet.replica_set import Rooms
from engine.fleet.template import template_of
from engine.placement.port import Placed
from engine.store.store import Store

DEPLOYMENTS, REPLICAS = 1000, 10
PASSES = 7
AIM_MS = 100.0
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
    print(f"{'':>12} {'median':>10} {'worst':>10} {'aim':>10}")
    _told("decide", await _timed(_decide))
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(Path(folder) / "state.db")
        clock = FakeClock()
        keepers = [_keeper(i, store, clock) for i in range(DEPLOYMENTS)]

        async def look() -> None:
            clock.advance(0.5)
            for keeper in keepers:
                for replica in keeper.replicas:
                    replica.vitals.take(replica.report.body, clock.monotonic())
                    replica.report.at = clock.monotonic()
            began = time.process_time()
            for keeper in keepers:
                await keeper.tick()
            took.append((time.process_time() - began) * 1000)

        took: list[float] = []
        for _ in range(PASSES + 2):
            await look()
        _told("whole look", took[2:])  # the first ones write down what is new
        await store.close()


async def _decide() -> None:
    for _ in range(DEPLOYMENTS):
        assert steps(_DECLARED, _SEEN, _CALM, 1000.0) == []


_DECLARED, _CALM = Declared(REPLICAS, "g"), Backoff()
_SEEN = [Observed(f"r{i}", Stage.READY, "g", alive=True, in_flight=i % 3) for i in range(REPLICAS)]


async def _timed(work: Callable[[], Awaitable[None]]) -> list[float]:
    took = []
    for _ in range(PASSES):
        began = time.process_time()
        await work()
        took.append((time.process_time() - began) * 1000)
    return took


def _keeper(number: int, store: Store, clock: FakeClock) -> Keeper:
    made = Deployment(
        name=f"accounts/local/deployments/d{number}", base_model="m", state="READY", create_time=datetime.now(UTC),
        min_replica_count=REPLICAS, max_replica_count=REPLICAS, max_batch_size=4, max_context_length=512,
        autoscaling_policy=POLICY,
    )  # fmt: skip
    keeper = Keeper(made, Rooms(cast(Any, Steady()), store, cast(Any, None), clock), lambda: 1, 0)
    keeper.begin(REPLICAS)
    generation = template_of(made, gpus=0).generation
    for i in range(REPLICAS):
        replica = Replica(f"d{number}-{i}", generation, "key", clock)
        replica.placed = Placed(replica.id, Path("/nowhere"), 1)
        replica.enter(Stage.READY)
        replica.report.body = {"running": 0, "waiting": 0, "slots": 4, "counters": {}}
        keeper.replicas.replicas[replica.id] = replica
    return keeper


def _told(what: str, took_ms: list[float]) -> None:
    print(f"{what:>12} {statistics.median(took_ms):>7.1f} ms {max(took_ms):>7.1f} ms {AIM_MS:>7.0f} ms")
