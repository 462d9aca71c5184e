"""The simulated driver under the same tests, on a clock that runs as fast as it is looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.clock import FakeClock
from engine.placement.port import Launch, Need
from engine.placement.simulated import world
from engine.placement.simulated.driver import SimulatedDriver
from tests.placement.conformance import Conformance, Place

WORLD = """
start_delay = "20s"

[[node]]
name = "cpu"
region = "EU_PARIS_1"
memory = "64GiB"
threads = 8

[[node]]
name = "h100"
count = 2
region = "US_IOWA_1"
accelerator_type = "NVIDIA_H100_80GB"
accelerators = 8
threads = 8
price_per_hour = 20
"""


def lose(driver: SimulatedDriver) -> None:
    """Its engine is killed: connections break, and nothing is tidied up."""
    for running in driver._running.values():
        running.cut()


@pytest.fixture
async def place(tmp_path):
    clock = FakeClock()

    async def turn() -> None:
        clock.advance(0.05)
        await asyncio.sleep(0.001)

    async def run_on() -> None:
        while True:
            await turn()

    async def make() -> SimulatedDriver:
        driver = SimulatedDriver(world.parse(WORLD), clock, tmp_path)
        await driver.open()
        return driver

    async def again() -> SimulatedDriver:
        lose(driver)
        return await make()

    driver = await make()
    running_on = asyncio.create_task(run_on())
    yield Place(driver, again, turn, Path("nominal"), Need(model_bytes=10 << 30, process_bytes=1 << 30))
    running_on.cancel()
    lose(driver)


class TestSimulated(Conformance):
    pass


async def test_a_replica_is_as_old_as_it_is_after_a_restart_and_is_lost_when_it_would_have_been(tmp_path):
    """Its preemption and its time to load were drawn when it was placed."""
    text = WORLD.replace("threads = 8", "threads = 8\npreemptions_per_day = 100")
    clock = FakeClock()
    first = SimulatedDriver(world.parse(text), clock, tmp_path)
    launch = launch_of("d-1")
    placed = await first.start(launch)
    spot = first.cloud.spots["d-1"]
    lose(first)
    clock.advance(5)
    second = SimulatedDriver(world.parse(text), clock, tmp_path)
    await second.open()
    assert second.cloud.spots == {"d-1": spot}
    assert second.node_of(placed) is not None
    other = await second.start(launch_of("d-2"))
    assert other.pid != placed.pid
    lose(second)
    clock.advance(spot.ends_at)
    third = SimulatedDriver(world.parse(text), clock, tmp_path)
    await third.open()
    assert not third.alive(placed)
    assert placed.socket not in {stray.socket for stray in third.strays(frozenset())}
    lose(third)


async def test_what_was_told_to_end_or_has_no_node_any_more_or_cannot_be_read_is_gone_after_a_restart(tmp_path):
    clock = FakeClock()
    first = SimulatedDriver(world.parse(WORLD), clock, tmp_path)
    told = await first.start(launch_of("d-1"))
    await first.start(launch_of("d-2", accelerators=1))
    unread = await first.start(launch_of("d-3"))
    first.stop(told, force=False)
    lose(first)
    unread.socket.with_suffix(".json").write_text("{")
    smaller = WORLD[: WORLD.index('[[node]]\nname = "h100"')]
    second = SimulatedDriver(world.parse(smaller), clock, tmp_path)
    await second.open()
    assert second.strays(frozenset()) == []
    assert list(told.socket.parent.glob("*.json")) == []


async def test_a_replicas_file_holds_its_key_and_nobody_else_may_read_it(tmp_path):
    driver = SimulatedDriver(world.parse(WORLD), FakeClock(), tmp_path)
    placed = await driver.start(launch_of("d-1"))
    file = placed.socket.with_suffix(".json")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    driver.stop(placed, force=True)
    driver.forget(placed)
    assert not file.exists()
    driver.close()
    assert not file.parent.exists()


def launch_of(replica: str, accelerators: int = 0) -> Launch:
    need = Need(accelerators=accelerators, model_bytes=1 << 30, regions=frozenset({"EU_PARIS_1", "US_IOWA_1"}))
    return Launch(replica, "accounts/local/deployments/d", Path("m"), "key", 2, 512, 1, need=need)
