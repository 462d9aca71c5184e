"""One deployment's loop: sleeping engines, jumping clocks, starts that fail, what is shown of it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, Unavailable
from engine.control.backoff import FAILURES_UNTIL_FAILED
from engine.control.reconcile import SILENT_AFTER_S, Do, Stage, Step
from engine.fleet.arrival import Arrival
from engine.fleet.checks import check_unused
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.template import Template, template_of
from engine.placement.port import Placed, Taken
from engine.telemetry.meter import Usage
from tests.unit.keeper_house import NAME, House, house, started

__all__ = ["house", "started"]


async def test_a_wall_clock_that_jumps_an_hour_either_way_fires_nothing(house, started):
    replica = house.add("r", house.generation())
    for _ in range(5):
        await house.look()
    before = await house.reasons()
    for hours in (1, -2, 1):
        house.clock.offset += timedelta(hours=hours)
        for _ in range(5):
            await house.look()
    assert (replica.stage, started, await house.reasons()) == (Stage.READY, [], before)
    assert house.keeper.deployment.state == "READY"


async def test_an_engine_that_was_stopped_for_a_while_does_not_take_its_replicas_for_dead(house, started):
    replica = house.add("r", house.generation())
    await house.look()
    house.clock.advance(3600)
    await house.keeper.tick()  # before a single replica could be asked again
    assert replica.stage == Stage.READY
    for _ in range(int(SILENT_AFTER_S) + 1):
        house.clock.advance(1)
        await house.keeper.tick()
    assert replica.stage == Stage.STOPPING


@pytest.fixture
def failing(house: House, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When replicas were started: each has a process that dies while it loads."""
    started: list[float] = []

    async def arrive(self: Arrival, replica: Replica, template: Template) -> None:
        replica.attach(Placed(replica.id, Path("/nowhere"), 1), None)
        replica.enter(Stage.INITIALIZING)
        house.driver.dead.add(replica.id)

    start = ReplicaSet._start

    def counted(self: ReplicaSet, template: Template) -> None:
        started.append(house.clock.monotonic())
        start(self, template)

    monkeypatch.setattr(Arrival, "of", arrive)
    monkeypatch.setattr(ReplicaSet, "_start", counted)
    return started


async def die_at_load(house: House, seconds: float) -> list[float]:
    """When starts failed, in looks as frequent as deaths make them."""
    generation, failed_at = house.generation(), []
    until = house.clock.monotonic() + seconds
    while house.clock.monotonic() < until:
        await house.look(0.125)
        for _ in range(5):
            await asyncio.sleep(0)  # what was started gets its process
        backoff = house.keeper.replicas.backoff(generation)
        if backoff.failures > len(failed_at):
            failed_at.append(backoff.last_failure_at)
    return failed_at


async def test_each_wait_that_is_announced_after_a_failed_start_is_kept(house, failing):
    failed_at = await die_at_load(house, 40)
    waits = [next(at for at in failing if at >= failed) - failed for failed in failed_at[:5]]
    assert waits == [1, 2, 4, 8, 16]
    assert house.keeper.deployment.state == "FAILED"
    events = await house.store.events_of(NAME, 0, 100)
    said = [e.message.partition("s from now")[0] for e in events if e.reason == "ReplicaFailed"]
    assert [f"start {n} failed, the next not before {s}" for n, s in enumerate((1, 2, 4, 8, 16), 1)] == sorted(said)[:5]


@pytest.mark.parametrize("breaks", ["says so", "wedges"])
async def test_each_wait_is_kept_by_replicas_that_break_right_after_they_were_ready_and_take_long_to_end(
    house, monkeypatch, started, breaks
):
    monkeypatch.setattr(house.driver, "stop", lambda placed, force: None)  # their processes do not go
    starts: list[float] = []
    while len(starts) < 6:
        await house.look(0.125)
        if started:
            started.clear()
            starts.append(house.clock.monotonic())
            young = house.add(f"r{len(starts)}", house.generation())
            if breaks == "says so":
                young.take({"status": "failed", "reason": "its scheduler died"})
            else:
                step = Step(Do.TERMINATE, young.id, "made no token", fault=True)
                await house.keeper.replicas.do(step, template_of(house.keeper.deployment))
    waits = [later - sooner for sooner, later in itertools.pairwise(starts)]
    assert waits == [pytest.approx(wait, abs=0.3) for wait in (1, 2, 4, 8, 16)]
    for replica in house.keeper.replicas:
        house.driver.dead.add(replica.id)
    await house.look()
    assert house.keeper.replicas.obituaries.restarts == len(starts), "each is counted once"
    assert (await house.reasons()).count("ReplicaDied") == len(starts)


async def test_a_replica_that_crashes_a_minute_after_every_start_makes_the_deployment_failed(house, started):
    for n in range(1, FAILURES_UNTIL_FAILED + 1):
        while not started:
            await house.look(1)
        started.clear()
        house.add(f"r{n}", house.generation())
        for _ in range(61):
            await house.look(1)
        assert house.keeper.deployment.state == "READY"
        house.driver.dead.add(f"r{n}")
        await house.look(1)
    shown = house.keeper.deployment
    assert (shown.state, shown.status.message) == ("FAILED", "ended with exit status 3; log: it broke")
    assert house.keeper.hopeless() is not None


