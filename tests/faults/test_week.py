"""A fleet's days on a virtual clock. Every run prints its seed; FIREDECK_SEED=... goes through the same days again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.control import autoscale
from tests import seeds
from tests.faults.week import Week
from tests.faults.week_checks import CONVERGED_WITHIN_S
from tests.faults.week_parts import DAY_S, HOUR_S, Size

SEEDS = 200
SOAK_SEEDS = 10_000
QUICK_SEEDS = 20
SMALL = Size(
    deployments=3, accelerators=24, seconds=4.5 * HOUR_S, most_each=12, calm_s=2 * HOUR_S, faults_per_day=60,
    changes_per_day=30, restarts=2,
)  # fmt: skip
LONG = replace(SMALL, seconds=DAY_S, restarts=6)
QUICK = replace(
    SMALL, seconds=2 * HOUR_S, calm_s=HOUR_S, faults=("crash",), faults_per_day=150, changes_per_day=0, restarts=0,
    start_delay_s=5.0, room_for_all=True,
)  # fmt: skip


def go_through(seed: int, size: Size, capsys: pytest.CaptureFixture[str]) -> Week:
    with capsys.disabled():
        print(f"\nFIREDECK_SEED={seed}", end=" ", flush=True)
    week = Week(seed, size)
    week.run()
    with capsys.disabled():
        print(f"up to {week.most_replicas} replicas at once, {dict(sorted(week.counts.items()))}")
    return week


def test_a_day_of_a_dozen_deployments(capsys):
    week = go_through(seeds.of_run(), Size(deployments=12, accelerators=80, seconds=DAY_S), capsys)
    assert week.counts["start"] > 100
    assert week.counts["crash"] > 0
    assert week.counts["stockouts"] > 0
    assert week.counts["ready at the end"] > 0


@pytest.mark.timeout(900)  # some twenty seconds of a core of its own
def test_hours_of_many_seeds_full_of_faults(capsys):
    run_seeds(SMALL, SEEDS, capsys)


def test_the_same_seed_is_the_same_week():
    runs = [Week(7, SMALL), Week(7, SMALL)]
    for run in runs:
        run.run()
    assert runs[0].counts == runs[1].counts
    assert set(runs[0].cloud.spots) == set(runs[1].cloud.spots)


def test_where_there_is_room_all_is_as_declared_thirty_seconds_after_the_last_crash():
    """With starts of 5 s, give or take a half, and counts that nobody changes."""
    first, crashes = seeds.of_run(), 0
    for seed in range(first, first + QUICK_SEEDS):
        week = Week(seed, QUICK)
        for d in week.fleet:
            count = 1 + seed % 4
            d.policy = replace(d.policy, min_replicas=count, max_replicas=count)
            d.memory = autoscale.begin(d.policy, count, 0.0)
        week.run()
        crashes += week.counts["crash"]
        for d in week.fleet:
            late_s = d.unsettled_at - QUICK.calm_from
            assert late_s <= CONVERGED_WITHIN_S, f"FIREDECK_SEED={seed}: {d.name} took {late_s:.0f} s"
            assert len(d.ready()) == d.policy.min_replicas
    assert crashes > QUICK_SEEDS


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_week_of_a_thousand_deployments(capsys):
    size = Size(deployments=1000, accelerators=8_000, seconds=7 * DAY_S, faults_per_day=2, restarts=14)
    week = go_through(seeds.of_run(), size, capsys)
    assert week.most_replicas > 5000


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_day_of_ten_thousand_seeds_full_of_faults(capsys):
    run_seeds(LONG, SOAK_SEEDS, capsys)


def run_seeds(size: Size, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    first = seeds.of_run()
    with capsys.disabled():
        print(f"\nFIREDECK_SEED={first} and the {count - 1} after it", end=" ", flush=True)
    for seed in range(first, first + count):
        try:
            Week(seed, size).run()
        except AssertionError as broken:
            raise AssertionError(f"FIREDECK_SEED={seed}: {broken}") from broken
