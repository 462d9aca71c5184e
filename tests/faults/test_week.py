"""A fleet's days on a virtual clock. Every run prints its seed; FIREDECK_SEED=... goes through the same days again."""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.week import DAY_S, HOUR_S, Week
from tests.faults.week_parts import Size

SEEDS = 25
SOAK_SEEDS = 10_000
SMALL = Size(deployments=3, accelerators=40, seconds=5 * HOUR_S, faults_per_day=60, changes_per_day=30, restarts=2)


def seed_of_run() -> int:
    return int(os.environ.get("FIREDECK_SEED", random.randrange(2**32)))


def go_through(seed: int, size: Size, capsys: pytest.CaptureFixture[str]) -> Week:
    with capsys.disabled():
        print(f"\nFIREDECK_SEED={seed}", end=" ", flush=True)
    week = Week(seed, size)
    week.run()
    with capsys.disabled():
        print(f"up to {week.most_replicas} replicas at once, {dict(sorted(week.counts.items()))}")
    return week


def test_a_day_of_a_dozen_deployments(capsys):
    week = go_through(seed_of_run(), Size(deployments=12, accelerators=80, seconds=DAY_S), capsys)
    assert week.counts["start"] > 100
    assert week.counts["crash"] > 0
    assert week.counts["stockouts"] > 0
    assert week.counts["ready at the end"] > 0


def test_hours_of_many_seeds_full_of_faults(capsys):
    first = seed_of_run()
    with capsys.disabled():
        print(f"\nFIREDECK_SEED={first} and the {SEEDS - 1} after it", end=" ", flush=True)
    run_seeds(first, SEEDS)


def test_the_same_seed_is_the_same_week():
    runs = [Week(7, SMALL), Week(7, SMALL)]
    for run in runs:
        run.run()
    assert runs[0].counts == runs[1].counts
    assert set(runs[0].cloud.spots) == set(runs[1].cloud.spots)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_week_of_a_thousand_deployments(capsys):
    size = Size(deployments=1000, accelerators=8_000, seconds=7 * DAY_S, faults_per_day=2, restarts=14)
    week = go_through(seed_of_run(), size, capsys)
    assert week.most_replicas > 5000


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_hours_of_ten_thousand_seeds_full_of_faults():
    run_seeds(seed_of_run(), SOAK_SEEDS)


def run_seeds(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            Week(seed, SMALL).run()
        except AssertionError as broken:
            raise AssertionError(f"FIREDECK_SEED={seed}: {broken}") from broken
