"""Roll-outs that stop, go on, find no room and are taken back, and what is said of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from client.conditions import CAPACITY_LIMITED, ROLLOUT_STOPPED
from client.fleet_types import Condition
from engine.control.backoff import FAILURES_UNTIL_FAILED, STEADY_AFTER_S
from engine.control.reconcile import Do, Stage, Step
from engine.fleet.arrival import Arrival
from engine.fleet.record import MESSAGE_CHARS
from engine.fleet.replica import Replica
from engine.fleet.template import Template
from tests.processes import PATIENCE_S
from tests.unit.keeper_house import NAME, House, holding_up, house, started

__all__ = ["house", "started"]


async def fail_to_roll_out(house: House) -> None:
    """New settings whose replicas fail again and again."""
    await house.change(max_batch_size=8)
    await house.look()
    for i in range(FAILURES_UNTIL_FAILED):
        house.add(f"new{i}", house.generation(), Stage.INITIALIZING)
        house.driver.dead.add(f"new{i}")
        await house.keeper.replicas.do(Step(Do.BURY, f"new{i}"), Template("d", "m", 1, 1))
    await house.look()


async def test_a_stopped_roll_out_is_told_and_the_former_settings_replace_what_dies(house, started):
    house.add("old", old := house.generation())
    await house.look()
    await fail_to_roll_out(house)
    shown = house.keeper.deployment
    assert (shown.state, shown.replica_stats.ready_replica_count) == ("READY", 1)
    assert shown.status.to_wire() == {
        "code": "ABORTED",
        "message": "roll-out stopped: new replicas do not start, the former settings go on serving; "
        "change the deployment again, or take the change back: ended with exit status 3; log: it broke",
    }
    events = {event.reason: event for event in await house.store.events_of(NAME, 0, 100)}
    assert events["RolloutStopped"].message == shown.status.message.partition(": ")[2]
    assert (events["StateChanged"].kind, events["StateChanged"].message) == (
        "Warning", f"UPDATING -> READY: {shown.status.message}",
    )  # fmt: skip
    assert house.keeper.hopeless() is None
    started.clear()
    house.driver.dead.add("old")
    await house.look(100)  # it is buried
    await house.look(100)  # after the back-off of its own
    assert {t.generation for t in started} == {old}
    assert house.keeper.hopeless() is None


async def look_on(house: House, least: int) -> Condition | None:
    """A look at which at least so many are ready, and what it found; what has a process before it is ready in it."""
    for replica in house.keeper.replicas:
        if replica.stage == Stage.INITIALIZING:
            replica.enter(Stage.READY)
    await house.look()
    for _ in range(20):
        await asyncio.sleep(0)  # the line calls who waits
    assert len(house.keeper.ready()) >= least
    return next(iter(holding_up(house)), None)


async def test_a_roll_out_on_a_full_fleet_replaces_one_after_the_other_and_says_what_it_waits_for(house, monkeypatch):
    async def of(self: Arrival, replica: Replica, template: Template) -> None:
        await self._place(replica, template, template.launch(replica.id, "key", Path("/m"), None, cores=1))

    monkeypatch.setattr(Arrival, "of", of)
    house.driver.room = 3
    await house.change(min_replica_count=2, max_replica_count=5)
    house.keeper.scale_to(5)
    async with asyncio.timeout(PATIENCE_S):
        while not ((full := await look_on(house, least=0)) and len(house.keeper.ready()) == 3):
            pass
        assert (full.placed, full.wanted, full.message) == (3, 5, "no L4 is free")
        await house.change(max_batch_size=8)
        said = set()
        while "RolloutDone" not in await house.reasons():
            found = await look_on(house, least=2)
            said |= {(found.placed, found.message)} if found else set()
        assert (
            2, "the roll-out waits for room, 0 of 2 replicas that are placed have the new settings: no L4 is free",
        ) in said  # fmt: skip
        while len(house.keeper.ready()) < 3 or house.keeper.deployment.replica_count != 5:
            await look_on(house, least=2)
    assert {r.generation for r in house.keeper.replicas} == {house.generation()}


async def test_taking_the_change_back_heals_a_stopped_roll_out_without_a_new_replica(house, started):
    house.add("old", house.generation())
    await house.look()
    await fail_to_roll_out(house)
    await house.change(max_batch_size=4)
    house.keeper.retry_now()
    started.clear()
    await house.look()
    shown = house.keeper.deployment
    assert (shown.state, shown.status.message, started) == ("READY", "", [])
    assert holding_up(house) == []


async def test_a_stopped_roll_out_is_a_condition_since_it_was_given_up_until_somebody_changes_something(house, started):
    house.add("old", house.generation())
    await house.look()
    assert holding_up(house) == []
    await fail_to_roll_out(house)
    given_up = house.clock.wall()
    for _ in range(3):
        await house.look(20)
    (condition,) = holding_up(house)
    assert condition.to_wire() == {
        "type": "RolloutStopped", "reason": "ROLLOUT_STOPPED", "since": condition.to_wire()["since"],
        "message": "new replicas do not start, the former settings go on serving; "
        "change the deployment again, or take the change back: ended with exit status 3; log: it broke",
    }  # fmt: skip
    assert condition.since == given_up
    await house.change(max_batch_size=16)
    house.keeper.retry_now()
    await house.look()
    assert holding_up(house) == []
    assert house.keeper.deployment.state == "UPDATING"


async def test_what_stopped_a_roll_out_is_told_as_shortly_as_in_the_status(house, started):
    house.add("old", house.generation())
    await house.look()
    await fail_to_roll_out(house)
    house.keeper.replicas.starts.failed(house.generation(), house.clock.monotonic(), "it broke " * 1000)
    (condition,) = holding_up(house)
    assert len(condition.message) == MESSAGE_CHARS


async def test_a_stopped_roll_out_does_not_say_that_former_settings_serve_when_they_do_not_start(house, started):
    house.add("old", old := house.generation())
    await house.look()
    await fail_to_roll_out(house)
    house.driver.dead.add("old")
    await house.look()
    for i in range(FAILURES_UNTIL_FAILED):
        house.keeper.replicas.starts.failed(old, house.clock.monotonic() + i, "no memory")
    await house.look()
    shown = house.keeper.deployment
    assert shown.state == "FAILED"
    assert "the former settings do not start either (no memory); change the deployment again" in shown.status.message
    (condition,) = holding_up(house)
    assert condition.message in shown.status.message


@pytest.mark.parametrize(("failures", "left"), [(1, 0), (FAILURES_UNTIL_FAILED, 1)], ids=["one death", "one serves"])
async def test_former_settings_that_died_now_and_then_are_not_said_not_to_start(house, started, failures, left):
    for name in ("old", "other"):
        house.add(name, old := house.generation())
    await house.look()
    await fail_to_roll_out(house)
    house.driver.dead |= {"old", "other"} if not left else {"old"}
    await house.look()
    house.keeper.replicas.starts.forget()
    for generation, count in ((old, failures), (house.generation(), FAILURES_UNTIL_FAILED)):
        for i in range(count):
            house.keeper.replicas.starts.failed(generation, house.clock.monotonic() + i, "no memory")
    await house.look()
    (condition,) = holding_up(house)
    assert "the former settings go on serving" in condition.message


async def test_a_deleted_deployment_has_no_condition(house, started):
    waiting = house.add("old", house.generation())
    await house.look()
    await fail_to_roll_out(house)
    waiting.placed, waiting.short_since = None, 0.0
    assert [condition.type for condition in holding_up(house)] == [
        ROLLOUT_STOPPED,
        CAPACITY_LIMITED,
    ]
    await house.change(delete_time=house.clock.wall())
    assert holding_up(house) == []


async def test_the_settings_that_served_are_remembered_across_engines_and_new_ones_only_when_steady(house, started):
    house.add("old", old := house.generation())
    await house.look()
    stored = json.loads((await house.store.served_settings())[NAME])
    assert stored["generation"] == old
    await house.change(max_batch_size=8)
    house.keeper.replicas.replicas.clear()
    house.add("new", new := house.generation())
    await house.look()
    assert json.loads((await house.store.served_settings())[NAME])["generation"] == old
    for _ in range(int(STEADY_AFTER_S / 5) + 1):
        await house.look(5)
    doc = (await house.store.served_settings())[NAME]
    assert json.loads(doc)["generation"] == new
    house.keeper.rollout.restore(doc)
    assert house.keeper.rollout.template(new).slots == 8


async def test_remembered_settings_that_cannot_be_read_are_forgotten(house, started):
    house.keeper.rollout.restore('{"unknown": 1}')
    await house.look()
    assert [t.slots for t in started] == [4]
