"""The line of replicas that wait for a place: who is told first that there is room again.

Each asks its driver again after a back-off (`engine.control.stockout`). Freed room cuts that short: whoever came first
is called first, the next one once that one has its answer, so that nobody younger pushes in. What was refused to one is
not asked for others of the same need until more room is freed: a call costs as many questions as there are kinds of
needs, plus one for each replica that is placed.

Preemptible replicas give way to the others: those that stand end where that makes room (`engine.fleet.lodgers`), which
is kept for the one that they end for; those that wait are called after all others.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
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
    """`frees`: of the line, when it asked last; `claims`: whether room was being made for it after that. `woken` is
    there while it waits."""

    need: Need
    frees: int = 0
    claims: bool = False
    woken: asyncio.Future[None] | None = None


class Line:
    """Those that wait for a place by one driver, in the order in which they came."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver, self._clock = driver, clock
        self._waiters: list[_Waiter] = []
        self._called: _Waiter | None = None  # it has no answer yet
        self._refused: set[tuple[Need, bool]] = set()  # since room was freed last; whether it is being made since then
        self.lodgers = Lodgers(driver, clock)
        self._frees = 0
        self._watching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    async def place(self, launch: Launch, held_up: HeldUp) -> tuple[Placed, Sequence[Node]]:
        """Started at the first chance, and the nodes as they were just before. Raises what the driver raises, but no
        Stockout."""

        async def start(kept: frozenset[str]) -> tuple[Placed, Sequence[Node]]:
            nodes = fit.without(self._driver.nodes(), kept)
            return await self._driver.start(launch, kept), nodes

        waiter = _Waiter(launch.need)
        return await self._in_turn(waiter, start, held_up, partial(self._claim, waiter))

    async def room(self, need: Need, held_up: HeldUp) -> None:
        """There is room for one now, which nobody has been given: `place` takes it. Raises FailedPrecondition when no
        node could ever have any."""

        waiter = _Waiter(need)

        async def look(kept: frozenset[str]) -> None:
            try:
                fit.choose(fit.without(self._driver.nodes(), kept), need)
            except Stockout:
                if not self.lodgers.could_make_room(waiter, need):
                    raise

        await self._in_turn(waiter, look, held_up)

    async def _in_turn(
        self,
        waiter: _Waiter,
        ask: Callable[[frozenset[str]], Awaitable[T]],
        held_up: HeldUp,
        claim: Callable[[], str] = str,
    ) -> T:
        """What is asked, again and again in turn with the others, until it raises no Stockout any more. It is told
        which nodes are kept for others. `claim` has room made, where it can, and says so."""
        attempts, retry_at = 0, -math.inf
        self._waiters.append(waiter)
        try:
            while True:
                waiter.frees = self._frees
                kept = self.lodgers.kept_from(waiter, waiter.need)
                self.lodgers.claims.take_up(waiter)
                try:
                    return await ask(kept)
                except Stockout as shortage:
                    why = str(shortage) + claim()
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
        leaving = self.lodgers.make_room(waiter, waiter.need)
        waiter.claims = leaving > 0
        if not leaving:
            self._waive(waiter)
            return ""
        ending = "a preemptible replica ends" if leaving == 1 else f"{leaving} preemptible replicas end"
        return f"; {ending} and make{'s' * (leaving == 1)} room"

    def _waive(self, waiter: _Waiter) -> None:
        """It has its place, or cannot have it: those from whom room was kept are asked again."""
        if self.lodgers.claims.drop(waiter):
            self._refused.clear()

    async def _wait(self, waiter: _Waiter, retry_at: float) -> None:
        """Until it is called, or until its next try."""
        woken = waiter.woken = asyncio.get_running_loop().create_future()
        timer = asyncio.create_task(self._ring(woken, retry_at), name="try again to place a replica")
        if waiter.frees == self._frees:  # else room was freed after it had asked
            self._refused.add((waiter.need, waiter.claims))
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
        """The oldest whose like was not refused since room was freed; preemptible ones last."""
        if self._called is not None:
            return
        groups = ((one for one in self._waiters if one.need.preemptible is last) for last in (False, True))
        for waiter in chain.from_iterable(groups):
            if waiter.woken is None or waiter.woken.done() or (waiter.need, waiter.claims) in self._refused:
                continue
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
