"""A deployment with a minimum of 0 that nobody has asked for seven days is deleted, softly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from client.errors import NotFound
from client.types import DeploymentSpec
from engine import declare
from engine.clock import FakeClock
from engine.control.idle import DELETE_AFTER, delete_at
from engine.fleet.fleet import Fleet
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.simulated.driver import SimulatedDriver
from engine.placement.simulated.world import VirtualNode, World
from engine.store.store import Store
from tests.processes import SMOLLM2

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_S = 86_400.0
NAME = "accounts/local/deployments/{}"


@pytest.mark.parametrize(
    ("least", "touched", "due"),
    [
        (0, [T0], T0 + 7 * DAY),
        (0, [T0, None, None], T0 + 7 * DAY),
        (0, [T0, T0 + DAY, None], T0 + 8 * DAY),
        (0, [T0, T0 + DAY, T0 + 3 * DAY], T0 + 10 * DAY),
        (0, [None], None),
        (1, [T0], None),
    ],
)
def test_seven_days_after_the_last_touch_and_only_with_a_minimum_of_0(least, touched, due):
    assert delete_at(least, touched) == due
    assert DELETE_AFTER == 7 * DAY


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
    assert house.fleet.get(NAME.format("asked")).auto_delete_at() == T0 + 10 * DAY
    house.clock.advance(2 * DAY_S)
    assert await living(house) == set()
    assert house.fleet.get(NAME.format("asked")).auto_delete_at() is None


async def test_the_last_request_is_remembered_over_a_restart(house):
    await make(house, "idle")
    await house.store.touch_deployment(NAME.format("idle"), T0 + 3 * DAY)
    house.clock.advance(8 * DAY_S)
    again = Fleet(house.fleet.rooms, house.fleet.settings)
    await again.open()
    await again.sweep()
    assert [k.deleted for k in again.keepers()] == [False]
    await again.close()


async def test_one_with_work_is_left_alone(house):
    await make(house, "busy")
    house.clock.advance(8 * DAY_S)
    keeper = house.fleet.get(NAME.format("busy"))
    keeper.running = lambda: 1
    assert await living(house) == {"busy"}


async def test_a_clock_that_is_set_a_week_ahead_deletes_and_purges_nothing_until_it_has_stood_for_an_hour(house):
    await make(house, "idle")
    await make(house, "gone", least=1)
    await house.fleet.delete(NAME.format("gone"), by="tester", hard=False, ignore_checks=True)
    house.clock._start += 8 * DAY
    assert await living(house) == {"idle"}
    assert house.fleet.get(NAME.format("gone")).deleted
    house.clock._start -= 8 * DAY
    assert await living(house) == {"idle"}
    house.clock._start += 8 * DAY
    await house.fleet.sweep()
    house.clock.advance(3599)
    assert await living(house) == {"idle"}
    house.clock.advance(1)
    assert await living(house) == set()
    with pytest.raises(NotFound):
        house.fleet.get(NAME.format("gone"))
