"""Somebody sets the clock of a machine whose engine runs: nothing fires, nobody is refused, and time is told anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.resources import Client
from client.types import AutoscalingPolicy, DeploymentSpec
from tests.conftest import until_ready
from tests.faults.preload import built
from tests.faults.simulated import MODEL, answers, deploy_simulated, simulated_engine, until_told
from tests.processes import PATIENCE_S

HOUR_S = 3600
LOOKS = timedelta(seconds=1.2)  # of the engine's own: two of them


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    given = {"LD_PRELOAD": built("jumping_clock", tmp_path), "JUMPING_CLOCK": str(tmp_path / "offset")}
    engine = simulated_engine(tmp_path, given).start()
    try:
        await deploy_simulated(engine)
        async with Client(engine.context) as asked:
            yield asked
            assert await answers(engine)
    finally:
        engine.stop()


async def told(client: Client) -> dict[str, list[str]]:
    return {name: [e.reason for e in await client.fleet.events(name)] for name in ("d", "idle")}


async def looked_at(client: Client, name: str) -> None:
    """Return when the engine has looked at a deployment for a while more."""
    first = await decided_at(client, name)
    async with asyncio.timeout(PATIENCE_S):
        while await decided_at(client, name) - first < LOOKS:
            await asyncio.sleep(0.1)


async def decided_at(client: Client, name: str) -> datetime:
    view = (await client.fleet.status(name)).autoscaler
    assert view is not None
    return view.decided_at


async def test_a_clock_that_is_set_an_hour_forth_and_back_fires_nothing(client: Client, tmp_path: Path) -> None:
    window = AutoscalingPolicy(scale_to_zero_window=timedelta(minutes=30))
    await client.deployments.create(DeploymentSpec(base_model=MODEL, autoscaling_policy=window), "idle")
    await until_ready(client, "idle")
    await until_told(client, "idle")
    before, replicas = await told(client), await replicas_of(client)
    for hours in (1, -1, 0):
        (tmp_path / "offset").write_text(str(hours * HOUR_S))
        await looked_at(client, "idle")
        assert (await told(client), await replicas_of(client)) == (before, replicas)
        made = await client.deployments.update("idle", DeploymentSpec(description=f"{hours} h off"))
        assert made.update_time is not None
        assert round((made.update_time - datetime.now(UTC)) / timedelta(hours=1)) == hours  # it did see the jump
        before = await told(client)


async def replicas_of(client: Client) -> set[str]:
    return {r.id for name in ("d", "idle") for r in (await client.fleet.status(name)).replicas}
