"""A whole engine on a clock that tests turn: virtual replicas, real sockets, minutes that pass at once.

A token takes a second of that clock, the first none; a replica's hour costs PRICE_PER_HOUR US dollars.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from client.config import Context
from client.resources import Client
from client.types import DeploymentSpec
from engine.app import Engine
from engine.clock import FakeClock
from engine.control.reconcile import Stage
from engine.fleet.settings import Settings
from engine.serve import base_url, bind
from tests.house import quick_looks
from tests.processes import PATIENCE_S
from tests.simulated_models import SIMULATED_8B

MODEL = "accounts/fireworks/models/simulated-8b"
L4 = "NVIDIA_L4_24GB"
PRICE_PER_HOUR = 3600.0  # a dollar a second
STEP_S = 2.0
START_S = 10_000.0  # so late that the time of a prompt is lost in rounding
WORLD = f"""
start_delay = "0s"

[latency]
first_token = "0s"
prompt_tokens_per_second = 1e15
tokens_per_second = 1
slowdown = 0
spread = 0

[[node]]
name = "l4"
count = 2
accelerator_type = "{L4}"
accelerators = 1
memory = "64GiB"
threads = 16
price_per_hour = {PRICE_PER_HOUR}
{SIMULATED_8B}"""


@dataclass
class Virtual:
    """An engine that serves at `url`, and the hands of its clock."""

    engine: Engine
    clock: FakeClock
    url: str
    admin_key: str

    def http(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S)

    def client(self, key: str | None = None, account: str = "local") -> Client:
        return Client(Context(self.url, key or self.admin_key, account))

    async def deploy(self, client: Client, name: str) -> None:
        """A deployment with one replica, ready."""
        spec = DeploymentSpec(
            base_model=MODEL, min_replica_count=1, max_replica_count=1, accelerator_type=L4, accelerator_count=1
        )
        made = await client.deployments.create(spec, name)
        await self.until_passed(self.engine.house.fleet.get(made.name).serves)

    async def until_passed(self, holds: Callable[[], bool]) -> None:
        """Until something has come true, while the clock goes on."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.pass_time(0.5)
                await asyncio.sleep(0.01)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until something has come true, while the clock stands still."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.01)

    async def pass_time(self, seconds: float) -> None:
        """In steps, each of which waits until ready replicas were heard of again: they have not fallen silent."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(min(STEP_S, left))
            await asyncio.sleep(0)
            await self.until(self._heard_of)

    def _heard_of(self) -> bool:
        now = self.clock.monotonic()
        replicas = [r for keeper in self.engine.house.fleet.keepers() for r in keeper.replicas]
        return all(now - r.report.at < 5.0 for r in replicas if r.stage is Stage.READY)


@asynccontextmanager
async def virtual(folder: Path, **settings: Any) -> AsyncIterator[Virtual]:
    """`settings`: see `engine.fleet.settings`."""
    (folder / "data").mkdir(mode=0o700, parents=True)
    world = folder / "world.toml"
    world.write_text(WORLD)
    clock = FakeClock()
    clock.advance(START_S)
    with quick_looks():
        engine = await Engine.open(Settings(data_dir=folder / "data", simulate=world, **settings), clock)
        listener = bind("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(engine, lifespan="off", log_config=None))
        tasks = [asyncio.create_task(server.serve([listener])), asyncio.create_task(_tick(clock))]
        key = (folder / "data" / "admin.key").read_text().strip()
        try:
            yield Virtual(engine, clock, base_url(*listener.getsockname()[:2]), key)
        finally:
            tasks.append(asyncio.create_task(_tick(clock, STEP_S)))  # whatever is still being answered
            server.should_exit = True
            await tasks[0]
            await engine.close()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _tick(clock: FakeClock, step_s: float = 0.0) -> None:
    """Wake what slept for no time that the clock could show."""
    while True:
        clock.advance(step_s)
        await asyncio.sleep(0.005)
