"""What is counted in memory is summed up every few seconds, as long as the engine runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from engine.clock import Clock

SWEEP_EVERY_S = 5.0


class Sweeper:
    """Calls `sweep` again and again from `open()` until `await close()`; both may be called more than once."""

    def __init__(self, sweep: Callable[[], None], clock: Clock, name: str) -> None:
        self._sweep, self._clock, self._name = sweep, clock, name
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._for_ever(), name=self._name)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _for_ever(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_EVERY_S)
            self._sweep()
