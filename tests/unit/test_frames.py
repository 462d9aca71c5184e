"""What those who watch the fleet are sent: one frame for all, the newest for who comes late, nobody held for ever."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.fleet_types import Condition, FleetSnapshot
from client.types import Deployment
from engine.clock import FakeClock
from engine.fleet import views
from engine.fleet.fleet import Fleet
from engine.fleet.frames import SLICE, Frames, written
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.local import LocalDriver
from engine.placement.port import Placed
from engine.store.store import Store

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def fleet(tmp_path: Path):
    store, driver = await Store.open(tmp_path / "state.db"), LocalDriver(tmp_path, orphan_timeout_s=60.0)
    made = Fleet(Rooms(driver, store, Library(store), FakeClock()), Settings(tmp_path))
    for account in ("ada", "eve"):
        made.keep(Deployment(name=f"accounts/{account}/deployments/d", base_model="m", state="READY"))
    yield made
    driver.close()
    await store.close()


def free(deployment: Deployment) -> list[Condition]:
    """No quota is used up."""
    return []


def names(event: bytes) -> list[str]:
    assert (event[:6], event[-2:]) == (b"data: ", b"\n\n")
    snapshot = FleetSnapshot.model_validate(json.loads(event.removeprefix(b"data: ")))
    return [status.deployment.name for status in snapshot.deployments]


async def test_all_who_watch_an_account_get_the_same_bytes_until_they_are_too_old(fleet: Fleet):
    frames = Frames()
    first = await frames.latest(fleet, free, BEGAN, "ada", 0.5)
    fleet.rooms.clock.advance(0.5)
    assert await frames.latest(fleet, free, BEGAN, "ada", 0.5) is first
    assert await frames.latest(fleet, free, BEGAN, "ada", 0.1) is not first
    fleet.rooms.clock.advance(0.6)
    assert await frames.latest(fleet, free, BEGAN, "ada", 0.5) is not first


async def test_an_account_is_never_sent_what_was_made_for_another(fleet: Fleet):
    frames = Frames()
    seen = [names(await frames.latest(fleet, free, BEGAN, account, 60.0)) for account in ("ada", "eve", None, "ada")]
    ada, eve = "accounts/ada/deployments/d", "accounts/eve/deployments/d"
    assert seen == [[ada], [eve], [ada, eve], [ada]]


async def test_which_process_a_replica_is_stands_in_whole_frames_alone(fleet: Fleet):
    [keeper] = fleet.keepers("ada")
    keeper.replicas.add("r", "g", "key").attach(Placed("r", Path("/nowhere"), 4242), None)
    for whole, pid in ((True, 4242), (False, None)):
        read = FleetSnapshot.model_validate_json(await written(fleet, free, BEGAN, "ada", whole=whole))
        [replica] = read.deployments[0].replicas
        assert (replica.id, replica.pid) == ("r", pid)
        assert views.status(fleet, keeper, free, whole=whole).replicas == [replica]


def many(fleet: Fleet) -> None:
    for number in range(10 * SLICE):
        fleet.keep(Deployment(name=f"accounts/ada/deployments/many-{number}", base_model="m", state="READY"))


async def test_what_is_written_in_slices_is_the_snapshot(fleet: Fleet):
    many(fleet)
    statuses = [views.status(fleet, keeper, free) for keeper in fleet.keepers()]
    time, engine = fleet.rooms.clock.wall(), views.engine_info(fleet, BEGAN)
    whole = FleetSnapshot(time=time, engine=engine, deployments=statuses)
    read = json.loads(await written(fleet, free, BEGAN, None))
    assert read == json.loads(whole.model_dump_json(by_alias=True, exclude_none=True))
    assert json.loads(await written(fleet, free, BEGAN, "nobody"))["deployments"] == []


async def test_others_have_a_turn_between_any_two_slices(fleet: Fleet):
    many(fleet)
    turns, writing = 0, asyncio.create_task(written(fleet, free, BEGAN, "ada"))
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 10


async def test_who_asks_while_a_frame_is_written_gets_that_one(fleet: Fleet):
    many(fleet)
    frames = Frames()
    asked = [frames.latest(fleet, free, BEGAN, "ada", 0.0) for _ in range(5)]
    events = await asyncio.gather(*asked)
    assert len({id(event) for event in events}) == 1
