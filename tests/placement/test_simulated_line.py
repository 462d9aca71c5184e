"""Deployments on virtual nodes that are full or closed: who gets the room that is freed, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import pytest

from client.types import Deployment
from engine import declare
from engine.clock import FakeClock
from engine.control.stockout import RETRY_FIRST_S
from engine.fleet.ending import POLL_S
from engine.fleet.fleet import Fleet
from engine.fleet.line import WATCH_EVERY_S
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.port import Launch, Placed
from engine.placement.simulated import world
from engine.placement.simulated.driver import SimulatedDriver
from engine.simulation import nominal_models
from engine.store.store import Store
from tests.processes import PATIENCE_S
from tests.simulated_models import SIMULATED_8B

MODEL = "accounts/fireworks/models/simulated-8b"
L4 = "NVIDIA_L4_24GB"
WORLD = f"""
start_delay = "0s"

[[node]]
name = "l4"
region = "US_IOWA_1"
accelerator_type = "{L4}"
accelerators = 1
memory = "64GiB"
threads = 16
{SIMULATED_8B}"""
CLOSED = """
[[stockout]]
node = "l4"
from = "0s"
until = "100s"
"""


class Place:
    """A fleet on a clock that stands still but when told."""

    def __init__(self, fleet: Fleet, clock: FakeClock) -> None:
        self.fleet, self.clock = fleet, clock

    async def create(self, name: str) -> None:
        spec = declare.read(
            {
                "baseModel": MODEL,
                "minReplicaCount": 1,
                "maxReplicaCount": 1,
                "acceleratorType": L4,
                "acceleratorCount": 1,
            }
        )
        await self.fleet.create("local", spec, name, by="tester")

    def seen(self, name: str) -> Deployment:
        return self.fleet.get(f"accounts/local/deployments/{name}").deployment

    def placed(self, name: str) -> bool:
        return any(r.placed for r in self.fleet.get(f"accounts/local/deployments/{name}").replicas)

    def short(self, name: str) -> bool:
        return any(r.short_since is not None for r in self.fleet.get(f"accounts/local/deployments/{name}").replicas)

    async def until(self, holds: Callable[[], bool], advance_s: float = 0.0) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                for keeper in self.fleet.keepers():
                    keeper.look_soon()
                self.clock.advance(advance_s)
                await asyncio.sleep(0.01)


async def made(text: str, folder: Path) -> AsyncIterator[Place]:
    clock, store, parsed = FakeClock(), await Store.open(folder / "db"), world.parse(text)
    driver = SimulatedDriver(parsed, clock, folder, orphan_timeout_s=60.0)
    fleet = Fleet(Rooms(driver, store, Library(store, nominal=nominal_models(parsed)), clock), Settings(folder))
    await fleet.open()
    try:
        yield Place(fleet, clock)
    finally:
        closing = asyncio.create_task(fleet.close())
        while not closing.done():  # it gives replicas time to end
            clock.advance(POLL_S)
            await asyncio.sleep(0.001)
        await closing
        await store.close()


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Place]:
    async for place in made(WORLD, tmp_path):
        yield place


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Place]:
    async for place in made(WORLD + CLOSED, tmp_path):
        yield place


async def test_the_room_of_a_deleted_deployment_goes_to_who_waits_longest_at_once(full: Place):
    await full.create("first")
    await full.until(lambda: full.placed("first"))
    for name in ("second", "third"):
        await full.create(name)
        await full.until(lambda name=name: full.short(name))
    for gone, heir in (("first", "second"), ("second", "third")):
        await full.fleet.delete(f"accounts/local/deployments/{gone}", by="tester", hard=True, ignore_checks=True)
        await full.until(lambda heir=heir: full.placed(heir))
        assert full.clock.monotonic() < RETRY_FIRST_S  # not by its own next try
        assert full.placed("third") == (heir == "third")


async def test_a_node_that_comes_back_is_used_within_seconds_not_at_the_next_try(closed: Place, monkeypatch):
    await closed.create("waits")
    await closed.until(lambda: closed.short("waits"))
    driver, tried_at = closed.fleet.rooms.driver, list[float]()
    start = driver.start

    async def noted(launch: Launch, kept: Collection[str] = ()) -> Placed:
        tried_at.append(closed.clock.monotonic())
        return await start(launch, kept)

    monkeypatch.setattr(driver, "start", noted)
    closed.clock.advance(99.0)
    await closed.until(lambda: closed.placed("waits"), advance_s=0.1)
    assert 100.0 <= tried_at[-1] <= 100.0 + 3 * WATCH_EVERY_S
