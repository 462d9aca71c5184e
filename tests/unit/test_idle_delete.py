"""A deployment with a minimum of 0 that nobody has asked for seven days is deleted, softly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import NotFound
from client.types import DeploymentSpec
from engine import declare
from engine.clock import FakeClock
from engine.control.idle import DELETE_AFTER, MISSET_S, Beat, left_s, lived_until
from engine.fleet.expiry import auto_delete_at
from engine.fleet.fleet import Fleet
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.simulated.driver import SimulatedDriver
from engine.placement.simulated.world import VirtualNode, World
from engine.store.store import Store
from tests.processes import PATIENCE_S, SMOLLM2

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_S = 86_400.0
NAME = "accounts/local/deployments/{}"


@pytest.mark.parametrize(
    ("least", "idle_s", "left"),
    [(0, 0, 7 * DAY_S), (0, 3 * DAY_S, 4 * DAY_S), (0, 7 * DAY_S, 0), (0, 9 * DAY_S, 0), (1, 9 * DAY_S, None)],
)
def test_seven_days_after_the_last_use_and_only_with_a_minimum_of_0(least, idle_s, left):
    assert left_s(least, idle_s) == left
    assert DELETE_AFTER == 7 * DAY


@given(
    went_by=st.floats(0, 10 * DAY_S), boots=st.lists(st.floats(0, 1), max_size=3), off=st.floats(0, 0.9),
    jump=st.one_of(st.floats(-MISSET_S, MISSET_S), st.floats(-1e9, 1e9)), up_s=st.floats(0, 1e8),
)  # fmt: skip
def test_no_more_is_counted_between_two_engines_than_went_by_whatever_the_wall_clock_says(
    went_by, boots, off, jump, up_s
):
    """Machines that are off for a part of the time, are started anew or not, and whose clock is set by `jump`."""
    last = Beat("b0", up_s, 1e9, 500.0)
    wall_s = last.wall_s + went_by + jump
    if not boots:
        now = Beat("b0", up_s + went_by, wall_s, 0.0)
        assert lived_until(last, now) == pytest.approx(500 + went_by)
        return
    now = Beat("b1", went_by * (1 - off) * boots[-1], wall_s, 0.0)
    assert 500 <= lived_until(last, now) <= 500 + went_by + 1e-6


@given(went_by=st.floats(0, 10 * DAY_S), misset=st.floats(-MISSET_S, MISSET_S), up_s=st.floats(0, 1e9))
def test_a_folder_that_was_copied_to_a_machine_that_has_long_been_up_counts_no_more_than_went_by(went_by, misset, up_s):
    last = Beat("here", 5.0, 1e9, 500.0)
    there = Beat("there", up_s, last.wall_s + went_by + misset, 0.0)
    assert 500 <= lived_until(last, there) <= 500 + went_by + 1e-6


def test_the_first_engine_of_a_folder_begins_at_nothing():
    assert lived_until(None, Beat("b", 1e9, 1e9, 0.0)) == 0.0


@pytest.fixture
async def house(tmp_path) -> AsyncIterator[SimpleNamespace]:
    """A fleet on a virtual clock; its deployments have a maximum of 0, so that nothing is ever placed."""
    store, clock = await Store.open(tmp_path / "db"), FakeClock(T0)
    library = Library(store)
    await library.load()
    driver = SimulatedDriver(World((VirtualNode("n1"),)), clock, tmp_path, orphan_timeout_s=30.0)
    fleet = Fleet(Rooms(driver, store, library, clock), Settings(tmp_path))
    await fleet.open()
    yield SimpleNamespace(fleet=fleet, clock=clock, store=store)
    await fleet.close()
    await store.close()


async def make(house, name: str, least: int = 0) -> None:
    spec = declare.read({"baseModel": SMOLLM2, "minReplicaCount": least, "maxReplicaCount": least})
    await house.fleet.create("local", spec, name, by="tester")


async def living(house) -> set[str]:
    await house.fleet.sweep()
    return {k.deployment.id for k in house.fleet.keepers() if not k.deleted}


async def test_it_is_deleted_on_the_seventh_day_and_can_be_brought_back(house):
    await make(house, "idle")
    house.clock.advance(7 * DAY_S - 1)
    assert await living(house) == {"idle"}
    house.clock.advance(1)
    assert await living(house) == set()
    keeper = house.fleet.get(NAME.format("idle"))
    assert keeper.deployment.purge_time == house.clock.wall() + 7 * DAY
    events = [e.message for e in await house.store.events_of(NAME.format("idle"), 0, 50) if e.reason == "Deleted"]
    assert events == ["by nobody, after 7 days without a request, can be undeleted"]

    await house.fleet.undelete(NAME.format("idle"), by="tester")
    assert await living(house) == {"idle"}, "an undelete buys another seven days"
    house.clock.advance(7 * DAY_S)
    assert await living(house) == set()
    house.clock.advance(7 * DAY_S)
    await house.fleet.sweep()
    assert house.fleet.keepers() == [], "purged when it can be undeleted no longer"


async def test_a_request_or_a_change_starts_the_week_again(house):
    for name in ("asked", "changed", "neither"):
        await make(house, name)
    house.clock.advance(3 * DAY_S)
    house.fleet.get(NAME.format("asked")).meter.began(synthetic=False)
    await house.fleet.update(NAME.format("changed"), DeploymentSpec(description="x"), None, by="tester")
    house.clock.advance(5 * DAY_S)
    assert await living(house) == {"asked", "changed"}
    assert auto_delete_at(house.fleet.get(NAME.format("asked")), house.clock.wall()) == T0 + 10 * DAY
    house.clock.advance(2 * DAY_S)
    assert await living(house) == set()
    assert auto_delete_at(house.fleet.get(NAME.format("asked")), house.clock.wall()) is None


@asynccontextmanager
async def restarted(house, jump: timedelta = timedelta(0), boot: str | None = None) -> AsyncIterator[SimpleNamespace]:
    """The next engine on the folder, after the one before was killed; the wall clock was set by `jump` meanwhile, and
    with a `boot` the machine started anew."""
    clock = FakeClock(house.clock.wall() + jump)
    if boot is None:
        clock._start -= timedelta(seconds=house.clock.monotonic())
        clock.advance(house.clock.monotonic())
    rooms = Rooms(house.fleet.rooms.driver, house.store, house.fleet.rooms.library, clock)
    if boot is not None:
        rooms.lived._boot = boot
    again = Fleet(rooms, house.fleet.settings)
    await again.open()
    try:
        yield SimpleNamespace(fleet=again, clock=clock, store=house.store)
    finally:
        for keeper in again.keepers():
            await keeper.stop()
        await again._sweep.close()


async def written(house) -> None:
    """What is used is on disk, and so is a beat."""
    async with asyncio.timeout(PATIENCE_S):
        while any(k.chronicle._written[0] != k.meter.used_at for k in house.fleet.keepers()):
            house.clock.advance(0.001)
            for keeper in house.fleet.keepers():
                keeper.look_soon()
            await asyncio.sleep(0.01)
    await house.fleet.sweep()


async def test_the_last_request_is_remembered_over_a_restart_to_the_second(house):
    for name in ("asked", "idle"):
        await make(house, name)
    await written(house)
    house.clock.advance(3 * DAY_S)
    house.fleet.get(NAME.format("asked")).meter.began(synthetic=False)
    await written(house)
    house.clock.advance(3.9 * DAY_S)
    async with restarted(house) as later:
        assert await living(later) == {"asked", "idle"}
        later.clock.advance(0.2 * DAY_S)
        assert await living(later) == {"asked"}
        later.clock.advance(2.8 * DAY_S)
        assert await living(later) == {"asked"}
        later.clock.advance(0.2 * DAY_S)
        assert await living(later) == set()


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), 3000 * DAY, -3000 * DAY])
@pytest.mark.parametrize("boot", [None, "another"])
async def test_a_clock_that_is_set_while_no_engine_runs_deletes_nothing_before_its_time(house, jump, boot):
    await make(house, "idle")
    await written(house)
    house.clock.advance(6 * DAY_S)
    await house.fleet.sweep()
    async with restarted(house, jump, boot) as later:
        assert await living(later) == {"idle"}
        shown = auto_delete_at(later.fleet.get(NAME.format("idle")), later.clock.wall()) - later.clock.wall()
        assert abs(shown - DAY) < timedelta(seconds=2)
        later.clock.advance(DAY_S - 2)
        assert await living(later) == {"idle"}
        later.clock.advance(2)
        assert await living(later) == set()


async def test_what_was_declared_before_this_was_written_down_has_a_week_from_now(house):
    await make(house, "old")
    await written(house)
    await house.store._run(house.store._db.execute, "UPDATE deployments SET used_lived_s = NULL")
    house.clock.advance(30 * DAY_S)
    async with restarted(house) as later:
        assert await living(later) == {"old"}
        later.clock.advance(7 * DAY_S)
        assert await living(later) == set()


async def test_one_with_work_is_left_alone(house):
    await make(house, "busy")
    house.clock.advance(8 * DAY_S)
    keeper = house.fleet.get(NAME.format("busy"))
    keeper.running = lambda: 1
    assert await living(house) == {"busy"}


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), 8 * DAY, 3000 * DAY])
async def test_a_clock_that_is_set_deletes_and_purges_nothing_before_its_time(house, jump):
    await make(house, "idle")
    await make(house, "gone", least=1)
    await house.fleet.delete(NAME.format("gone"), by="tester", hard=False, ignore_checks=True)
    house.clock._start += jump
    house.clock.advance(7 * DAY_S - 1)
    assert await living(house) == {"idle"}
    assert house.fleet.get(NAME.format("gone")).deleted
    house.clock.advance(1)
    assert await living(house) == set()
    house.clock.advance(max(0.0, -jump.total_seconds()))  # its purge time is an instant of the wall clock as well
    await house.fleet.sweep()
    with pytest.raises(NotFound):
        house.fleet.get(NAME.format("gone"))
