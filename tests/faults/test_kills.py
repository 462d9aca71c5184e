"""An engine killed again and again under changes: nothing acknowledged is lost, no replica too many or twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from client.errors import FiredeckError
from client.resources import Client
from client.types import DeploymentSpec
from engine.placement.sockets import run_dir
from tests import seeds
from tests.conftest import until_ready
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
KILLS, SOAK_KILLS = 3, 100


async def test_an_engine_killed_under_changes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    await _kill_again_and_again(tmp_path / "data", KILLS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_an_engine_killed_a_hundred_times_under_changes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    await _kill_again_and_again(tmp_path / "data", SOAK_KILLS)


async def _kill_again_and_again(data_dir: Path, kills: int) -> None:
    seed = seeds.of_run()
    print(f"FIREDECK_SEED={seed}")
    chance = random.Random(seed)
    engine = EngineProcess(data_dir).start()
    acknowledged: dict[str, str] = {}
    took_s = []
    try:
        async with Client(engine.context) as client:
            await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1), "live")
            await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=1), "moving")
            await until_ready(client, "live")
            survivor = (await client.fleet.status("live")).replicas[0].pid
        for _ in range(kills):
            await _change_until_killed(engine, acknowledged, chance)
            _check_whole(data_dir)
            began = time.monotonic()
            engine.start()
            async with Client(engine.context) as client:
                found = {d.id: d.description for d in await client.deployments.list()}
                # The change under way may have arrived or not; every one that was answered has.
                assert {i: found.get(i) for i in acknowledged} == acknowledged
                await _converged(engine, client)
                # Taken over as it was: its process, and with it the loaded model, is still the first one.
                assert [r.pid for r in (await client.fleet.status("live")).replicas] == [survivor]
            took_s.append(time.monotonic() - began)
    finally:
        engine.stop()
    assert engine.replicas() == []
    assert not run_dir(data_dir).exists()  # nor a socket of anybody
    _check_whole(data_dir)
    with sqlite3.connect(data_dir / "firedeck.db") as db:
        _balanced(db)
    print(
        f"{kills} kills, {len(acknowledged)} acknowledged deployments, 0 lost, 0 orphans, 0 duplicates; from the start"
        f" of the next engine to converged {sorted(took_s)[len(took_s) // 2]:.1f}s, at most {max(took_s):.1f}s"
    )


def _balanced(db: sqlite3.Connection) -> None:
    """What each replica is charged for: the one that outlived every engine for one interval without a gap."""
    rows = db.execute("SELECT deployment, replica, began_ms, ended_ms FROM usage_intervals ORDER BY 2, 3").fetchall()
    assert sum(deployment.endswith("/live") for deployment, *_ in rows) == 1
    assert all(ended is not None and ended >= began for *_, began, ended in rows)
    for (_, replica, _, ended), (_, following, began, _) in itertools.pairwise(rows):
        assert replica != following or ended <= began


def _check_whole(data_dir: Path) -> None:
    """As the killed engine left it; through a copy, so that its log is still there for the next one."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data_dir.glob("firedeck.db*"):
            shutil.copy(file, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / "firedeck.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def _change_until_killed(engine: EngineProcess, acknowledged: dict[str, str], chance: random.Random) -> None:
    async with Client(engine.context) as client:
        changing = asyncio.create_task(_change(client, acknowledged, chance))
        moving = asyncio.create_task(_move(client, chance))
        await asyncio.sleep(chance.uniform(0.1, 1.5))
        engine.kill()
        for task in (changing, moving):
            with contextlib.suppress(FiredeckError):  # nobody answers any more
                await task


async def _converged(engine: EngineProcess, client: Client) -> None:
    """Every deployment has what it wants, and the processes there are just the replicas that are known."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            statuses = [await client.fleet.status(name) for name in ("live", "moving")]
            known = sorted(r.pid for s in statuses for r in s.replicas if r.stage == "READY" and r.pid)
            wanted = sum(s.deployment.desired_replica_count or 0 for s in statuses)
            settled = len(known) == wanted == sum(len(s.replicas) for s in statuses)
            if settled and known == sorted(process.pid for process in engine.replicas()):
                return
            await asyncio.sleep(0.1)


async def _move(client: Client, chance: random.Random) -> None:
    """Replicas come and go, so that engines die in the midst of starting and ending them."""
    while True:
        await client.deployments.scale("moving", chance.randrange(2))
        await asyncio.sleep(chance.uniform(0.1, 1.0))


async def _change(client: Client, acknowledged: dict[str, str], chance: random.Random) -> None:
    """Create and update for ever; what the engine answered goes into `acknowledged`."""
    while True:
        name = f"d{chance.randrange(30)}"
        text = f"v{chance.randrange(10**6)}"
        before = acknowledged.pop(name, None)  # unknown until answered
        if before is None:
            with contextlib.suppress(FiredeckError):
                spec = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0, description=text)
                await client.deployments.create(spec, name)
                acknowledged[name] = text
                continue
        await client.deployments.update(name, DeploymentSpec(description=text))
        acknowledged[name] = text
