"""Over random lives of replicas and engines the ledger's sum is the integral of ready replicas.

Each run prints its seed; FIREDECK_SEED=... goes through the same lives again.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from engine.control.ledger import Axis, Beat, Book, Interval, Presence, Terms
from engine.control.price import HOUR_MS
from engine.telemetry.ledger import ALL_MS
from tests import seeds

SEEDS, STEPS = 200, 300
SOAK_SEEDS = 10_000
TICK_S, BEAT_S = 1.0, 30.0
ROUNDING_S = 0.001  # of the length of an interval between two instants in whole milliseconds
EPOCH_MS = 1_793_000_000_000
NAME = "accounts/local/deployments/d"
TERMS = Terms("n1", "US_IOWA_1", "NVIDIA_H100_80GB", 2, 1_000_000, simulated=True)


@dataclass
class Life:
    """A replica as it really is. `ready_at`: since when it takes requests. `held`: it did so from then until the last
    beat of an engine that was killed, and has not taken any since."""

    since: float
    ready_at: float | None = None
    held: tuple[float, float] | None = None


class World:
    """One machine in the time `t` that really goes by; `rows` and `last` are what lies on its disk."""

    def __init__(self, seed: int, *, clock_is_set: bool = True) -> None:
        self.chance, self.clock_is_set = random.Random(seed), clock_is_set
        self.t, self.booted_at, self.boots, self.wall_off_s = 0.0, -5000.0, 1, 0.0
        self.lives: dict[str, Life] = {}
        self.rows: dict[int, Interval] = {}
        self.last: Beat | None = None
        self.beat_t = 0.0
        self.book: Book | None = None
        self.integral_s = self.doubt_s = 0.0
        self.happened: Counter[str] = Counter()

    def run(self) -> None:
        self.start()
        for _ in range(STEPS):
            self.step()
        if self.book is None:
            self.start()
        self.look()
        assert self.book is not None
        self.write(self.book.close(self.monotonic()))
        for life in self.lives.values():
            self.over(life, self.t)

    def step(self) -> None:
        self.t += TICK_S
        if self.book is None:
            if self.chance.random() < 0.3:
                self.start()
            return
        events = (self.nothing, self.born, self.ready, self.drained, self.died, self.killed, self.set_clock)
        happens = self.chance.choices(events, (60, 15, 40, 10, 8, 4, 4))[0]
        self.happened[happens.__name__] += 1
        happens(self.t - self.chance.random() * TICK_S)  # at some instant since the last look
        if self.book is not None:
            self.look()

    def start(self) -> None:
        """An engine reads what there is; replicas that live still are taken over, not ready yet."""
        for name in [name for name in self.lives if self.chance.random() < 0.2]:
            self.over(self.lives.pop(name), self.t)
        axis = Axis.after(self.last, self.wall_ms(), f"boot {self.boots}", self.monotonic())
        left = [row for row in self.rows.values() if row.ended_ms is None]
        self.book = Book(axis, left, self.last, max(self.rows, default=0))
        self.write(list(self.book.open.values()))
        for life in self.lives.values():
            life.since = self.t

    def look(self) -> None:
        assert self.book is not None
        now = self.monotonic()
        there = {
            name: Presence(NAME, life.since - self.booted_at, now, TERMS if life.ready_at is not None else None)
            for name, life in self.lives.items()
        }
        changed = self.book.observe(there, now) + self.book.reset(now, self.wall_ms())
        if changed or self.t - self.beat_t >= BEAT_S:
            self.write(changed)

    def write(self, changed: list[Interval]) -> None:
        assert self.book is not None
        self.rows |= {one.number: one for one in changed}
        self.last, self.beat_t = self.book.axis.beat(self.monotonic()), self.t

    def monotonic(self) -> float:
        return self.t - self.booted_at

    def wall_ms(self) -> int:
        return EPOCH_MS + round((self.t + self.wall_off_s) * 1000)

    def nothing(self, at: float) -> None:
        """Time goes by."""

    def born(self, at: float) -> None:
        self.lives[f"r{self.happened['born']}"] = Life(at)

    def ready(self, at: float) -> None:
        life = self.one(ready=False)
        if life is not None:
            life.since = at
            life.ready_at, life.held = life.held[0] if life.held else at, None

    def drained(self, at: float) -> None:
        life = self.one(ready=True)
        if life is not None:
            self.over(life, at)
            life.since = at

    def died(self, at: float) -> None:
        life = self.one(ready=self.chance.random() < 0.7)
        if life is not None:
            self.doubt_s += TICK_S if life.ready_at is not None else 0.0
            self.over(life, at)
            self.lives = {name: other for name, other in self.lives.items() if other is not life}

    def killed(self, at: float) -> None:
        """The engine, by SIGKILL, or the whole machine. The last beat is the last that is known."""
        self.book = None
        for life in self.lives.values():
            if life.ready_at is not None:
                life.held, life.ready_at = (life.ready_at, max(self.beat_t, life.ready_at)), None
        self.t += self.chance.uniform(0, 50)
        if self.chance.random() < 0.3:
            for life in self.lives.values():
                self.over(life, self.t)
            self.lives.clear()
            self.boots, self.booted_at = self.boots + 1, self.t
            self.t += self.chance.uniform(5, 60)

    def set_clock(self, at: float) -> None:
        """By hand, by the end of summer time done wrong, by a leap second."""
        if self.clock_is_set:
            self.wall_off_s += self.chance.choice((3600.0, -3600.0, 1.0, -1.0, self.chance.uniform(-90_000, 90_000)))

    def one(self, *, ready: bool) -> Life | None:
        lives = [life for life in self.lives.values() if (life.ready_at is not None) == ready]
        return self.chance.choice(lives) if lives else None

    def over(self, life: Life, at: float) -> None:
        """It takes no requests any more: what it was ready for counts."""
        began, ended = life.held or (life.ready_at, at)
        if began is not None:
            self.integral_s += ended - began
        life.held = life.ready_at = None

    def sum_s(self) -> float:
        assert all(row.ended_ms is not None and row.held_ms is None for row in self.rows.values())
        return sum(row.within(0, 2**62) for row in self.rows.values()) / 1000

    def check(self) -> None:
        """Within one tick for each replica that died unseen, and to the millisecond for all others."""
        slack = len(self.rows) * ROUNDING_S + 1e-6
        short_s = self.integral_s - self.sum_s()
        assert -slack <= short_s <= self.doubt_s + slack, f"{short_s:.3f} s short, {self.doubt_s} in doubt"


def lives_of_many_seeds(first: int, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    happened: Counter[str] = Counter()
    hours = 0.0
    for seed in range(first, first + count):
        world = World(seed)
        try:
            world.run()
            world.check()
        except AssertionError as broken:
            raise AssertionError(f"FIREDECK_SEED={seed}: {broken}") from broken
        happened += world.happened
        hours += world.integral_s / 3600
    with capsys.disabled():
        print(f"\nFIREDECK_SEED={first} and {count - 1} more: {hours:.1f} replica-hours, {dict(happened)}")


def test_the_sum_of_intervals_is_the_integral_of_ready_replicas_through_kills_reboots_and_clock_jumps(capsys):
    lives_of_many_seeds(seeds.of_run(), SEEDS, capsys)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_same_for_ten_thousand_seeds(capsys):
    lives_of_many_seeds(seeds.of_run(), SOAK_SEEDS, capsys)


def test_intervals_of_one_replica_never_overlap_while_nobody_sets_the_clock():
    for seed in range(50):
        world = World(seed, clock_is_set=False)
        world.run()
        world.check()
        by_replica: dict[str, list[Interval]] = {}
        for row in world.rows.values():
            by_replica.setdefault(row.replica, []).append(row)
        for rows in by_replica.values():
            rows.sort(key=lambda row: (row.began_ms, row.ended_ms))
            assert all(a.ended_ms <= b.began_ms for a, b in itertools.pairwise(rows)), f"seed {seed}"


def test_periods_that_follow_each_other_add_up_to_the_whole():
    world = World(1)
    world.run()
    cuts = sorted([0, 2**62, *(EPOCH_MS + world.chance.randint(-(10**8), 10**8) for _ in range(20))])
    parts = sum(row.within(a, b) for row in world.rows.values() for a, b in itertools.pairwise(cuts))
    assert parts / 1000 == pytest.approx(world.sum_s())


@pytest.mark.parametrize("per_ms", [977, HOUR_MS, 24 * HOUR_MS, ALL_MS])
def test_the_hours_or_days_of_an_interval_add_up_to_it_and_none_is_longer(per_ms):
    world = World(2)
    world.run()
    start, end = EPOCH_MS - 10**7, EPOCH_MS + 10**7
    for row in world.rows.values():
        parts = list(row.parts(start, end, per_ms))
        assert sum(ms for _, ms in parts) == row.within(start, end)
        assert all(at % per_ms == 0 and 0 < ms <= per_ms for at, ms in parts)
        assert all(a + per_ms == b for (a, _), (b, _) in itertools.pairwise(parts)), "without a gap"
