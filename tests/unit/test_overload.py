"""Four times more than a deployment can do, on a clock that tests turn: the replicas are never idle, the queue stays
bounded, who is turned away is told at once and when to come back."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FiredeckError, ResourceExhausted
from engine.clock import FakeClock
from engine.control.pace import KEPT, KEPT_MAX, KNOWN_AFTER, RETRY_MAX_S, RETRY_MIN_S, Pace, Service, latest_start_s
from engine.control.route import PREFETCH
from engine.fleet.lobby import QUEUE_MAX, Lobby
from tests import seeds
from tests.unit.places import counted

REPLICAS, SLOTS = 2, 4
SERVICE_S = 10.0  # long, so that no deadline is reached in the seconds that this takes
CAPACITY = REPLICAS * SLOTS / SERVICE_S  # requests a second
STEP_S = SERVICE_S / 64


class Overload:
    """Arrivals at a steady rate at replicas of which each runs SLOTS requests at a time, SERVICE_S seconds each."""

    def __init__(self, deadline_s: float, most_wait_s: float | None = None, *, whole: bool = False) -> None:
        """`whole`: clients want the end of their answers within the deadline, not only a place."""
        self.deadline_s, self.whole = deadline_s, whole
        self.service_s = SERVICE_S
        self.clock = FakeClock()
        self.replicas = [counted(f"r{i}", SLOTS) for i in range(REPLICAS)]
        self.running = {replica.id: asyncio.Semaphore(SLOTS) for replica in self.replicas}
        self.lobby = Lobby(
            lambda: self.replicas,  # type: ignore[arg-type, return-value]
            lambda: None, self.clock, most_wait_s=lambda: most_wait_s,
        )  # fmt: skip
        self.waits: list[float] = []
        self.refused: list[tuple[float, FiredeckError]] = []  # after how long, and with what
        self.late = 0  # had a place, and no answer in time
        self.longest_queue = 0
        self.visits: list[asyncio.Task[None]] = []

    async def visit(self) -> None:
        came_at = self.clock.monotonic()
        try:
            answered_in_s = self.deadline_s if self.whole else None
            async with self.lobby.place(self.deadline_s, answered_in_s=answered_in_s) as replica:
                placed_at = self.clock.monotonic()
                async with self.running[replica.id]:
                    takes_s, left_s = self.service_s, came_at + self.deadline_s - self.clock.monotonic()
                    await self.clock.sleep(min(takes_s, max(0.0, left_s)) if self.whole else takes_s)
                self.late += self.whole and left_s < takes_s
        except FiredeckError as error:
            self.refused.append((self.clock.monotonic() - came_at, error))
        else:
            self.waits.append(placed_at - came_at)

    async def run(self, rate: float, seconds: float) -> None:
        owed = 0.0
        for _ in range(round(seconds / STEP_S)):
            owed += rate * STEP_S
            while owed >= 1:
                owed -= 1
                self.come()
            for _ in range(6):
                await asyncio.sleep(0)
            self.longest_queue = max(self.longest_queue, self.lobby.held)
            self.clock.advance(STEP_S)

    def come(self) -> None:
        self.visits.append(asyncio.create_task(self.visit()))

    async def end(self) -> None:
        for task in self.visits:
            task.cancel()
        await asyncio.gather(*self.visits, return_exceptions=True)


@pytest.mark.parametrize("deadline_s", [100.0, 3000.0])
async def test_at_four_times_the_capacity_goodput_stays_at_the_capacity(deadline_s: float) -> None:
    seconds = 400.0
    load = Overload(deadline_s)
    await load.run(4 * CAPACITY, seconds)
    await load.end()
    goodput = len(load.waits) / (CAPACITY * seconds)
    print(f"deadline {deadline_s:.0f} s: goodput {goodput:.3f} of capacity, {len(load.refused)} refused,"
          f" queue at most {load.longest_queue}, waited at most {max(load.waits):.1f} s")  # fmt: skip
    assert goodput >= 0.9
    assert load.longest_queue <= QUEUE_MAX
    assert load.refused
    assert all(isinstance(error, ResourceExhausted) and after_s == 0 for after_s, error in load.refused), "at once"
    assert all(RETRY_MIN_S <= (error.retry_after_s or 0) <= RETRY_MAX_S for _, error in load.refused)
    assert max(load.waits) <= deadline_s * 1.25, "who was let in was served in time"


async def test_below_its_capacity_nobody_is_refused() -> None:
    load = Overload(deadline_s=100.0)
    await load.run(0.9 * CAPACITY, 200.0)
    await load.end()
    assert not load.refused


async def test_a_time_without_replicas_is_no_pace() -> None:
    load = Overload(deadline_s=100.0)
    await load.run(4 * CAPACITY, 50.0)
    assert load.lobby.held
    assert load.lobby._pace.wait_s(1, load.clock.monotonic()) is not None
    load.deadline_s = 150.0  # enough for those who wait, at the pace at which they were served
    gone, load.replicas[:] = load.replicas[:], []
    for replica in gone:
        replica.suspect = True
    load.clock.advance(10_000.0)
    refused = len(load.refused)
    load.come()
    await asyncio.sleep(0)
    load.replicas[:] = gone
    load.come()
    await asyncio.sleep(0)
    assert len(load.refused) == refused, "who comes in the outage or after it may wait"
    await load.end()


@pytest.mark.parametrize("most_wait_s", [5.0, 40.0])
async def test_where_nobody_is_to_wait_long_the_queue_follows_what_the_replicas_do(most_wait_s: float) -> None:
    seconds = 400.0
    load = Overload(3000.0, most_wait_s)
    await load.run(4 * CAPACITY, seconds)
    late = load.waits[len(load.waits) // 2 :]
    await load.end()
    goodput = len(load.waits) / (CAPACITY * seconds)
    print(f"at most {most_wait_s:.0f} s: goodput {goodput:.3f} of capacity, {len(load.refused)} refused, queue at most"
          f" {load.longest_queue}, waited at most {max(load.waits):.1f} s, {max(late):.1f} s later on")  # fmt: skip
    assert goodput >= 0.9, "replicas are as busy as without it"
    assert max(late) <= most_wait_s + SERVICE_S
    assert all(isinstance(error, ResourceExhausted) and after_s == 0 for after_s, error in load.refused), "at once"
    assert any("maxQueueWait" in error.text for _, error in load.refused)
    assert load.longest_queue < QUEUE_MAX


async def test_slower_replicas_make_a_shorter_queue_and_faster_ones_a_longer_one() -> None:
    """The bound is of the pace now, not of what it was."""
    most_s, queues = 20.0, []
    pace, now = Pace(), 0.0
    pace.begin(now)
    for gap_s in (0.1, 1.0, 0.1):
        for _ in range(KEPT):
            now += gap_s
            pace.given(now)
        queues.append(next(places for places in range(1, 1000) if pace.over(most_s, places, 0.0, now)) - 1)
    assert queues == [pytest.approx(200, abs=2), pytest.approx(20, abs=1), pytest.approx(200, abs=2)]


async def crowd(load: Overload, count: int) -> None:
    """So many at one instant."""
    for _ in range(count):
        load.come()
    for _ in range(6):
        await asyncio.sleep(0)


async def test_of_a_first_crowd_as_many_wait_as_run_while_nothing_is_known() -> None:
    load = Overload(3000.0, 5.0)
    await crowd(load, 400)
    assert load.lobby.held == REPLICAS * SLOTS
    assert len(load.refused) == 400 - load.lobby.held - REPLICAS * (SLOTS + PREFETCH)
    assert all("before the first was answered" in error.text for _, error in load.refused)
    for replica in load.replicas:
        replica.slots = 0  # and nothing is served
    load.clock.advance(6.0)
    before = len(load.refused)
    load.come()
    await asyncio.sleep(0)
    assert len(load.refused) == before + 1, "the first of those who wait does so for too long already"
    await load.end()


@pytest.mark.parametrize("rate", [0.1, 1.0])  # of the capacity: one at a time, and all slots busy
async def test_a_crowd_that_meets_an_empty_queue_is_bounded_by_what_requests_took_before(rate: float) -> None:
    most_wait_s = 40.0
    load = Overload(3000.0, most_wait_s)
    await load.run(rate * CAPACITY, 600.0)
    while load.lobby.held or any(replica.in_flight for replica in load.replicas):
        await load.run(0.0, STEP_S)
    load.refused.clear()
    load.waits.clear()
    await crowd(load, 400)
    held = load.lobby.held
    fit = round(most_wait_s * CAPACITY)
    print(f"after {rate:g} of the capacity: {held} of 400 wait, where {fit} have a place within {most_wait_s:g} s")
    assert fit / 2.5 <= held <= fit * 1.1, "alone, requests may be faster than beside others: fewer are let in then"
    assert all(after_s == 0 and "maxQueueWait" in error.text for after_s, error in load.refused)
    await load.run(0.0, 2 * most_wait_s)
    await load.end()
    assert len(load.waits) == 400 - len(load.refused)
    assert max(load.waits) <= most_wait_s + SERVICE_S


async def test_a_crowd_that_meets_an_empty_queue_is_let_in_as_far_as_its_deadline_lets_it_have_a_place() -> None:
    deadline_s = 40.0
    load = Overload(deadline_s)
    await load.run(CAPACITY, 600.0)
    while load.lobby.held or any(replica.in_flight for replica in load.replicas):
        await load.run(0.0, STEP_S)
    load.waits.clear()
    await crowd(load, 400)
    held = load.lobby.held
    await load.run(0.0, 2 * deadline_s)
    await load.end()
    assert deadline_s * CAPACITY / 2.5 <= held <= deadline_s * CAPACITY
    assert all(after_s == 0 and "this one has 40s" in error.text for after_s, error in load.refused), "at once"
    assert len(load.waits) == 400 - len(load.refused)
    assert max(load.waits) <= deadline_s


async def test_who_waits_for_replicas_that_are_slower_than_they_were_is_told_so_long_before_its_deadline() -> None:
    """All was short until now, so that a crowd of long requests is let in."""
    deadline_s = 100.0
    load = Overload(deadline_s)
    load.service_s = SERVICE_S / 50
    await load.run(CAPACITY, 200.0)
    await load.run(0.0, SERVICE_S)
    load.service_s = SERVICE_S
    load.waits.clear()
    await crowd(load, 300)
    assert not load.refused
    await load.run(0.0, 2 * deadline_s)
    await load.end()
    fit = deadline_s * CAPACITY + REPLICAS * (SLOTS + PREFETCH)
    told = sorted(after_s for after_s, _ in load.refused)
    print(f"{len(load.waits)} served, where {fit:.0f} could be; {len(told)} told after {told[0]:.0f} s and later")
    assert len(load.waits) + len(load.refused) == 300
    assert 0.9 * fit <= len(load.waits) <= fit
    assert told[len(told) // 2] <= deadline_s / 3
    assert all("more slowly than it looked" in error.text and error.retry_after_s for _, error in load.refused)


async def test_who_goes_on_after_a_lost_replica_is_not_turned_away_while_it_waits() -> None:
    load = Overload(100.0)
    load.service_s = SERVICE_S / 50
    await load.run(CAPACITY, 200.0)
    load.service_s = SERVICE_S
    await crowd(load, 300)

    async def come_again() -> None:
        async with load.lobby.place(100.0, frozenset({"r9"})):
            pass

    again = asyncio.create_task(come_again())
    await load.run(0.0, 50.0)
    assert load.refused
    assert not again.done()
    again.cancel()
    await load.end()


class Varied(Overload):
    """Requests take from a fifth to nine fifths of what they take on the mean."""

    def __init__(self, deadline_s: float, *, whole: bool) -> None:
        self._chance = random.Random(seeds.SAME)
        super().__init__(deadline_s, whole=whole)

    @property
    def service_s(self) -> float:
        return self._chance.uniform(0.2, 1.8) * SERVICE_S

    @service_s.setter
    def service_s(self, seconds: float) -> None:
        """It varies."""


async def test_however_long_each_request_takes_few_who_are_let_in_wait_in_vain() -> None:
    for deadline_s, most in ((40.0, 0.02), (100.0, 0.05)):
        load = Varied(deadline_s, whole=False)
        await load.run(4 * CAPACITY, 600.0)
        await load.end()
        vain = sum(seconds > deadline_s for seconds in load.waits)
        print(f"{vain} of {len(load.waits)} would have waited longer than their {deadline_s:.0f} s")
        assert vain <= most * len(load.waits)
        load = Varied(deadline_s, whole=True)
        await load.run(4 * CAPACITY, 600.0)
        await load.end()
        goodput = (len(load.waits) - load.late) / (CAPACITY * 600.0)
        print(f"answered within {deadline_s:.0f} s: goodput {goodput:.3f} of capacity, {load.late} late")
        assert goodput >= 0.85


@pytest.mark.parametrize("deadline_s", [40.0, 60.0])
async def test_at_four_times_the_capacity_replicas_work_for_nobody_whose_answer_would_be_late(
    deadline_s: float,
) -> None:
    seconds = 400.0
    load = Overload(deadline_s, whole=True)
    await load.run(4 * CAPACITY, seconds)
    await load.end()
    goodput = (len(load.waits) - load.late) / (CAPACITY * seconds)
    print(f"answered within {deadline_s:.0f} s: goodput {goodput:.3f} of capacity, {load.late} late")
    assert goodput >= 0.9
    assert any("an answer takes about 10s" in error.text for _, error in load.refused)


def test_an_answer_is_begun_in_time_for_its_end_and_short_ones_are_not_judged_by_long_ones() -> None:
    assert latest_start_s(None, 10.0) == math.inf
    assert latest_start_s(60.0, 0.0) == 60.0, "nothing is known"
    assert latest_start_s(60.0, 10.0) == 45.0, "many take longer than the mean"
    assert latest_start_s(5.0, 10.0) == 2.5, "half of its time may be waited, though others take longer than all of it"


def test_one_that_was_cut_off_makes_no_request_look_shorter() -> None:
    service = served([(10.0, 4, 4)] * 20)
    service.ended(3.0, 4, 4, cut=True)
    assert service.known_s == pytest.approx(10.0)
    service.ended(30.0, 4, 4, cut=True)
    assert service.known_s == pytest.approx(12.0, rel=0.01)


def test_one_that_took_an_hour_is_ten_times_as_long_as_others_at_most() -> None:
    service = served([(10.0, 4, 4)] * 200 + [(3600.0, 4, 4)])
    assert service.known_s == pytest.approx(19.0, rel=0.01)
    for _ in range(60):
        service.ended(3600.0, 4, 4)
    assert service.known_s == pytest.approx(3600.0, rel=0.05), "where all are, that is what they take"


async def test_what_a_lost_replica_had_tells_nothing_of_what_requests_take() -> None:
    load = Overload(3000.0)
    load.come()
    await load.run(0.0, 2 * SERVICE_S)
    known_s = load.lobby._service.known_s
    assert known_s
    for replica in load.replicas:
        replica.suspect = True
    load.come()
    await load.run(0.0, STEP_S)
    load.clock.advance(1000 * SERVICE_S)
    await load.end()
    assert load.lobby._service.known_s == known_s


async def test_who_has_been_with_a_replica_already_is_not_turned_away_for_the_length_of_the_queue() -> None:
    load = Overload(3000.0, 5.0)
    await load.run(4 * CAPACITY, 100.0)
    held = load.lobby.held
    assert load.refused

    async def come_again() -> None:
        async with load.lobby.place(3000.0, frozenset({"r9"})):
            pass

    again = asyncio.create_task(come_again())
    await asyncio.sleep(0)
    assert (load.lobby.held, again.done()) == (held + 1, False)
    again.cancel()
    await load.end()


spans = st.floats(0.01, 100.0)
ended = st.lists(st.tuples(spans, st.integers(1, 64), st.integers(1, 65)), max_size=40)


def served(known: list[tuple[float, int, int]]) -> Service:
    service = Service()
    for one in known:
        service.ended(*one)
    return service


@given(
    st.floats(0.01, 10.0), st.integers(0, 3 * KEPT), st.integers(1, 600), st.floats(0.1, 100.0), st.floats(0, 50.0),
    st.integers(1, 64), ended,
)  # fmt: skip
def test_a_longer_queue_is_never_let_in_where_a_shorter_one_is_not(
    gap_s: float, count: int, places: int, most_s: float, oldest_s: float, slots: int,
    known: list[tuple[float, int, int]],
) -> None:  # fmt: skip
    pace, now, service = Pace(), 0.0, served(known)
    pace.begin(now)
    for _ in range(count):
        now += gap_s
        pace.given(now)
    if pace.over(most_s, places, oldest_s, now, slots, service):
        assert pace.over(most_s, places + 1, oldest_s, now, slots, service)
        assert pace.over(most_s, places, oldest_s, now + 1, slots, service), "time alone makes nothing faster"
        if known:
            assert pace.over(most_s / 2, places, oldest_s, now, slots, service)
    elif pace.known(slots):
        assert places * gap_s <= most_s * 1.001
    else:
        assert oldest_s <= most_s
        assert places <= slots * most_s / (service.request_s(most_s) * (1 - count / max(KNOWN_AFTER, slots))) * 1.001


@given(st.integers(1, 600), st.floats(0.1, 100.0), st.integers(1, 64), ended)
def test_a_queue_that_has_just_formed_is_bounded_whatever_is_known(
    places: int, most_s: float, slots: int, known: list[tuple[float, int, int]]
) -> None:
    pace, service = Pace(), served(known)
    pace.begin(7.0)
    over = pace.over(most_s, places, 0.0, 7.0, slots, service)
    wait_s = places * service.request_s(most_s) / slots
    assert over == (wait_s > most_s) or wait_s == pytest.approx(most_s), "but for rounding"
    assert known or places == slots or over == (places > slots)


@given(spans, st.integers(1, 64), st.integers(1, 200), spans)
def test_what_requests_take_is_known_from_the_first_and_the_assumption_fades(
    seconds: float, slots: int, count: int, assumed_s: float
) -> None:
    service = served([(seconds, slots, slots)] * count)
    assert service.known_s == pytest.approx(seconds)
    low, high = sorted((seconds, assumed_s))
    assert low * 0.999 <= service.request_s(assumed_s) <= high * 1.001
    part = 1 / (count + 1) if count < 10 else 0.1 * 0.9 ** (count - 9)
    assert service.request_s(assumed_s) - seconds == pytest.approx((assumed_s - seconds) * part, abs=1e-9 * high)


@given(spans, st.integers(1, 64))
def test_what_waited_in_its_replica_is_taken_out_and_what_ran_alone_is_no_measure_of_a_full_one(
    seconds: float, slots: int
) -> None:
    full = served([(seconds, slots, slots)]).known_s or 0.0
    queued = served([(seconds * (slots + PREFETCH) / slots, slots, slots + PREFETCH)]).known_s
    alone = served([(seconds, slots, 1)]).known_s or 0.0
    assert queued == pytest.approx(full)
    assert full <= alone <= full * slots + 1e-9


@given(spans, st.integers(1, 64), st.integers(1, 400), st.floats(0.1, 100.0))
def test_who_is_let_in_of_a_crowd_waits_no_longer_than_the_bound_and_one_turn(
    seconds: float, slots: int, count: int, most_s: float
) -> None:
    """All slots have just begun, and the deployment's requests take what they always took."""
    pace, service = Pace(), served([(seconds, slots, slots)] * 200)
    pace.begin(0.0)
    waiting = 0
    for _ in range(count):
        waiting += not pace.over(most_s, waiting + 1, 0.0, 0.0, slots, service)
    last_s = -(-waiting // slots) * seconds
    assert last_s <= most_s * 1.001 + seconds
    assert waiting == count or (waiting + 1) * seconds / slots > most_s * 0.999, "what fits is let in"


@pytest.mark.parametrize("slots", [4, 64, KEPT_MAX // 2])
def test_slots_that_end_their_requests_together_make_a_queue_look_neither_fast_nor_slow(slots: int) -> None:
    pace, turn_s = Pace(), 10.0
    pace.begin(0.0)
    for turn in range(1, 5):
        for _ in range(slots):
            pace.given(turn * turn_s)
        if turn * slots >= KNOWN_AFTER:
            wait_s = pace.wait_s(slots, turn * turn_s, slots)
            assert wait_s is not None
            assert 0.5 * turn_s <= wait_s <= 2 * turn_s


@given(st.floats(0.01, 100.0), st.integers(KNOWN_AFTER, 3 * KEPT), st.integers(1, 600))
def test_a_steady_pace_is_known_exactly(gap_s: float, count: int, places: int) -> None:
    pace, now = Pace(), 0.0
    pace.begin(now)
    for _ in range(count):
        assert pace.wait_s(places, now) is None or pace.wait_s(places, now) > 0
        now += gap_s
        pace.given(now)
    assert pace.wait_s(places, now) == pytest.approx(places * gap_s)
    assert pace.wait_s(places, now + 1000) > places * gap_s, "standing still, it grows slow"
    pace.begin(now)
    assert pace.wait_s(places, now) is None
    assert pace.retry_s(places, now, 5.0) == 5.0
    assert RETRY_MIN_S <= pace.retry_s(places, now, 5.0, 1, gap_s) <= RETRY_MAX_S
