"""What those who watch the fleet are sent: one frame for all, the newest for who comes late, nobody held for ever."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.fleet_types import Condition, FleetChanges, FleetSnapshot
from client.types import AutoscalingPolicy, Deployment
from engine.clock import FakeClock
from engine.fleet import views
from engine.fleet.fleet import Fleet
from engine.fleet.frames import RAREST_S, SLICE, SPARED, Frame, Frames, seen
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


def names(frame: Frame) -> list[str]:
    return [status.deployment.name for status in whole_in(frame.event).deployments]


def data_of(event: bytes) -> bytes:
    assert (event[:6], event[-2:]) == (b"data: ", b"\n\n")
    return event.removeprefix(b"data: ")


def whole_in(event: bytes) -> FleetSnapshot:
    return FleetSnapshot.model_validate_json(data_of(event))


def asked(fleet: Fleet, account: str) -> None:
    """Somebody has sent a request to the account's deployment."""
    fleet.get(f"accounts/{account}/deployments/d").meter.began(synthetic=False)


async def test_all_who_watch_an_account_get_the_same_bytes_until_they_are_too_old(fleet: Fleet):
    frames = Frames()
    first = await frames.latest(fleet, free, BEGAN, "ada", 0.5)
    fleet.rooms.clock.advance(0.5)
    again = await frames.latest(fleet, free, BEGAN, "ada", 0.5)
    assert again is first
    assert again.event is first.event
    assert await frames.latest(fleet, free, BEGAN, "ada", 0.1) is not first
    fleet.rooms.clock.advance(0.6)
    assert await frames.latest(fleet, free, BEGAN, "ada", 0.5) is not first


async def test_frames_that_take_long_come_more_rarely(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    status = views.status

    def slowly(*of, **how):
        fleet.rooms.clock.advance(took_s / 2)
        return status(*of, **how)

    monkeypatch.setattr(views, "status", slowly)
    for took_s, good_for_s in ((0.5, (1 + SPARED) * 0.5), (3.0, RAREST_S)):
        frames = Frames()
        first = await frames.latest(fleet, free, BEGAN, None, 0.5)
        assert first.took_s == took_s
        fleet.rooms.clock.advance(good_for_s - took_s)
        assert await frames.latest(fleet, free, BEGAN, None, 0.5) is first
        fleet.rooms.clock.advance(0.5)
        assert await frames.latest(fleet, free, BEGAN, None, 0.5) is not first


async def test_an_account_is_never_sent_what_was_made_for_another(fleet: Fleet):
    frames = Frames()
    shown = [names(await frames.latest(fleet, free, BEGAN, account, 60.0)) for account in ("ada", "eve", None, "ada")]
    ada, eve = "accounts/ada/deployments/d", "accounts/eve/deployments/d"
    assert shown == [[ada], [eve], [ada, eve], [ada]]


async def test_which_process_a_replica_is_stands_in_whole_frames_alone(fleet: Fleet):
    [keeper] = fleet.keepers("ada")
    keeper.replicas.add("r", "g", "key").attach(Placed("r", Path("/nowhere"), 4242), None)
    for whole, pid in ((True, 4242), (False, None)):
        read = whole_in((await seen(fleet, free, BEGAN, "ada", whole=whole)).event)
        [replica] = read.deployments[0].replicas
        assert (replica.id, replica.pid) == ("r", pid)
        assert views.status(fleet, keeper, free, whole=whole).replicas == [replica]


def looked(fleet: Fleet) -> None:
    """A second later all autoscalers have decided again."""
    fleet.rooms.clock.advance(1.0)
    for keeper in fleet.keepers():
        keeper.autoscaler.sample(fleet.rooms.clock.monotonic(), arriving=False)
        keeper.autoscaler.decide(fleet.rooms.clock.monotonic())


def many(fleet: Fleet) -> None:
    for number in range(10 * SLICE):
        fleet.keep(Deployment(name=f"accounts/ada/deployments/many-{number}", base_model="m", state="READY"))


async def test_what_is_written_in_slices_is_the_snapshot(fleet: Fleet):
    many(fleet)
    statuses = [views.status(fleet, keeper, free) for keeper in fleet.keepers()]
    time, engine = fleet.rooms.clock.wall(), views.engine_info(fleet, BEGAN)
    whole = FleetSnapshot(time=time, engine=engine, deployments=statuses)
    read = json.loads((await seen(fleet, free, BEGAN, None)).snapshot())
    assert read == json.loads(whole.model_dump_json(by_alias=True, exclude_none=True))
    assert json.loads((await seen(fleet, free, BEGAN, "nobody")).snapshot())["deployments"] == []


async def test_others_have_a_turn_between_any_two_slices(fleet: Fleet):
    many(fleet)
    turns, writing = 0, asyncio.create_task(seen(fleet, free, BEGAN, "ada"))
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 10


async def test_who_asks_while_a_frame_is_written_gets_that_one(fleet: Fleet):
    many(fleet)
    frames = Frames()
    got = await asyncio.gather(*(frames.latest(fleet, free, BEGAN, "ada", 0.0) for _ in range(5)))
    assert len({id(frame) for frame in got}) == 1


async def test_changes_on_the_snapshot_before_are_the_snapshot(fleet: Fleet):
    first = await seen(fleet, free, BEGAN, None)
    fleet.rooms.clock.advance(1.0)
    asked(fleet, "eve")
    second = await seen(fleet, free, BEGAN, None, first)
    changes = FleetChanges.model_validate_json(data_of(second.event_since(first)))
    assert [one.deployment.name for one in changes.changed] == ["accounts/eve/deployments/d"]
    former = whole_in(first.event)
    now = changes.on(former)
    assert now == whole_in(second.event)
    assert now.deployments[0] is former.deployments[0]


async def test_a_fleet_at_rest_has_no_changes_however_often_it_is_looked_at(fleet: Fleet):
    windows = AutoscalingPolicy(scale_down_window=timedelta(minutes=10), scale_to_zero_window=timedelta(hours=1))
    for keeper in fleet.keepers():
        keeper.record.deployment = keeper.deployment.model_copy(update={"autoscaling_policy": windows})
    looked(fleet)
    frame = await seen(fleet, free, BEGAN, None)
    for _ in range(5):
        looked(fleet)
        former, frame = frame, await seen(fleet, free, BEGAN, None, frame)
    assert FleetChanges.model_validate_json(data_of(frame.event_since(former))).changed == []


async def test_who_missed_one_or_has_none_or_sees_other_deployments_gets_all(fleet: Fleet):
    first = await seen(fleet, free, BEGAN, None)
    second = await seen(fleet, free, BEGAN, None, first)
    third = await seen(fleet, free, BEGAN, None, second)
    assert third.event_since(first) is third.event
    assert third.event_since(None) is third.event
    assert third.event_since(second) is not third.event
    fleet.keep(Deployment(name="accounts/eve/deployments/new", base_model="m", state="CREATING"))
    fourth = await seen(fleet, free, BEGAN, None, third)
    assert fourth.event_since(third) is fourth.event
