"""One deployment's loop on a clock that tests turn: sleeping engines, jumping clocks, roll-outs remembered.

Replicas are handles without a process; the store is a real one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, Unavailable
from client.fleet_types import CAPACITY_LIMITED, ROLLOUT_STOPPED, Condition
from client.types import AutoscalingPolicy, Deployment
from engine.clock import FakeClock
from engine.control.backoff import FAILURES_UNTIL_FAILED, STEADY_AFTER_S
from engine.control.reconcile import SILENT_AFTER_S, Do, Stage, Step
from engine.fleet.arrival import Arrival
from engine.fleet.checks import check_unused
from engine.fleet.conditions import conditions
from engine.fleet.keeper import Keeper
from engine.fleet.record import MESSAGE_CHARS
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rooms import Rooms
from engine.fleet.template import Template, template_of
from engine.placement.port import Launch, Node, Placed, Stockout
from engine.store.store import Store
from engine.telemetry.meter import Usage
from tests.processes import PATIENCE_S

NAME = "accounts/local/deployments/d"
POLICY = AutoscalingPolicy(
    scale_up_window=timedelta(seconds=30), scale_down_window=timedelta(minutes=10),
    scale_to_zero_window=timedelta(hours=1), load_targets={"default": 0.8},
)  # fmt: skip


class JumpingClock(FakeClock):
    """A wall clock that somebody sets; the monotonic one goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.offset


class Still:
    """A driver whose processes live until they are killed, with room for so many that it started."""

    simulated = True

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.room, self.started = 0, set[str]()

    def nodes(self) -> list[Node]:
        return []

    def node_of(self, placed: Placed) -> None:
        return

    def socket_of(self, replica: str) -> Path:
        return Path("/nowhere")

    async def start(self, launch: Launch) -> Placed:
        if len(self.started) >= self.room:
            raise Stockout("no L4 is free")
        self.started.add(launch.replica)
        return Placed(launch.replica, Path("/nowhere"), 1)

    def alive(self, placed: Placed) -> bool:
        return placed.replica not in self.dead

    def stop(self, placed: Placed, *, force: bool) -> None:
        self.dead.add(placed.replica)

    def forget(self, placed: Placed) -> None:
        self.started.discard(placed.replica)

    def ending(self, placed: Placed) -> str:
        return "ended with exit status 3"

    def crashed(self, placed: Placed) -> bool:
        return True

    def last_words(self, replica: str) -> str:
        return "it broke"


@dataclass
class House:
    keeper: Keeper
    clock: JumpingClock
    driver: Still
    store: Store

    async def look(self, after_s: float = 0.5) -> None:
        """One tick, with all replicas heard just before."""
        self.clock.advance(after_s)
        for replica in self.keeper.replicas:
            self.hear(replica)
        await self.keeper.tick()

    def hear(self, replica: Replica) -> None:
        replica.vitals.take({"running": 0, "waiting": 0}, self.clock.monotonic())
        replica.report.at = self.clock.monotonic()

    def add(self, name: str, generation: str, stage: Stage = Stage.READY) -> Replica:
        replica = Replica(name, generation, "key", self.clock, self.keeper.figures)
        replica.placed = Placed(name, Path("/nowhere"), 1)
        for step in (Stage.INITIALIZING, stage):
            replica.enter(step)
        self.keeper.replicas.replicas[name] = replica
        self.hear(replica)
        return replica

    def generation(self) -> str:
        return template_of(self.keeper.deployment, gpus=0).generation

    async def reasons(self) -> list[str]:
        return [event.reason for event in await self.store.events_of(NAME, 0, 100)]

    async def change(self, **fields: object) -> None:
        await self.keeper.declare(lambda d: d.model_copy(update=fields))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock, driver, store = JumpingClock(), Still(), await Store.open(tmp_path / "state.db")
    made = Deployment(
        name=NAME, base_model="m", state="CREATING", create_time=datetime.now(UTC), min_replica_count=1,
        max_replica_count=1, max_batch_size=4, max_context_length=512, autoscaling_policy=POLICY,
    )  # fmt: skip
    await store.put_deployment(made)
    keeper = Keeper(made, Rooms(driver, store, None, clock), lambda: 1, 0)  # type: ignore[arg-type]
    keeper.begin(1)
    yield House(keeper, clock, driver, store)
    await keeper.stop()
    await store.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """What replicas were started with, instead of starting them."""
    templates: list[Template] = []
    monkeypatch.setattr(ReplicaSet, "_start", lambda self, template: templates.append(template))
    return templates


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


def holding_up(house: House) -> list[Condition]:
    return conditions(house.keeper, house.clock, lambda deployment: [])


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
                await house.keeper.replicas.do(step, template_of(house.keeper.deployment, gpus=0))
    waits = [later - sooner for sooner, later in itertools.pairwise(starts)]
    assert waits == [pytest.approx(wait, abs=0.3) for wait in (1, 2, 4, 8, 16)]
    for replica in house.keeper.replicas:
        house.driver.dead.add(replica.id)
    await house.look()
    assert house.keeper.replicas.restarts == len(starts), "each is counted once"
    assert (await house.reasons()).count("ReplicaDied") == len(starts)


async def test_no_replica_of_settings_that_were_given_up_starts_after_the_roll_out_has_stopped(house, failing):
    house.add("old", house.generation())
    await house.look()
    await house.change(max_batch_size=8)
    await die_at_load(house, 60)
    assert len(failing) == FAILURES_UNTIL_FAILED
    reasons = await house.reasons()
    assert "RolloutStopped" in reasons
    assert "ReplicaStopped" not in reasons


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
