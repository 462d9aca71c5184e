"""The reconciler: from what is declared and what is there to steps, for any set of replicas."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.control.backoff import BACKOFF_MAX_S, FAILURES_UNTIL_FAILED, Backoff
from engine.control.reconcile import (
    DRAINED,
    KILL_GRACE_S,
    LOAD_STALLED_AFTER_S,
    SERVING,
    SILENT_AFTER_S,
    STALLED_AFTER_S,
    START_TIMEOUT_S,
    STARTING,
    TERM_GRACE_S,
    Declared,
    Do,
    Fallback,
    Observed,
    Stage,
    steps,
)

NOW = 10_000.0
LONG_AGO = 0.0
CALM = Backoff()
NEW, OLD = "new", "old"


def replica(name: str, stage: Stage = Stage.READY, generation: str = NEW, **known) -> Observed:
    return Observed(
        **{"id": name, "stage": stage, "generation": generation, "alive": True, "stage_since": NOW, **known}
    )


# Said here, because hypothesis makes up whatever a named tuple is not given.
WELL_PLACED = {"call_s": st.just(0.0), "unanswered_s": st.just(0.0), "short": st.just(False)}
REPLICAS = st.lists(
    st.builds(
        Observed, id=st.integers(0, 30).map(str), stage=st.sampled_from(Stage), generation=st.sampled_from([NEW, OLD]),
        alive=st.booleans(), in_flight=st.integers(0, 3), started_at=st.floats(0, NOW),
        stage_since=st.floats(NOW - 1000, NOW), silent_s=st.sampled_from([0.0, SILENT_AFTER_S, SILENT_AFTER_S + 1]),
        stalled_s=st.sampled_from([0.0, STALLED_AFTER_S, STALLED_AFTER_S + 1]), wedged=st.booleans(),
        **WELL_PLACED,
    ),
    max_size=9, unique_by=lambda r: r.id,
)  # fmt: skip
HEALTHY = st.lists(
    st.builds(
        Observed, id=st.integers(0, 30).map(str), stage=st.sampled_from(Stage), generation=st.sampled_from([NEW, OLD]),
        alive=st.just(True), in_flight=st.integers(0, 3), started_at=st.floats(0, NOW), stage_since=st.just(NOW),
        silent_s=st.just(0.0), stalled_s=st.just(0.0), wedged=st.just(False), **WELL_PLACED,
    ),
    max_size=9, unique_by=lambda r: r.id,
)  # fmt: skip
DECLARED = st.builds(Declared, st.integers(0, 5), st.just(NEW), st.booleans())
BACKOFFS = st.builds(Backoff, st.integers(0, 8), st.floats(NOW - 100, NOW))


def named(found, do: Do) -> set[str]:
    return {step.replica for step in found if step.do == do}


@given(DECLARED, REPLICAS, BACKOFFS)
def test_at_most_one_step_a_replica_and_only_starts_name_none(declared, replicas, backoff):
    found = steps(declared, replicas, backoff, NOW)
    told = Counter(step.replica for step in found if step.do != Do.START)
    assert all(count == 1 for count in told.values())
    assert told.keys() <= {r.id for r in replicas}
    assert all((step.replica == "") == (step.do == Do.START) for step in found)
    assert all(step.why for step in found if step.do != Do.START)


@given(DECLARED, REPLICAS, BACKOFFS)
def test_a_dead_replica_is_always_buried_and_a_living_one_never(declared, replicas, backoff):
    assert named(steps(declared, replicas, backoff, NOW), Do.BURY) == {r.id for r in replicas if not r.alive}


@given(DECLARED, REPLICAS, BACKOFFS)
def test_never_more_are_started_or_kept_than_are_missing(declared, replicas, backoff):
    found = steps(declared, replicas, backoff, NOW)
    desired = 0 if declared.deleted else declared.desired
    leaving = named(found, Do.TERMINATE) | named(found, Do.DRAIN) | named(found, Do.BURY) | named(found, Do.KILL)
    serving = [r for r in replicas if r.alive and r.generation == NEW and r.stage in SERVING and r.id not in leaving]
    added = sum(step.do in {Do.START, Do.KEEP} for step in found)
    assert added <= max(0, desired - len(serving))
    assert added == 0 or not declared.deleted


@given(DECLARED, REPLICAS, BACKOFFS)
def test_nothing_starts_before_the_backoff_is_over(declared, replicas, backoff):
    if backoff.failures and backoff.holds_until() > NOW:
        assert not any(step.do == Do.START for step in steps(declared, replicas, backoff, NOW))


@given(DECLARED, REPLICAS, st.integers(1, 8))
def test_after_a_failure_only_one_start_is_under_way_until_one_succeeds(declared, replicas, failures):
    found = steps(declared, replicas, Backoff(failures, LONG_AGO), NOW)
    gone = named(found, Do.TERMINATE) | named(found, Do.DRAIN)
    under_way = [r for r in replicas if r.alive and r.generation == NEW and r.stage in STARTING and r.id not in gone]
    starts = sum(step.do == Do.START for step in found)
    assert starts <= 1
    assert starts == 0 or not under_way


@given(HEALTHY, st.integers(0, 5))
def test_a_replica_that_drains_is_kept_before_a_new_one_is_started(replicas, desired):
    found = steps(Declared(desired, NEW), replicas, CALM, NOW)
    if any(step.do == Do.START for step in found):
        draining = {r.id for r in replicas if r.stage == Stage.DRAINING and r.generation == NEW}
        unwell = named(found, Do.TERMINATE) | named(found, Do.BURY)
        assert draining - unwell == named(found, Do.KEEP)
        assert not [step for step in found if step.replica in draining and step.why == DRAINED]


@given(REPLICAS, st.integers(0, 5))
def test_a_replica_of_former_settings_is_never_kept(replicas, desired):
    found = steps(Declared(desired, NEW), replicas, CALM, NOW)
    assert not named(found, Do.KEEP) & {r.id for r in replicas if r.generation == OLD}


@given(HEALTHY, st.integers(0, 5))
def test_a_rollout_never_drops_the_ready_count_under_the_desired_one(replicas, desired):
    found = steps(Declared(desired, NEW), replicas, CALM, NOW)
    ready = {r.id for r in replicas if r.stage == Stage.READY}
    assert len(ready - named(found, Do.DRAIN)) >= min(desired, len(ready))


@given(REPLICAS, BACKOFFS)
def test_a_deleted_deployment_loses_every_replica(replicas, backoff):
    found = steps(Declared(3, NEW, deleted=True), replicas, backoff, NOW)
    going = {step.replica for step in found}
    staying = [r for r in replicas if r.id not in going]
    assert {r.stage for r in staying} <= {Stage.DRAINING, Stage.STOPPING}
    assert not {step.do for step in found} & {Do.START, Do.KEEP}


@given(HEALTHY)
def test_a_replica_of_a_deleted_deployment_ends_for_that_and_not_as_scaled_down_or_replaced(replicas):
    found = steps(Declared(3, NEW, deleted=True), replicas, CALM, NOW)
    assert {step.why for step in found if step.do == Do.DRAIN} <= {"the deployment was deleted"}


@given(st.lists(st.builds(replica, st.integers(0, 9).map(str), in_flight=st.integers(0, 3)), unique_by=lambda r: r.id))
def test_when_everything_is_as_declared_nothing_is_done(replicas):
    assert steps(Declared(len(replicas), NEW), replicas, Backoff(7, NOW), NOW) == []


class Rehearsal:
    """Replicas that do what a step says, one stage a tick."""

    def __init__(self, replicas: list[Observed]) -> None:
        self.replicas = {r.id: r for r in replicas}
        self.now = NOW
        self.started = 0

    def tick(self, declared: Declared) -> int:
        self.now += 1
        found = steps(declared, list(self.replicas.values()), CALM, self.now)
        touched = {step.replica for step in found}
        self.replicas = {i: self._moved(r) if i not in touched else r for i, r in self.replicas.items()}
        for step in found:
            self._do(step, declared)
        return len(found)

    def ready(self) -> int:
        return sum(r.stage == Stage.READY and r.alive for r in self.replicas.values())

    def _do(self, step, declared: Declared) -> None:
        if step.do == Do.START:
            self.started += 1
            made = f"started-{self.started}"
            self.replicas[made] = replica(
                made, Stage.PENDING_SCHEDULING, declared.generation, started_at=self.now, stage_since=self.now
            )
        elif step.do == Do.BURY:
            del self.replicas[step.replica]
        else:
            was = self.replicas[step.replica]
            stage = {Do.KEEP: Stage.READY, Do.DRAIN: Stage.DRAINING}.get(step.do, Stage.STOPPING)
            if step.do == Do.DRAIN and was.stage != Stage.READY:
                stage = Stage.STOPPING
            self._enter(was, stage, alive=step.do != Do.KILL)

    def _moved(self, r: Observed) -> Observed:
        following = {
            Stage.PENDING_SCHEDULING: Stage.DOWNLOADING_MODEL, Stage.DOWNLOADING_MODEL: Stage.INITIALIZING,
            Stage.INITIALIZING: Stage.READY,
        }  # fmt: skip
        if r.stage == Stage.STOPPING:
            return r._replace(alive=False)
        if r.stage in following:
            return r._replace(stage=following[r.stage], stage_since=self.now)
        return r._replace(in_flight=max(0, r.in_flight - 1))

    def _enter(self, r: Observed, stage: Stage, *, alive: bool) -> None:
        self.replicas[r.id] = r._replace(stage=stage, stage_since=self.now, alive=alive)


@settings(deadline=None)
@given(REPLICAS, DECLARED)
def test_taking_the_steps_again_and_again_ends_with_just_the_desired_replicas(replicas, declared):
    house = Rehearsal([r._replace(silent_s=0.0, stalled_s=0.0) for r in replicas])
    for _ in range(60):
        house.tick(declared)
    desired = 0 if declared.deleted else declared.desired
    assert house.ready() == len(house.replicas) == desired
    assert {r.generation for r in house.replicas.values()} <= {NEW}
    assert house.tick(declared) == 0


@settings(deadline=None)
@given(REPLICAS, st.integers(1, 4), st.integers(0, 4))
def test_at_no_moment_of_a_rollout_are_fewer_ready_than_desired_where_enough_were(replicas, desired, more):
    old = [replica(f"old-{i}", generation=OLD, in_flight=i) for i in range(desired + more)]
    strangers = [r._replace(silent_s=0.0, stalled_s=0.0) for r in replicas if r.stage != Stage.READY]
    house = Rehearsal([*old, *strangers])
    for _ in range(60):
        house.tick(Declared(desired, NEW))
        assert house.ready() >= desired


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([NEW, OLD]), st.integers(1, 6)), min_size=1, max_size=6))
def test_changing_ones_mind_midway_still_ends_at_the_last_wish(wishes):
    house = Rehearsal([])
    for desired, generation, ticks in wishes:
        for _ in range(ticks):
            house.tick(Declared(desired, generation))
    for _ in range(60):
        house.tick(Declared(desired, generation))
    assert house.ready() == len(house.replicas) == desired


def test_scaling_down_takes_the_ones_not_ready_first_then_the_least_busy_then_the_least_cached_then_the_newest():
    crowd = [
        replica("busy", in_flight=2, started_at=1), replica("idle-old", started_at=1),
        replica("idle-new", started_at=2),
        replica("warm", started_at=4, cached_tokens=900), replica("loading", Stage.INITIALIZING, started_at=3),
    ]  # fmt: skip
    order = [sorted(named(steps(Declared(n, NEW), crowd, CALM, NOW), Do.DRAIN)) for n in (4, 3, 2, 1)]
    leaving = ["loading", "idle-new", "idle-old", "warm"]
    assert order == [sorted(leaving[:n]) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("sick", "why"),
    [
        (replica("r", silent_s=SILENT_AFTER_S + 1), "no answer"),
        (replica("r", Stage.DRAINING, in_flight=1, silent_s=SILENT_AFTER_S + 1), "no answer"),
        (replica("r", stalled_s=STALLED_AFTER_S + 1), "no token"),
        (replica("r", Stage.INITIALIZING, stage_since=NOW - START_TIMEOUT_S - 1), "not ready after 600s"),
        (replica("r", Stage.INITIALIZING, stalled_s=LOAD_STALLED_AFTER_S + 1), "no progress for 61s while it started"),
        (replica("r", Stage.INITIALIZING, silent_s=LOAD_STALLED_AFTER_S + 1), "no answer for 61s while it started"),
    ],
)
def test_a_wedged_replica_is_asked_to_end_and_replaced_by_the_next_look_which_knows_that_it_failed(sick, why):
    [step] = steps(Declared(1, NEW), [sick], CALM, NOW)
    assert (step.do, step.fault) == (Do.TERMINATE, True)
    assert why in step.why
    ending = sick._replace(stage=Stage.STOPPING, stage_since=NOW, wedged=True)
    assert [s.do for s in steps(Declared(1, NEW), [ending], CALM, NOW)] == [Do.START]
    assert steps(Declared(1, NEW), [ending], Backoff(1, NOW), NOW) == []
    former = sick._replace(generation=OLD)
    assert Do.START in [s.do for s in steps(Declared(1, NEW), [former], CALM, NOW)]


@pytest.mark.parametrize(
    "well",
    [
        replica("r", silent_s=SILENT_AFTER_S), replica("r", stalled_s=STALLED_AFTER_S),
        replica("r", Stage.INITIALIZING, stage_since=NOW - START_TIMEOUT_S),
        replica("r", Stage.INITIALIZING, silent_s=LOAD_STALLED_AFTER_S, stalled_s=LOAD_STALLED_AFTER_S),
        replica("r", Stage.INITIALIZING, stalled_s=LOAD_STALLED_AFTER_S + 60, call_s=31.0),
        replica("r", Stage.DOWNLOADING_MODEL, stage_since=LONG_AGO),
        replica("r", Stage.PENDING_SCHEDULING, stage_since=LONG_AGO),
    ],
)  # fmt: skip
def test_one_that_is_only_slow_is_left_alone(well):
    assert steps(Declared(1, NEW), [well], CALM, NOW) == []


@pytest.mark.parametrize(("wedged", "grace_s"), [(True, KILL_GRACE_S), (False, TERM_GRACE_S)])
def test_one_that_does_not_leave_is_killed_after_its_grace_and_not_before(wedged, grace_s):
    patient = replica("r", Stage.STOPPING, wedged=wedged, stage_since=NOW - grace_s)
    assert steps(Declared(0, NEW), [patient], CALM, NOW) == []
    [step] = steps(Declared(0, NEW), [patient], CALM, NOW + 0.1)
    assert (step.do, step.replica) == (Do.KILL, "r")


def test_a_draining_replica_ends_when_its_last_request_has_and_not_before():
    busy = replica("r", Stage.DRAINING, in_flight=1)
    assert steps(Declared(0, NEW), [busy], CALM, NOW) == []
    assert named(steps(Declared(0, NEW), [busy._replace(in_flight=0)], CALM, NOW), Do.TERMINATE) == {"r"}


def test_the_backoff_doubles_from_one_second_to_a_minute():
    assert [Backoff(n).wait_s for n in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 10**6))
def test_the_backoff_stays_a_minute_however_often_a_start_has_failed(failures):
    assert 1 <= Backoff(failures, NOW).wait_s <= BACKOFF_MAX_S
    assert Backoff(failures, NOW).holds_until() <= NOW + BACKOFF_MAX_S


def test_the_start_after_a_failure_comes_exactly_when_the_backoff_ends():
    backoff = Backoff(3, NOW)
    assert steps(Declared(1, NEW), [], backoff, NOW + 3.9) == []
    assert [s.do for s in steps(Declared(1, NEW), [], backoff, NOW + 4)] == [Do.START]


def test_no_replica_starts_in_the_look_that_buries_one_for_its_end_is_not_counted_yet():
    dead = replica("r", Stage.INITIALIZING, alive=False)
    assert [s.do for s in steps(Declared(1, NEW), [dead], CALM, NOW)] == [Do.BURY]
    former = replica("r", generation=OLD, alive=False)
    assert [s.do for s in steps(Declared(1, NEW), [former], CALM, NOW)] == [Do.BURY, Do.START]


def test_a_start_that_is_under_way_when_its_roll_out_is_stopped_is_ended_for_that_and_not_as_scaled_down():
    there = [replica("o", generation=OLD), replica("n", Stage.INITIALIZING)]
    given_up = Declared(1, NEW, fallback=Fallback(OLD, CALM))
    (step,) = steps(given_up, there, Backoff(FAILURES_UNTIL_FAILED, NOW), NOW)
    assert (step.do, step.replica, step.why) == (Do.DRAIN, "n", "its roll-out was stopped")


def test_a_rollout_without_room_for_both_gives_up_one_old_replica_at_a_time():
    old = [replica(f"o{n}", generation=OLD, started_at=float(n)) for n in range(3)]
    short = [replica(f"n{n}", Stage.PENDING_SCHEDULING, short=True) for n in range(3)]
    assert named(steps(Declared(3, NEW), [*old, short[0]], CALM, NOW), Do.DRAIN) == {"o2"}
    rest = [*old[:2], replica("o2", Stage.DRAINING, OLD, in_flight=1), *short[:2]]
    assert steps(Declared(3, NEW), rest, CALM, NOW) == []
    starting = [*old[:2], replica("n0", Stage.INITIALIZING), short[1]]
    assert steps(Declared(3, NEW), starting, CALM, NOW) == []
    one_in = [*old[:2], replica("n0"), short[1]]
    assert named(steps(Declared(3, NEW), one_in, CALM, NOW), Do.DRAIN) == {"o1"}


def test_the_only_replica_is_never_given_up_for_one_that_has_no_room():
    both = [replica("o", generation=OLD), replica("n", Stage.PENDING_SCHEDULING, short=True)]
    assert steps(Declared(1, NEW), both, CALM, NOW) == []
