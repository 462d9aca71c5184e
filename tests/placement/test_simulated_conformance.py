"""The simulated driver under the same tests, on a clock that runs as fast as it is looked at."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from engine.clock import FakeClock
from engine.placement.port import Launch, Need, Taken
from engine.placement.simulated import world
from engine.placement.simulated.driver import SimulatedDriver
from tests.placement.conformance import Conformance, Place
from tests.unit.keeper_house import JumpingClock

ORPHAN_TIMEOUT_S = 30.0
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


def driver_of(text: str, clock: FakeClock, folder: Path) -> SimulatedDriver:
    return SimulatedDriver(world.parse(text), clock, folder, orphan_timeout_s=ORPHAN_TIMEOUT_S)


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
        driver = driver_of(WORLD, clock, tmp_path)
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
    first = driver_of(text, clock, tmp_path)
    await first.open()
    placed = await first.start(launch_of("d-1"))
    spot = first.cloud.spots["d-1"]
    lose(first)
    clock.advance(5)
    second = driver_of(text, clock, tmp_path)
    await second.open()
    assert second.cloud.spots == {"d-1": spot}
    assert second.node_of(placed) is not None
    other = await second.start(launch_of("d-2"))
    assert other.pid != placed.pid
    while clock.monotonic() < spot.ends_at - 1:
        clock.advance(1)
        assert second.alive(placed)
    lose(second)
    clock.advance(2)
    third = driver_of(text, clock, tmp_path)
    await third.open()
    assert not third.alive(placed)
    assert placed.socket not in {stray.socket for stray in third.strays(frozenset())}
    lose(third)


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        (WORLD.replace("threads = 8", "threads = 8\npreemptions_per_day = 10000"), Taken.PREEMPTED, "preempted"),
        (WORLD + '\n[[outage]]\nfrom = "5s"\nuntil = "9s"\n', Taken.NODE_LOST, "went out of service"),
    ],
    ids=["preemption", "outage"],
)
async def test_how_the_place_of_a_replica_was_taken_is_told_over_a_kill_of_the_engine_too(tmp_path, text, how, said):
    clock = FakeClock()
    first = driver_of(text, clock, tmp_path)
    await first.open()
    placed = await first.start(launch_of("d-1"))
    assert first.taken(placed) is None
    lose(first)
    second = driver_of(text, clock, tmp_path)
    await second.open()
    while second.alive(placed):
        clock.advance(1)
    assert second.taken(placed) == how
    assert said in second.ending(placed)
    second.forget(placed)
    assert second.taken(placed) is None
    killed = await second.start(launch_of("d-2")) if how == Taken.PREEMPTED else None
    if killed is not None:
        second.stop(killed, force=True)
        assert second.taken(killed) is None, "an operator's kill is no preemption"
    lose(second)


async def test_the_time_of_stockouts_and_outages_goes_on_after_a_kill_and_begins_anew_after_a_clean_end(tmp_path):
    """With nothing placed too: what says that an engine is there need not have been written for long."""
    text = WORLD + '[[stockout]]\nfrom = "0s"\nuntil = "100s"\n'
    clock = FakeClock()
    first = driver_of(text, clock, tmp_path)
    await first.open()
    assert first.nodes()[0].closed == "out of stock"
    clock.advance(2 * ORPHAN_TIMEOUT_S)
    second = driver_of(text, clock, tmp_path)
    await second.open()
    assert second._now() == pytest.approx(2 * ORPHAN_TIMEOUT_S)
    clock.advance(100)
    third = driver_of(text, clock, tmp_path)
    await third.open()
    assert not third.nodes()[0].closed
    third.close()
    fourth = driver_of(text, clock, tmp_path)
    await fourth.open()
    assert fourth.nodes()[0].closed == "out of stock"
    fourth.close()


async def test_replicas_that_no_engine_comes_back_for_end(tmp_path):
    clock = FakeClock()
    first = driver_of(WORLD, clock, tmp_path)
    await first.open()
    placed = await first.start(launch_of("d-1"))
    clock.advance(20)
    assert first.alive(placed)
    lose(first)
    clock.advance(ORPHAN_TIMEOUT_S - 1)
    second = driver_of(WORLD, clock, tmp_path)
    await second.open()
    assert second.alive(placed)
    lose(second)
    clock.advance(ORPHAN_TIMEOUT_S + 1)
    third = driver_of(WORLD, clock, tmp_path)
    await third.open()
    assert not third.alive(placed)
    assert third.cloud.spots == {}
    third.close()
    assert not placed.socket.parent.exists()


async def test_a_wall_clock_that_was_set_while_an_engine_ran_ages_nothing(tmp_path):
    clock = JumpingClock()
    first = driver_of(WORLD, clock, tmp_path)
    await first.open()
    placed = await first.start(launch_of("d-1"))
    for hours in (1, -3, 1):
        clock.offset += timedelta(hours=hours)
        clock.advance(2)
        assert first.alive(placed)
    lose(first)
    clock.advance(2)
    second = driver_of(WORLD, clock, tmp_path)
    await second.open()
    assert second._now() == pytest.approx(8.0)
    assert second.alive(placed)
    lose(second)


async def test_what_was_told_to_end_or_has_no_node_any_more_or_cannot_be_read_is_gone_after_a_restart(tmp_path):
    clock = FakeClock()
    first = driver_of(WORLD, clock, tmp_path)
    await first.open()
    told = await first.start(launch_of("d-1"))
    await first.start(launch_of("d-2", accelerators=1))
    unread = await first.start(launch_of("d-3"))
    first.stop(told, force=False)
    lose(first)
    unread.socket.with_suffix(".json").write_text("{")
    smaller = WORLD[: WORLD.index('[[node]]\nname = "h100"')]
    second = driver_of(smaller, clock, tmp_path)
    await second.open()
    assert second.strays(frozenset()) == []
    assert list(told.socket.parent.glob("*.json")) == []


async def test_a_replicas_file_holds_its_key_and_nobody_else_may_read_it(tmp_path):
    driver = driver_of(WORLD, FakeClock(), tmp_path)
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
