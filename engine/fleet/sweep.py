"""Deployments that go by themselves, looked for once a minute: deleted ones for good once they can be undeleted no
more, and others because nobody has used them for a week or their notice has ended.

None of these goes because a clock was set: so much time has to have gone by as well (`engine.fleet.expiry`). What is
served serverless goes on the day of the calendar that its users were told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from engine.clock import Clock
from engine.control.idle import DELETE_AFTER
from engine.fleet.expiry import auto_delete_in_s, is_gone
from engine.fleet.keeper import Keeper
from engine.serverless import until

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Delete(Protocol):
    """`engine.fleet.fleet.Fleet.delete`."""

    def __call__(self, name: str, *, by: str, hard: bool, ignore_checks: bool) -> Awaitable[None]: ...


class Sweep:
    """`drop` lets one that was deleted go for good."""

    def __init__(self, clock: Clock, drop: Callable[[Keeper], Awaitable[None]], delete: Delete) -> None:
        self._clock, self._drop, self._delete = clock, drop, delete
        self._loop: asyncio.Task[None] | None = None

    def start(self, sweep: Callable[[], Awaitable[None]]) -> None:
        """Call it now, and again and again."""
        self._loop = asyncio.create_task(self._run(sweep), name="purge what was deleted long ago")

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def all(self, keepers: Iterable[Keeper]) -> None:
        """One that cannot go now holds up no other."""
        for keeper in keepers:
            try:
                await self._one(keeper)
            except Exception:
                log.exception("%s: sweeping it met an error, and is tried again", keeper.name)

    async def _run(self, sweep: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await sweep()
            except Exception:
                log.exception("sweeping met an error and goes on")
            await asyncio.sleep(EVERY_S)

    async def _one(self, keeper: Keeper) -> None:
        if keeper.deleted:
            if is_gone(keeper, self._clock.wall()):
                await self._drop(keeper)
        elif (day := until(keeper.deployment)) is not None and day <= self._clock.wall().date():
            why = f"its notice, which ended on {day}"
            await self._delete(keeper.name, by=why, hard=False, ignore_checks=True)
        elif auto_delete_in_s(keeper) == 0:
            why = f"nobody, after {DELETE_AFTER.days} days without a request"
            await self._delete(keeper.name, by=why, hard=False, ignore_checks=True)
