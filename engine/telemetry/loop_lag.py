"""How late the engine's event loop comes to what is due: so long every request and every token waits besides; and how
much it has to do.

One look each EVERY_S, which sees a pause of that length or more for certain, and of a shorter one as much as its part.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Gauge, Histogram

from engine.telemetry.metrics import REGISTRY

EVERY_S = 0.1
LAG = Histogram(
    "firedeck_loop_lag_seconds", "How much later than it was due the engine's event loop came to a timer.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10), registry=REGISTRY,
)  # fmt: skip
TASKS = Gauge(
    "firedeck_tasks", "Tasks of the engine's event loop: more than it has to do is a leak.", registry=REGISTRY
)


class LoopLag:
    """Watches the loop that it is opened in until it is closed."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        TASKS.set_function(lambda: len(asyncio.all_tasks(loop)))  # counted when it is asked for
        self._task = asyncio.create_task(self._watch(), name="see how late the loop is")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @staticmethod
    async def _watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            LAG.observe(max(0.0, loop.time() - due))
