"""An engine with 1,000 simulated deployments that change once a second each, for `tests.bench.watching` to watch.

The whole engine serves on a port of loopback; its deployments have a replica each and no process, and nothing looks
after them, so that what the process uses is the stream's and the changes' alone.
    python -m tests.bench.watched FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from client.names import LOCAL_ACCOUNT
from client.types import Deployment
from engine import serve
from engine.app import Engine
from engine.control.reconcile import Stage
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.fleet.settings import Settings
from tests.bench.reconcile import POLICY
from tests.bench.servers import ROOT

DEPLOYMENTS = 1000
STEPS = 20  # of a second: 50 changes at a time


def _keeper(engine: Engine, number: int) -> Keeper:
    made = Deployment(
        name=f"accounts/{LOCAL_ACCOUNT}/deployments/d{number}", base_model="m", state="READY", max_replica_count=4,
        min_replica_count=1, max_batch_size=4, max_context_length=8192, create_time=datetime.now(UTC),
        autoscaling_policy=POLICY, desired_replica_count=1, replica_count=1,
    )  # fmt: skip
    keeper = engine.house.fleet.keep(made)
    replica = Replica(f"d{number}-0", "g", "key", engine.house.fleet.rooms.clock, keeper.figures)
    replica.enter(Stage.READY)
    replica.take({"running": 0, "waiting": 0, "slots": 4, "last_progress_age_s": 0.0, "counters": {}})
    keeper.replicas.replicas[replica.id] = replica
    return keeper


async def _change(keepers: list[Keeper]) -> None:
    """One request more at every deployment each second."""
    loop, part = asyncio.get_running_loop(), len(keepers) // STEPS
    due = loop.time()
    while True:
        for step in range(STEPS):
            for keeper in keepers[step * part : (step + 1) * part]:
                keeper.meter.began(synthetic=True)
            due += 1 / STEPS
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _started(engine: Engine, url: str) -> None:
    keepers = [_keeper(engine, number) for number in range(DEPLOYMENTS)]
    for keeper in keepers:
        keeper.autoscaler.decide(engine.house.fleet.rooms.clock.monotonic())
    print(url, flush=True)
    await _change(keepers)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    asyncio.run(serve.run(Settings(folder, port=0, simulate=ROOT / "tests" / "placement" / "fleet.toml"), _started))
