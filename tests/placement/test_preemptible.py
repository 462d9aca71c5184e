"""A preemptible deployment on a full fleet: it gives its place, says so, and has it again when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import events_of
from tests.house import home
from tests.processes import PATIENCE_S
from tests.simulated_models import SIMULATED_8B

ONE_PLACE = """
start_delay = "0s"
[[node]]
name = "only"
accelerator_type = "NVIDIA_H100_80GB"
accelerators = 1
memory = "64GiB"
threads = 8
"""
MODEL = "accounts/fireworks/models/simulated-8b"


async def until_stands(client: Client, deployment: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await stands(client, deployment):
            await asyncio.sleep(0.05)


async def stands(client: Client, deployment: str) -> bool:
    stats = (await client.deployments.get(deployment)).replica_stats
    return stats is not None and stats.ready_replica_count == 1


async def told(client: Client, deployment: str, reason: str) -> str:
    """What the last event of this kind says, once there is one."""
    return [one.message for one in await events_of(client, deployment, reason) if one.reason == reason][-1]


async def make(client: Client, deployment: str, **fields: bool) -> None:
    await client.deployments.create(DeploymentSpec(base_model=MODEL, min_replica_count=1, **fields), deployment)


async def test_its_place_goes_to_one_that_is_not_and_comes_back(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(ONE_PLACE + SIMULATED_8B)
    async with home(tmp_path / "data", simulate=fleet) as own, own.client() as client:
        await make(client, "spot", preemptible=True)
        await until_stands(client, "spot")
        await make(client, "other", spot=True)  # another of its kind does not push it aside
        assert "makes room" not in await told(client, "other", "Stockout")
        assert await stands(client, "spot")

        await make(client, "own")
        await until_stands(client, "own")
        assert "a preemptible replica ends and makes room" in await told(client, "own", "Stockout")
        assert "gave its place" in await told(client, "spot", "Preempted")
        assert await told(client, "spot", "Stockout")  # it is wanted all the same

        await client.deployments.delete("other", hard=True, ignore_checks=True)
        await client.deployments.delete("own", hard=True, ignore_checks=True)
        await until_stands(client, "spot")
