"""The reconciler's promises over random worlds of load, changes and faults. FIREDECK_SEED=n plays one world again."""

from __future__ import annotations

import os

import pytest

from engine.control.backoff import FAILURES_UNTIL_FAILED
from engine.control.reconcile import Stage
from engine.control.rollout import ROOM_LOST_AFTER_S
from tests.unit.reconcile_process import Settings
from tests.unit.reconcile_world import FAULTY_S, SETTLE_S, World

SEEDS = 200
SOAK_SEEDS = 10_000
ONE = os.environ.get("FIREDECK_SEED")


def run(seed: int) -> World:
    """Faults, then rest; whatever was declared last must be there, or the settings that served before."""
    world = World(seed)
    world.live(FAULTY_S)
    world.deleted = False
    world.settling_s = world.rest(SETTLE_S)
    target = world.generation if world.kinds[world.generation].good else world.served
    if target is None or not world.kinds[target].good:
        world.settling_s = 0.0
        return world  # nothing that is declared or known can serve
    assert world.settled(), [(p.stage, p.generation) for p in world.processes.values()]
    assert world.tick(1.0) == []
    world.backoffs.forget()  # somebody says: try again
    world.rest(SETTLE_S)
    good = world.kinds[world.generation].good
    assert world.settled()
    assert good is not world.stopped or not world.desired
    if not good:
        world.generation = target  # the change is taken back
        world.backoffs.forget()
        world.rest(SETTLE_S)
        assert world.settled()
        assert not world.stopped
    return world


def sweep(seeds: range) -> None:
    ticks = born = stopped = 0
    settling_s = []
    for seed in [int(ONE)] if ONE else seeds:
        try:
            world = run(seed)
        except BaseException:
            print(f"FIREDECK_SEED={seed}")
            raise
        ticks, born, stopped = ticks + world.ticks, born + world.born, stopped + world.stopped
        settling_s.append(world.settling_s)
    told = f"{ticks} looks, {born} replicas started, {stopped} roll-outs stopped, 0 promises broken"
    print(f"{len(settling_s)} worlds, {told}")
    slowest_s, usual_s = max(settling_s), sorted(settling_s)[len(settling_s) // 2]
    print(f"as declared {usual_s:.0f} s after the last fault in the median, {slowest_s:.0f} s at most")


def test_two_hundred_worlds_of_faults_end_as_declared_and_break_no_promise_on_the_way():
    sweep(range(SEEDS))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_worlds_of_faults_end_as_declared_and_break_no_promise_on_the_way():
    sweep(range(SEEDS, SEEDS + SOAK_SEEDS))


def quiet(desired: int) -> World:
    """A world at rest with `desired` replicas."""
    world = World(1)
    world.low, world.high, world.desired = desired, desired, desired
    world.places = 100
    world.rest(200)
    assert world.settled()
    return world


def ready(world: World, generation: str) -> int:
    return sum(p.stage == Stage.READY and p.generation == generation for p in world.processes.values())


def test_a_roll_out_whose_new_replicas_crash_stops_and_the_old_ones_go_on():
    world = quiet(3)
    world.generation, world.kinds["bad"] = "bad", Settings(crashes=True)
    born = world.born
    for _ in range(1000):
        world.tick(1.0)
        assert ready(world, "g0") == 3
    assert world.stopped
    assert world.born - born == FAILURES_UNTIL_FAILED
    world.generation = "g0"
    assert world.tick(1.0) == []
    assert world.settled()


@pytest.mark.parametrize("lives_s", [20, 61, 300])
def test_new_replicas_that_die_after_they_were_ready_are_replaced_by_the_former_settings(lives_s):
    world = quiet(2)
    world.generation, world.kinds["bad"] = "bad", Settings(lives_s=lives_s)
    world.rest(1000 + 6 * lives_s)
    assert world.stopped
    assert ready(world, "g0") == 2
    assert world.settled()


def test_a_stopped_roll_out_still_replaces_what_dies_and_follows_the_load_with_the_former_settings():
    world = quiet(2)
    world.generation, world.kinds["bad"] = "bad", Settings(crashes=True)
    world.rest(300)
    world.high = world.desired = 4
    next(iter(world.processes.values())).alive = False
    world.rest(300)
    assert ready(world, "g0") == 4
    world.desired = 0
    world.rest(300)
    world.desired = 1
    world.rest(300)
    assert ready(world, "g0") == 1


def test_a_deployment_that_never_served_goes_on_being_tried():
    world = World(1)
    world.low = world.high = world.desired = 1
    world.kinds["g0"] = Settings(crashes=True)
    world.rest(600)
    assert not world.stopped
    world.kinds["g0"] = Settings()
    world.rest(100)
    assert world.settled()


def pass_time(world: World, seconds: float, least: int) -> None:
    """Looks at which at least so many are ready."""
    until = world.now + seconds
    while world.now < until:
        world.tick(1.0)
        assert sum(p.stage == Stage.READY for p in world.processes.values()) >= least


def test_a_roll_out_on_a_full_fleet_that_wants_more_than_there_is_room_for_goes_one_by_one():
    world = quiet(3)
    world.high, world.desired, world.places = 5, 5, 3
    pass_time(world, 60, least=3)
    assert (ready(world, "g0"), len(world.processes)) == (3, 5)
    world.generation, world.kinds["new"] = "new", Settings()
    pass_time(world, 300, least=2)
    assert (ready(world, "new"), len(world.processes)) == (3, 5)
    assert not world.progress.rolling


def test_a_place_that_somebody_else_took_in_a_roll_out_costs_one_replica_at_a_time_and_never_the_last():
    world = quiet(3)
    world.places = 0  # whatever is given up goes to others
    world.generation, world.kinds["new"] = "new", Settings()
    for left in (2, 1, 1):
        pass_time(world, ROOM_LOST_AFTER_S - 1, least=left)
    assert ready(world, "g0") == 1
    world.places = 2
    pass_time(world, 300, least=1)
    assert ready(world, "new") == 2
