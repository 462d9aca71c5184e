"""Slow faults, run by `make soak`: an engine killed again and again under changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from pathlib import Path

import pytest

from client.errors import FiredeckError
from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import until_ready
from tests.processes import SMOLLM2, EngineProcess

pytestmark = [pytest.mark.soak, pytest.mark.model, pytest.mark.timeout(1800)]
KILLS = 20


async def test_an_engine_killed_twenty_times_under_changes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seed = int(os.environ.get("FIREDECK_SEED", random.randrange(2**32)))
    print(f"FIREDECK_SEED={seed}")
    chance = random.Random(seed)
    engine = EngineProcess(tmp_path / "data").start()
    acknowledged: dict[str, str] = {}
    try:
        async with Client(engine.context) as client:
            await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1), "live")
            await until_ready(client, "live")
        for _ in range(KILLS):
            async with Client(engine.context) as client:
                changing = asyncio.create_task(_change(client, acknowledged, chance))
                await asyncio.sleep(chance.uniform(0.1, 1.5))
                engine.kill()
                with contextlib.suppress(FiredeckError):
                    await changing
            engine.start()
            async with Client(engine.context) as client:
                found = {d.id: d.description for d in await client.deployments.list()}
                # The change under way may have arrived or not; every one that was answered has.
                assert {i: found.get(i) for i in acknowledged} == acknowledged
                await until_ready(client, "live")
                assert len(engine.replicas()) == 1
    finally:
        engine.stop()
    assert engine.replicas() == []


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
