"""How starts that fail are counted, and when they are forgiven. Replicas here are handles without a process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.clock import FakeClock
from engine.control.backoff import STANDING_AFTER_S, STEADY_AFTER_S
from engine.control.reconcile import Do, Stage, Step
from engine.fleet.hop import Hop
from engine.fleet.obituaries import PREEMPTED, REASON_CHARS
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rooms import Rooms
from engine.fleet.template import Template
from engine.library import Library
from engine.placement.port import Node, Placed, Taken
from engine.store.store import Statement
from engine.telemetry.replica_figures import ReplicaFigures

NEW, OLD = "new", "old"
TEMPLATE = Template("accounts/local/deployments/d", "m", 8, 2048, generation=NEW)


class Nowhere:
    """A driver whose processes are gone, and that remembers what it was told."""

    simulated = True

    def __init__(self) -> None:
        self.stopped: list[tuple[str, bool]] = []

    def alive(self, placed: Placed) -> bool:
        return False

    def stop(self, placed: Placed, *, force: bool) -> None:
        self.stopped.append((placed.replica, force))

    def forget(self, placed: Placed) -> None:
        return

    def ending(self, placed: Placed) -> str:
        return "killed by signal 9 (SIGKILL)"

    def crashed(self, placed: Placed) -> bool:
        return True

    def taken(self, placed: Placed) -> Taken | None:
        return None

    def last_words(self, replica: str) -> str:
        return "first line\nit broke"


class Forgetful:
    """A store that takes everything."""

    async def transact(self, statements: list[Statement]) -> None:
        return


class SaysAlways(Hop):
    """The way to a replica that gives this answer to every look."""

    def __init__(self, answer: dict[str, object]) -> None:
        super().__init__("/nowhere", "key")
        self._answer = json.dumps(answer).encode()

    async def get(self, path: str, most: int) -> bytes:
        return self._answer


@pytest.fixture
def house():
    clock, driver, told = FakeClock(), Nowhere(), []

    async def announce(kind: str, reason: str, message: str, replica: str | None = None) -> None:
        told.append((reason, message))

    store = Forgetful()
    rooms = Rooms(driver, store, Library(store), clock)
    figures = ReplicaFigures()
    replicas = ReplicaSet(rooms, announce, lambda: None, lambda: 1, figures)
    return SimpleNamespace(clock=clock, driver=driver, told=told, figures=figures, set=replicas, rooms=rooms)


def add(house, name: str, stage: Stage, generation: str = NEW) -> Replica:
    replica = house.set.add(name, generation, "key")
    replica.placed = Placed(name, Path("/nowhere"), 1)
    for step in (Stage.INITIALIZING, stage):
        replica.enter(step)
    return replica


async def bury(house, name: str) -> None:
    await house.set.do(Step(Do.BURY, name), TEMPLATE)


async def test_every_replica_gets_a_long_random_key_of_its_own(house, monkeypatch):
    async def nowhere(self: ReplicaSet, replica: Replica, template: Template) -> None:
        return

    monkeypatch.setattr(ReplicaSet, "_bring_up", nowhere)
    for _ in range(20):
        await house.set.do(Step(Do.START), TEMPLATE)
    keys = {replica.key for replica in house.set}
    assert len(keys) == 20
    assert len({key[:4] for key in keys}) > 10, "random from the first character"
    assert min(map(len, keys)) >= 43, "256 bits"
    await house.set.close()


async def test_a_start_that_fails_beside_a_steady_replica_is_not_forgiven_by_it(house):
    add(house, "steady", Stage.READY, OLD)
    house.clock.advance(100)
    for failures in (1, 2, 3):
        add(house, "crashing", Stage.INITIALIZING)
        await bury(house, "crashing")
        house.set.forgive()
        assert house.set.backoff(NEW).failures == failures
        house.clock.advance(STEADY_AFTER_S + 1)
    assert "it broke" in house.set.backoff(NEW).reason


async def test_one_that_came_after_and_served_for_a_while_ends_the_back_off(house):
    for _ in range(3):
        add(house, "crashing", Stage.INITIALIZING)
        await bury(house, "crashing")
    house.clock.advance(5)
    add(house, "good", Stage.READY)
    house.clock.advance(STEADY_AFTER_S - 1)
    house.set.forgive()
    assert house.set.backoff(NEW).failures == 3
    house.clock.advance(1)
    house.set.forgive()
    assert house.set.backoff(NEW).failures == 0


async def test_dying_right_after_every_start_is_a_crash_loop_and_dying_late_is_not(house):
    add(house, "short-lived", Stage.READY)
    house.clock.advance(61)
    await bury(house, "short-lived")
    assert house.set.backoff(NEW).failures == 1
    add(house, "long-lived", Stage.READY)
    house.clock.advance(STEADY_AFTER_S)
    await bury(house, "long-lived")
    assert house.set.backoff(NEW).failures == 1
    assert house.set.obituaries.restarts == 2


async def test_one_that_was_ended_from_outside_after_a_minute_has_not_failed(house, monkeypatch):
    monkeypatch.setattr(Nowhere, "crashed", lambda self, placed: False)
    add(house, "taken", Stage.READY)
    house.clock.advance(STANDING_AFTER_S)
    await bury(house, "taken")
    assert (house.set.backoff(NEW).failures, house.set.obituaries.restarts) == (0, 1)


@pytest.mark.parametrize("stage", [Stage.INITIALIZING, Stage.READY])
@pytest.mark.parametrize("how", list(Taken))
async def test_one_whose_place_was_taken_is_replaced_at_once_and_has_not_failed(house, monkeypatch, how, stage):
    monkeypatch.setattr(Nowhere, "taken", lambda self, placed: how)
    for _ in range(9):
        add(house, "taken", stage).given_up = stage == Stage.INITIALIZING
        await bury(house, "taken")
    assert (house.set.backoff(NEW).failures, house.set.obituaries.restarts) == (0, 0)
    assert {reason for reason, _ in house.told} == {how.value}


async def test_the_failures_of_some_settings_do_not_hold_up_others(house):
    add(house, "new", Stage.INITIALIZING)
    await bury(house, "new")
    assert (house.set.backoff(NEW).failures, house.set.backoff(OLD).failures) == (1, 0)


async def test_a_wedge_soon_after_every_start_is_a_crash_loop_too(house):
    wedged = add(house, "wedged", Stage.READY)
    await house.set.do(Step(Do.TERMINATE, "wedged", "made no token", fault=True), TEMPLATE)
    assert wedged.stage == Stage.STOPPING
    await bury(house, "wedged")
    assert house.set.backoff(NEW).failures == house.set.obituaries.restarts == 1
    assert ("ReplicaDied", "it was ended and is replaced: made no token") in house.told


async def test_a_replica_whose_engine_broke_has_failed_although_it_ended_by_itself(house):
    broken = add(house, "broken", Stage.READY)
    broken.broken = True
    broken.enter(Stage.STOPPING, "the scheduler died")
    await bury(house, "broken")
    assert house.set.backoff(NEW).reason == "the scheduler died"


async def test_the_reason_of_a_failed_start_is_the_end_of_its_log(house, monkeypatch):
    lines = [f"line {i} " + "x" * 100 for i in range(30)]
    monkeypatch.setattr(Nowhere, "last_words", lambda self, replica: "\n".join(lines))
    add(house, "crashing", Stage.INITIALIZING)
    await bury(house, "crashing")
    reason = house.set.backoff(NEW).reason
    assert reason.endswith(lines[-1])
    assert len(reason) <= REASON_CHARS


async def test_what_killed_a_replica_is_told_with_the_end_of_its_log_and_not_why_it_was_kept(house, monkeypatch):
    kept = add(house, "kept", Stage.DRAINING)
    await house.set.do(Step(Do.KEEP, "kept", "wanted again"), TEMPLATE)
    assert kept.reason == "wanted again"
    await bury(house, "kept")
    what = "the process died and is replaced: killed by signal 9 (SIGKILL); log: first line | it broke"
    assert house.told[-1] == ("ReplicaDied", what)
    monkeypatch.setattr(Nowhere, "last_words", lambda self, replica: "")
    add(house, "silent", Stage.READY)
    await bury(house, "silent")
    assert house.told[-1][1].endswith(": killed by signal 9 (SIGKILL)")


async def test_an_end_that_was_wanted_is_no_failure(house):
    add(house, "leaving", Stage.STOPPING)
    await bury(house, "leaving")
    assert house.set.backoff(NEW).failures == house.set.obituaries.restarts == 0
    assert [reason for reason, _ in house.told] == ["ReplicaStopped"]


async def test_a_replica_is_ended_before_it_is_forgotten(house):
    add(house, "r", Stage.INITIALIZING)
    await bury(house, "r")
    assert ("r", True) in house.driver.stopped


async def test_a_step_for_a_replica_that_has_gone_meanwhile_is_skipped(house):
    await house.set.do(Step(Do.DRAIN, "gone"), TEMPLATE)
    assert house.told == []


async def test_one_told_to_end_while_it_starts_never_becomes_ready(house, monkeypatch):
    replica = add(house, "r", Stage.INITIALIZING)
    replica.report.body = {"status": "ready"}

    async def probed_while_ended(self: Replica) -> None:
        self.enter(Stage.STOPPING, "scaled down")

    monkeypatch.setattr(Replica, "probe", probed_while_ended)
    await replica.start_up()
    assert replica.stage == Stage.STOPPING
    assert replica.ready_wall is None


@pytest.mark.parametrize(("created_s_ago", "age_s"), [(3600.0, 3600.0), (-3600.0, 0.0)], ids=["older", "wall set back"])
async def test_a_replica_that_is_taken_over_stays_as_old_as_it_is(house, created_s_ago, age_s):
    house.clock.advance(10_000)
    replica = Replica("r", NEW, "key", house.clock, house.figures)
    replica.take_over(house.clock.wall().timestamp() - created_s_ago)
    assert replica.taken_over
    assert house.clock.monotonic() - replica.observed(house.clock.monotonic(), alive=True).started_at == pytest.approx(
        age_s
    )
    assert (house.clock.wall() - replica.view(0).started_at).total_seconds() == pytest.approx(age_s)


def test_the_reconciler_is_told_what_a_replica_has_cached():
    replica = Replica("d-1", NEW, "key", FakeClock(), ReplicaFigures())
    assert replica.observed(0.0, alive=True).cached_tokens == 0
    replica.take({"kv_used_tokens": 900})
    assert replica.observed(0.0, alive=True).cached_tokens == 900


@pytest.mark.parametrize(
    "strange",
    [
        {"counters": {}, "speculation": {"ngram": {"drafts": 3}}},
        {"counters": [3]},
        {"waiting": {"urgent": 1}},
        {"longest_call_ms": None},
    ],
    ids=["figures", "counters", "queue", "vitals"],
)
async def test_a_replica_whose_answers_cannot_be_read_lives_on_and_is_told_of_once(house, strange, caplog):
    adopted = add(house, "adopted", Stage.READY)
    adopted.take_over(0.0)
    answer = {"running": 1, "last_progress_age_s": 0.0, **strange}
    adopted.hop = SaysAlways(answer)
    for _ in range(3):
        house.clock.advance(10)
        await adopted.look()
        assert adopted.observed(house.clock.monotonic(), alive=True).silent_s == 0
    house.figures.totals()
    told = [record.message for record in caplog.records]
    assert told
    assert len(set(told)) == len(told), "once for what it counts and once for the rest"
    await adopted.close()


async def test_what_replicas_count_is_summed_as_they_report_it_and_stays_when_they_are_gone(house):
    own, adopted = add(house, "own", Stage.READY), add(house, "adopted", Stage.READY)
    adopted.take_over(0.0)
    own.take({"counters": {"decode_steps_total": 5}, "kv_used_tokens": 9})
    for counted in (70, 72):
        adopted.take({"counters": {"decode_steps_total": counted}})
    assert house.figures.totals()["counter", "decode_steps_total"] == 7
    assert house.figures.gauges("kv_used_tokens") == [9]
    for name in ("own", "adopted"):
        await bury(house, name)
    assert house.figures.totals()["counter", "decode_steps_total"] == 7
    assert house.figures.living == {}


def lodge(house, monkeypatch, stage: Stage) -> Replica:
    """One of a preemptible deployment, which lives."""
    monkeypatch.setattr(Nowhere, "alive", lambda self, placed: True)
    replica = add(house, "spot", stage)
    replica.node = Node("n", "CPU", 0, 0, 0, 0)
    house.rooms.line.lodge(replica, lambda: house.set._give_way(replica))
    return replica


async def test_one_that_is_told_to_give_its_place_says_so_and_one_that_ended_anyway_says_what_for(house, monkeypatch):
    for stage, reason, said in (
        (Stage.READY, "", ("Preempted", PREEMPTED)),
        (Stage.DRAINING, "scaled down", ("ReplicaStopped", "scaled down")),
    ):
        replica = lodge(house, monkeypatch, stage)
        replica.reason = reason
        house.set._give_way(replica)
        assert (replica.stage, house.driver.stopped[-1]) == (Stage.STOPPING, ("spot", False))
        await bury(house, "spot")
        assert house.told[-1] == said


async def test_one_that_is_given_up_or_died_by_itself_is_no_lodger_that_gave_its_place(house, monkeypatch):
    replica = lodge(house, monkeypatch, Stage.INITIALIZING)
    replica.given_up, replica.reason = True, "the first request failed"
    house.set._give_way(replica)
    assert replica.stage == Stage.INITIALIZING
    await bury(house, "spot")
    dead = lodge(house, monkeypatch, Stage.READY)
    monkeypatch.setattr(Nowhere, "alive", lambda self, placed: False)
    house.set._give_way(dead)
    assert dead.stage == Stage.READY
    await bury(house, "spot")
    assert [reason for reason, _ in house.told] == ["ReplicaFailed", "ReplicaDied"]


async def test_one_that_does_not_answer_when_it_is_ended_holds_up_no_other(house, monkeypatch):
    hung, answered = asyncio.Event(), []
    for name in ("hung", "b", "c"):
        add(house, name, Stage.DRAINING)

    async def look(self: Replica) -> None:
        if self.id == "hung":
            await hung.wait()
        answered.append(self.id)

    monkeypatch.setattr(Replica, "look", look)
    steps = [(Step(Do.TERMINATE, name, "drained"), TEMPLATE) for name in house.set.replicas]
    ending = asyncio.create_task(house.set.do_all(steps))
    while len(answered) < 2:
        await asyncio.sleep(0)
    assert [replica.stage for replica in house.set] == [Stage.DRAINING, Stage.STOPPING, Stage.STOPPING]
    hung.set()
    await ending
    assert {replica.stage for replica in house.set} == {Stage.STOPPING}


async def test_a_step_that_fails_is_told_once_the_others_are_done(house, monkeypatch):
    for name in ("a", "b"):
        add(house, name, Stage.STOPPING)

    def forget(self: Nowhere, placed: Placed) -> None:
        if placed.replica == "a":
            raise OSError("its socket cannot be removed")

    monkeypatch.setattr(Nowhere, "forget", forget)
    with pytest.raises(OSError, match="its socket"):
        await house.set.do_all([(Step(Do.BURY, name), TEMPLATE) for name in ("a", "b")])
    assert list(house.set) == []
