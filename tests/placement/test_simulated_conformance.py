"""The simulated driver under the same tests, on a clock that runs as fast as it is looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.clock import FakeClock
from engine.placement.port import Need
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


@pytest.fixture
async def place():
    clock = FakeClock()

    async def turn() -> None:
        clock.advance(0.05)
        await asyncio.sleep(0.001)

    async def run_on() -> None:
        while True:
            await turn()

    async def again() -> SimulatedDriver:
        for placed in driver.strays(frozenset()):
            driver.stop(placed, force=True)  # they are part of the engine that ends
        later = SimulatedDriver(world.parse(WORLD), clock)
        await later.open()
        return later

    driver = SimulatedDriver(world.parse(WORLD), clock)
    await driver.open()
    running_on = asyncio.create_task(run_on())
    yield Place(driver, again, turn, Path("nominal"), Need(model_bytes=10 << 30, process_bytes=1 << 30))
    running_on.cancel()
    driver.close()


class TestSimulated(Conformance):
    pass
