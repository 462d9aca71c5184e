"""Charts survive the engine: saved while it runs, brought back by the next one, kept through a disk that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from client.types import Deployment, DeploymentSpec
from engine.clock import FakeClock
from engine.fleet.archivist import Archivist
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.local import LocalDriver
from engine.store.store import Store
from engine.telemetry.archive import FOLDER
from tests.house import home
from tests.processes import SMOLLM2

NAME = "accounts/local/deployments/chat"
Make = Callable[[], Coroutine[None, None, Fleet]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Another engine's fleet on the same folder, with one deployment."""
    clock, closers = FakeClock(), []

    async def made() -> Fleet:
        store = await Store.open(tmp_path / f"state-{len(closers)}.db")
        driver = LocalDriver(tmp_path, orphan_timeout_s=60.0)
        fleet = Fleet(Rooms(driver, store, Library(store), clock), Settings(tmp_path))
        fleet.keep(Deployment(name=NAME, base_model="m", state="READY"))
        closers.append((store, driver))
        return fleet

    yield made
    for store, driver in closers:
        driver.close()
        await store.close()


def record(keeper: Keeper, seconds: int, clock: FakeClock) -> None:
    for _ in range(seconds):
        clock.advance(1.0)
        keeper.recorder.add(clock.wall().timestamp(), {"queue": 3.0})


def day(fleet: Fleet) -> list[float | None]:
    return fleet.get(NAME).recorder.read(NAME, 86_400).series["queue"]


async def test_what_was_saved_is_back_after_a_kill_and_the_time_between_is_unknown(make: Make):
    first, clock = await make(), None
    clock = first.rooms.clock
    archivist = Archivist(first)
    for _ in range(3):  # saved in pieces
        record(first.get(NAME), 40, clock)
        await archivist.save()
    record(first.get(NAME), 9, clock)  # not handed over: it was not ten seconds yet
    clock.advance(300)
    second = await make()
    await Archivist(second).restore()
    assert day(second) == [3.0] * 12
    record(second.get(NAME), 10, clock)
    found = day(second)
    assert (found[:12], found[-1], set(found[12:-1])) == ([3.0] * 12, 3.0, {None})


async def test_what_the_disk_did_not_take_is_saved_when_it_does(make: Make, tmp_path: Path):
    fleet = await make()
    archivist, clock = Archivist(fleet), fleet.rooms.clock
    (tmp_path / FOLDER).touch()  # no folder can be made in its place
    record(fleet.get(NAME), 40, clock)
    await archivist.save()
    (tmp_path / FOLDER).unlink()
    record(fleet.get(NAME), 20, clock)
    await archivist.save()
    second = await make()
    await Archivist(second).restore()
    assert day(second) == [3.0] * 6


async def test_a_folder_that_cannot_be_read_costs_the_charts_and_nothing_else(make: Make, tmp_path: Path):
    (tmp_path / FOLDER).touch()
    fleet = await make()
    await Archivist(fleet).restore()
    assert day(fleet) == []


async def test_a_deployment_that_is_gone_leaves_no_file(make: Make, tmp_path: Path):
    fleet = await make()
    archivist = Archivist(fleet)
    record(fleet.get(NAME), 20, fleet.rooms.clock)
    await archivist.save()
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    fleet._keepers.clear()
    await archivist.save()
    assert list((tmp_path / FOLDER).iterdir()) == []


async def test_an_engine_that_ends_hands_over_its_last_and_the_next_one_has_it(tmp_path: Path):
    async with home(tmp_path) as opened, opened.client() as client:
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
        fleet = opened.engine.house.fleet
        keeper, now = fleet.get(NAME), fleet.rooms.clock.wall().timestamp()
        for second in range(30):
            keeper.recorder.add(now - 100 + second, {"queue": 4.0})
    async with home(tmp_path) as opened, opened.http(opened.admin_key) as http:
        async with asyncio.timeout(60):
            while 4.0 not in (
                await http.get(f"/firedeck/v1/{NAME}/history?seconds=86400")
            ).json()["series"]["queue"]:  # fmt: skip
                await asyncio.sleep(0.05)