async def test_one_that_serves_as_it_is_declared_shows_no_error_of_starts_that_failed_before(house, started):
    for _ in range(FAILURES_UNTIL_FAILED):
        house.keeper.replicas.starts.failed(house.generation(), house.clock.monotonic(), "it cannot be loaded")
    await house.look()
    shown = house.keeper.deployment
    assert (shown.state, shown.status.message) == ("FAILED", "it cannot be loaded")
    house.add("r", house.generation())
    await house.look()
    shown = house.keeper.deployment
    assert (shown.state, shown.status.message) == ("READY", "")


async def test_one_whose_replicas_are_preempted_again_and_again_never_fails(house, started):
    for n in range(2 * FAILURES_UNTIL_FAILED):
        house.add(f"r{n}", house.generation())
        await house.look()
        started.clear()
        house.driver.took[f"r{n}"] = Taken.PREEMPTED
        house.driver.dead.add(f"r{n}")
        await house.look(0.5)
        await house.look(0.5)
        assert len(started) == 1, "it is replaced by the next look"
    assert house.keeper.deployment.state == "READY"
    assert {"ReplicaDied", "ReplicaFailed"}.isdisjoint(await house.reasons())


async def test_no_replica_of_settings_that_were_given_up_starts_after_the_roll_out_has_stopped(house, failing):
    house.add("old", house.generation())
    await house.look()
    await house.change(max_batch_size=8)
    await die_at_load(house, 60)
    assert len(failing) == FAILURES_UNTIL_FAILED
    reasons = await house.reasons()
    assert "RolloutStopped" in reasons
    assert "ReplicaStopped" not in reasons


async def test_the_stages_of_replicas_are_counted_as_the_contract_names_them(house, started):
    for stage in (Stage.READY, Stage.INITIALIZING, Stage.DOWNLOADING_MODEL):
        house.add(stage.value, house.generation(), stage)
    waiting = Replica("waiting", house.generation(), "key", house.clock, house.keeper.figures)
    house.keeper.replicas.replicas["waiting"] = waiting
    await house.change(max_replica_count=4, min_replica_count=4)
    await house.look()
    assert house.keeper.deployment.to_wire()["replicaStats"] == {
        "pendingSchedulingReplicaCount": 1, "downloadingModelReplicaCount": 1, "initializingReplicaCount": 1,
        "readyReplicaCount": 1,
    }  # fmt: skip


async def test_what_is_seen_is_shown_while_the_disk_takes_nothing_and_written_once_it_does(
    house, started, monkeypatch, caplog
):
    async def refuse(*_args: object) -> None:
        raise Unavailable("the disk is full")

    house.add("r", house.generation())
    house.keeper.meter.began(synthetic=False)
    with monkeypatch.context() as failing:
        failing.setattr(house.store, "put_deployment", refuse)
        failing.setattr(house.store, "touch_deployment", refuse)
        for _ in range(30):
            await house.look(1)
    shown = house.keeper.deployment
    assert (shown.state, shown.replica_stats.ready_replica_count) == ("READY", 1)
    assert len(house.keeper.recorder.read(NAME, 60).times) > 20
    assert [r.message for r in caplog.records if "written" in r.message] == [
        f"{NAME}: what is seen of it is not written down: the disk is full"
    ]
    assert [s.deployment.state for s in await house.store.deployments()] == ["CREATING"]
    await house.look(10)
    stored = (await house.store.deployments())[0]
    assert (stored.deployment.state, stored.last_request_at) == ("READY", house.keeper.meter.last_request_at)
    assert house.keeper.record.unwritten == house.keeper.chronicle.unwritten == ""


async def test_a_deployment_that_was_asked_and_never_answered_is_in_use_for_a_minute_and_the_refusal_says_that(house):
    def check() -> None:
        check_unused(house.keeper, house.clock.wall())

    check()
    house.keeper.meter.began(synthetic=False)
    house.keeper.meter.ended(code=499, failed=False, seconds=30.0, usage=Usage())
    house.clock.advance(59)
    with pytest.raises(FailedPrecondition, match="is in use: it was asked less than a minute ago"):
        check()
    house.clock.advance(2)
    check()


async def test_it_is_ready_at_zero_only_once_its_settings_have_answered(house, started):
    await house.change(min_replica_count=0)
    house.keeper.scale_to(0)
    for _ in range(3):
        await house.look()
    assert (house.keeper.deployment.state, started) == ("CREATING", [])
    house.keeper.scale_to(1)
    house.add("r", house.generation())
    await house.look()
    assert house.keeper.deployment.state == "READY"
    house.keeper.scale_to(0)
    await house.change(state="CREATING")  # as after an undelete
    house.keeper.replicas.replicas.clear()
    await house.look()
    assert house.keeper.deployment.state == "READY"
    await house.change(state="CREATING", max_replica_count=0, max_batch_size=8)
    await house.look()
    assert house.keeper.deployment.state == "READY", "it is switched off"
