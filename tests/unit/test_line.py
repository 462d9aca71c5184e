"""Replicas that wait for a place: freed room wakes them at once, oldest first, and costs few questions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import FakeClock
from engine.control.stockout import RETRY_FIRST_S, RETRY_MAX_S
from engine.fleet.line import WATCH_EVERY_S, Line
from engine.placement.port import Launch, Need, Node, Placed, Stockout


class Bay:
    """One node with so many threads free. `asked` counts questions, `order` is who was placed."""

    simulated = True

    def __init__(self, free: int = 0) -> None:
        self.free, self.asked, self.closed = free, 0, ""
        self.order: list[str] = []

    def nodes(self) -> list[Node]:
        return [Node("n", "CPU", 8 << 30, 8 << 30, 64, self.free, closed=self.closed)]

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        self.asked += 1
        if self.closed or launch.need.threads > self.free:
            raise Stockout(f"{launch.need.threads} threads wanted, {self.free} free {self.closed}")
        self.free -= launch.need.threads
        self.order.append(launch.replica)
        await asyncio.sleep(0)  # a process takes a while to start
        return Placed(launch.replica, Path("/nowhere"), 1)


@dataclass
class House:
    bay: Bay
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[float, float]] = field(default_factory=list)  # (now, the next try) at each refusal

    def __post_init__(self) -> None:
        self.line = Line(self.bay, self.clock)
        self.tasks: dict[str, asyncio.Task[tuple[Placed, list[Node]]]] = {}

    async def come(self, replica: str, threads: int) -> None:
        launch = Launch(replica, "d", Path("m"), "key", 1, 512, 1, need=Need(threads=threads))
        self.tasks[replica] = asyncio.create_task(self.line.place(launch, self.held_up))
        await self.settle()

    async def held_up(self, why: str, retry_at: float) -> None:
        self.told.append((self.clock.monotonic(), retry_at))

    async def leave(self, threads: int) -> None:
        self.bay.free += threads
        self.line.freed()
        await self.settle()

    async def wait(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            await self.settle()

    async def settle(self) -> None:
        for _ in range(10 + 5 * len(self.tasks)):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert len(self.line) == 0
        assert self.line._watching is None


@pytest.fixture
async def house():
    made = House(Bay())
    yield made
    await made.close()


async def test_freed_room_is_taken_at_once_and_by_who_came_first(house):
    for name in ("a", "b", "c"):
        await house.come(name, 2)
    assert house.bay.order == []
    await house.leave(4)
    assert house.bay.order == ["a", "b"]
    assert house.clock.monotonic() == 0.0
    await house.leave(2)
    assert house.bay.order == ["a", "b", "c"]


async def test_a_smaller_one_takes_only_what_an_older_bigger_one_cannot(house):
    await house.come("big", 4)
    await house.come("small", 1)
    await house.leave(4)
    assert house.bay.order == ["big"]
    await house.come("big too", 4)
    await house.leave(2)
    assert house.bay.order == ["big", "small"]


async def test_a_thousand_of_one_need_cost_one_question_when_there_is_no_room_for_any(house):
    launches = [Launch(f"r{n}", "d", Path("m"), "key", 1, 512, 1, need=Need(threads=8)) for n in range(1000)]
    house.tasks = {one.replica: asyncio.create_task(house.line.place(one, house.held_up)) for one in launches}
    await house.settle()
    assert house.bay.asked == 1000
    await house.leave(1)
    assert house.bay.asked == 1001
    await house.leave(8)
    assert (house.bay.asked, house.bay.order) == (1003, ["r0"])


async def test_while_nothing_is_freed_nobody_asks_but_at_its_own_times(house):
    await house.come("a", 1)
    await house.wait(200)
    waits = [retry - now for now, retry in house.told]
    assert house.bay.asked == len(waits) <= 8
    assert waits[:5] == sorted(waits[:5])
    assert waits[0] >= RETRY_FIRST_S
    assert waits[-1] <= RETRY_MAX_S


async def test_a_call_in_vain_neither_lengthens_nor_shortens_the_back_off(house):
    await house.come("a", 4)
    first = house.told[0][1]
    for _ in range(10):
        await house.leave(0)
    assert {retry for _, retry in house.told} == {first}
    assert house.bay.asked == 11


async def test_room_freed_while_somebody_asks_is_not_missed(house):
    async def slow(why: str, retry_at: float) -> None:
        await house.held_up(why, retry_at)
        if len(house.told) == 1:
            house.bay.free = 1
            house.line.freed()

    launch = Launch("a", "d", Path("m"), "key", 1, 512, 1, need=Need(threads=1))
    house.tasks["a"] = asyncio.create_task(house.line.place(launch, slow))
    await house.settle()
    assert house.bay.order == ["a"]


async def test_a_node_that_comes_back_is_noticed_within_seconds(house):
    house.bay.free, house.bay.closed = 2, "out of stock"
    await house.come("a", 1)
    await house.wait(100)
    house.bay.closed = ""
    await house.wait(2 * WATCH_EVERY_S)
    assert house.bay.order == ["a"]


async def test_one_that_gives_up_while_it_is_called_does_not_hold_up_the_others(house):
    for name in ("a", "b"):
        await house.come(name, 1)
    house.bay.free = 1
    house.line.freed()
    house.tasks["a"].cancel()
    await house.settle()
    assert house.bay.order == ["b"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.lists(st.integers(0, 6), max_size=6))
def test_whatever_is_freed_goes_to_the_oldest_that_it_is_enough_for(needs, frees):
    async def run() -> None:
        house = House(Bay())
        for number, threads in enumerate(needs):
            await house.come(f"{number}", threads)
        waiting, free = list(enumerate(needs)), 0
        for more in frees:
            free, asked, placed = free + more, house.bay.asked, 0
            await house.leave(more)
            for one in list(waiting):
                if one[1] <= free:
                    free, placed = free - one[1], placed + 1
                    waiting.remove(one)
            assert set(house.bay.order) == {str(n) for n in range(len(needs))} - {str(n) for n, _ in waiting}
            assert house.bay.free == free
            assert house.bay.asked - asked <= placed + len(set(needs))
        await house.close()

    asyncio.run(run())
