"""Replicas that end with their engine: it goes on once they are gone, and says which are not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from engine.clock import FakeClock
from engine.fleet import ending
from engine.placement.port import Driver, Placed

POLITE, DEAF, IMMORTAL = (Placed(f"d-{pid}", Path(f"{pid}.sock"), pid) for pid in (1, 2, 3))
LOOKS = 3  # for which a process is still seen once it was told to end


class Processes:
    """A driver of processes that take a while to go, one of them only when it is killed, and one not even then."""

    def __init__(self) -> None:
        self.told: list[tuple[Placed, bool]] = []
        self.left = {POLITE: LOOKS, DEAF: LOOKS, IMMORTAL: LOOKS}
        self.forgotten: list[Placed] = []

    def stop(self, placed: Placed, *, force: bool) -> None:
        self.told.append((placed, force))

    def alive(self, placed: Placed) -> bool:
        if placed != IMMORTAL and (placed, placed == DEAF) in self.told and self.left[placed]:
            self.left[placed] -= 1
        return self.left[placed] > 0

    def forget(self, placed: Placed) -> None:
        self.forgotten.append(placed)


async def ended(processes: Processes, *placed: Placed) -> float:
    """Seconds of the clock that it took to end them."""
    clock = FakeClock()
    ending_them = asyncio.create_task(ending.end(cast(Driver, processes), placed, clock))
    await asyncio.sleep(0)
    while not ending_them.done():
        clock.advance(ending.POLL_S)
        await asyncio.sleep(0)
    await ending_them
    return clock.monotonic()


async def test_who_does_not_end_when_told_to_is_killed_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    processes = Processes()
    took_s = await ended(processes, POLITE, DEAF)
    assert processes.told == [(POLITE, False), (DEAF, False), (DEAF, True)]
    assert processes.left == {POLITE: 0, DEAF: 0, IMMORTAL: LOOKS}
    assert processes.forgotten == [POLITE, DEAF]
    assert ending.GRACE_S <= took_s < ending.GRACE_S + 1
    assert not caplog.records


async def test_who_outlives_its_kill_is_waited_for_until_the_grace_is_over_and_named(caplog) -> None:
    processes = Processes()
    took_s = await ended(processes, POLITE, IMMORTAL)
    assert ending.GRACE_S + ending.KILLED_GRACE_S <= took_s < 21
    assert processes.forgotten == [POLITE, IMMORTAL]
    (told,) = caplog.records
    assert (told.levelname, "d-3 (pid 3)" in told.message, "d-1" in told.message) == ("WARNING", True, False)


async def test_a_grace_is_time_and_not_looks() -> None:
    processes, clock = Processes(), FakeClock()
    ending_it = asyncio.create_task(ending.end(cast(Driver, processes), [DEAF], clock))
    await asyncio.sleep(0)
    clock.advance(ending.GRACE_S)  # this process was stopped for as long
    await asyncio.sleep(0)
    assert (DEAF, True) in processes.told
    clock.advance(ending.KILLED_GRACE_S)
    await ending_it


async def test_without_replicas_there_is_nothing_to_wait_for() -> None:
    assert await ended(Processes()) == 0
