"""The line of replicas that wait for a place: who is told first that there is room again.

Each asks its driver again after a back-off (`engine.control.stockout`). Freed room cuts that short: whoever came first
is called first, the next one once that one has its answer, so that nobody younger pushes in. What was refused to one is
not asked for others of the same need until more room is freed: a call costs as many questions as there are kinds of
needs, plus one for each replica that is placed.

Preemptible replicas give way to the others: those that stand end where that makes room (`engine.fleet.lodgers`), and
until it is taken those that wait hold back; at any other time they are called after the others.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from engine.clock import Clock
from engine.control.stockout import retry_s
from engine.fleet.lodgers import Lodgers
from engine.fleet.replica import Replica
from engine.placement import fit
from engine.placement.port import Driver, Launch, Need, Node, Placed, Stockout

T = TypeVar("T")

WATCH_EVERY_S = 1.0  # for nodes that take replicas again; only while somebody waits


class HeldUp(Protocol):
    """Told of a refusal: what there is too little of, and when (monotonic) there will be another try at the latest."""

    async def __call__(self, why: str, retry_at: float) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiter:
    """`frees`: of the line, when it asked last. `woken` is there while it waits."""

    need: Need
    frees: int = 0
    woken: asyncio.Future[None] | None = None


class Line:
    """Those that wait for a place by one driver, in the order in which they came."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver, self._clock = driver, clock
        self._waiters: list[_Waiter] = []
        self._called: _Waiter | None = None  # it has no answer yet
        self._refused: set[Need] = set()  # since room was freed last
        self.lodgers = Lodgers(driver, clock)
        self._claims: set[_Waiter] = set()  # for whom preemptible replicas end
        self._frees = 0
        self._watching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    async def place(self, launch: Launch, held_up: HeldUp) -> tuple[Placed, list[Node]]:
        """Started at the first chance, and the nodes as they were just before. Raises what the driver raises, but no
        Stockout."""

        async def start() -> tuple[Placed, list[Node]]:
            nodes = self._driver.nodes()
            return await self._driver.start(launch), nodes

        return await self._in_turn(launch.need, start, held_up)

    async def room(self, need: Need, held_up: HeldUp) -> None:
        """There is room for one now, which nobody has been given: `place` takes it. Raises FailedPrecondition when no
        node could ever have any."""

        async def look() -> None:
            try:
                fit.choose(self._driver.nodes(), need)
            except Stockout:
                if not self.lodgers.could_make_room(need):
                    raise

        await self._in_turn(need, look, held_up, claims=False)

    async def _in_turn(self, need: Need, ask: Callable[[], Awaitable[T]], held_up: HeldUp, *, claims: bool = True) -> T:
        """What is asked, again and again in turn with the others, until it raises no Stockout any more. `claims`:
        whether preemptible replicas end for it."""
        waiter, attempts, retry_at = _Waiter(need), 0, -math.inf
        self._waiters.append(waiter)
        try:
            while True:
                waiter.frees = self._frees
                try:
                    if need.preemptible and self._claims:
                        raise Stockout("what is free, or soon will be, is for a replica that is not preemptible")
                    return await ask()
                except Stockout as shortage:
                    why = str(shortage) + (self._claim(waiter) if claims else "")
                    now = self._clock.monotonic()
                    if now >= retry_at:  # a call in between is no try of its own
                        attempts += 1
                        retry_at = now + retry_s(attempts, random.random())
                    await held_up(why, retry_at)
                await self._wait(waiter, retry_at)
        finally:
            self._leave(waiter)

    def freed(self) -> None:
        """There is more room than before: call those who wait."""
        self._frees += 1
        self._refused.clear()
        self._call_next()

    def lodge(self, replica: Replica, give_way: Callable[[], None]) -> None:
        """A preemptible replica has its place. It is known only some writes after it took it: whoever was refused in
        between asks again."""
        self.lodgers.add(replica, give_way)
        if any(not waiter.need.preemptible for waiter in self._waiters):
            self.freed()

    def _claim(self, waiter: _Waiter) -> str:
        """Let preemptible replicas end for it, as many as it takes; says so."""
        leaving = self.lodgers.make_room(waiter.need)
        if not leaving:
            self._waive(waiter)
            return ""
        self._claims.add(waiter)
        ending = "a preemptible replica ends" if leaving == 1 else f"{leaving} preemptible replicas end"
        return f"; {ending} to make room"

    def _waive(self, waiter: _Waiter) -> None:
        """It has its place, or cannot have it: those that held back are asked again."""
        if waiter in self._claims:
            self._claims.discard(waiter)
            self._refused = {need for need in self._refused if not need.preemptible}

    async def _wait(self, waiter: _Waiter, retry_at: float) -> None:
        """Until it is called, or until its next try."""
        woken = waiter.woken = asyncio.get_running_loop().create_future()
        timer = asyncio.create_task(self._ring(woken, retry_at), name="try again to place a replica")
        if waiter.frees == self._frees:  # else room was freed after it had asked
            self._refused.add(waiter.need)
        self._answered(waiter)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="watch for nodes that come back")
        try:
            await woken
        finally:
            waiter.woken = None
            timer.cancel()

    async def _ring(self, woken: asyncio.Future[None], at: float) -> None:
        await self._clock.sleep(at - self._clock.monotonic())
        if not woken.done():
            woken.set_result(None)

    def _leave(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        self._waive(waiter)
        self._answered(waiter)
        if not any(one.woken for one in self._waiters) and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def _answered(self, waiter: _Waiter) -> None:
        if self._called is waiter:
            self._called = None
        self._call_next()

    def _call_next(self) -> None:
        """The oldest whose need was not refused since room was freed; preemptible ones last, if at all."""
        if self._called is not None:
            return
        last = [] if self._claims else [one for one in self._waiters if one.need.preemptible]
        for waiter in (*(one for one in self._waiters if not one.need.preemptible), *last):
            if waiter.woken is not None and not waiter.woken.done() and waiter.need not in self._refused:
                self._called = waiter
                waiter.woken.set_result(None)
                return

    async def _watch(self) -> None:
        """Nodes come back without a word."""
        there = self._open_nodes()
        while True:
            await self._clock.sleep(WATCH_EVERY_S)
            former, there = there, self._open_nodes()
            if there - former:
                self.freed()

    def _open_nodes(self) -> set[str]:
        return {node.name for node in self._driver.nodes() if not node.closed}
