"""Four times more than a deployment can do, on a clock that tests turn: the replicas are never idle, the queue stays
bounded, who is turned away is told at once and when to come back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FiredeckError, ResourceExhausted
from engine.clock import FakeClock
from engine.control.pace import KEPT, KNOWN_AFTER, RETRY_MAX_S, RETRY_MIN_S, Pace
from engine.fleet.lobby import QUEUE_MAX, Lobby
from tests.unit.places import counted

REPLICAS, SLOTS = 2, 4
SERVICE_S = 10.0  # long, so that no deadline is reached in the seconds that this takes
CAPACITY = REPLICAS * SLOTS / SERVICE_S  # requests a second
STEP_S = SERVICE_S / 64


class Overload:
    """Arrivals at a steady rate at replicas of which each runs SLOTS requests at a time, SERVICE_S seconds each."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.clock = FakeClock()
        self.replicas = [counted(f"r{i}", SLOTS) for i in range(REPLICAS)]
        self.running = {replica.id: asyncio.Semaphore(SLOTS) for replica in self.replicas}
        self.lobby = Lobby(lambda: self.replicas, lambda: None, self.clock)  # type: ignore[arg-type, return-value]
        self.waits: list[float] = []
        self.refused: list[tuple[float, FiredeckError]] = []  # after how long, and with what
        self.longest_queue = 0
        self.visits: list[asyncio.Task[None]] = []

    async def visit(self) -> None:
        came_at = self.clock.monotonic()
        try:
            async with self.lobby.place(self.deadline_s) as replica:
                placed_at = self.clock.monotonic()
                async with self.running[replica.id]:
                    await self.clock.sleep(SERVICE_S)
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
    gone, load.replicas[:] = load.replicas[:], []
    load.clock.advance(10_000.0)
    refused = len(load.refused)
    load.come()
    await asyncio.sleep(0)
    load.replicas[:] = gone
    load.come()
    await asyncio.sleep(0)
    assert len(load.refused) == refused, "who comes in the outage or after it may wait"
    await load.end()


@given(st.floats(0.01, 100.0), st.integers(KNOWN_AFTER, 3 * KEPT), st.integers(1, 600))
def test_a_steady_pace_is_known_exactly(gap_s: float, count: int, places: int) -> None:
    pace, now = Pace(), 0.0
    for _ in range(count):
        assert pace.wait_s(places, now) is None or pace.wait_s(places, now) > 0
        pace.given(now)
        last, now = now, now + gap_s
    assert pace.wait_s(places, last) == pytest.approx(places * gap_s)
    assert pace.wait_s(places, last + 1000) > places * gap_s, "standing still, it grows slow"
    pace.begin()
    assert pace.wait_s(places, now) is None
    assert pace.retry_s(places, now, 5.0) == 5.0
