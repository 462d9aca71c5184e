"""A loop that is held up says so, by how much, in `/metrics`."""

from __future__ import annotations

import asyncio
import time

from engine.telemetry import loop_lag, metrics
from engine.telemetry.loop_lag import EVERY_S, LoopLag
from tests.processes import PATIENCE_S

HELD_UP_S = 0.6


def longer_than(bound: str) -> float:
    """Looks so far that came later than this."""
    total = metrics.REGISTRY.get_sample_value("firedeck_loop_lag_seconds_count") or 0.0
    return total - (metrics.REGISTRY.get_sample_value("firedeck_loop_lag_seconds_bucket", {"le": bound}) or 0.0)


async def test_what_holds_up_the_loop_is_seen_with_its_length():
    lag, before = LoopLag(), longer_than("0.5")
    lag.open()
    await asyncio.sleep(0)  # it has begun to wait
    time.sleep(HELD_UP_S + EVERY_S)  # noqa: ASYNC251 that is the point
    async with asyncio.timeout(PATIENCE_S):
        while longer_than("0.5") == before:
            await asyncio.sleep(0.01)
    await lag.close()
    looks = loop_lag.LAG._sum.get()
    await asyncio.sleep(2 * EVERY_S)
    assert loop_lag.LAG._sum.get() == looks, "it ends when it is closed"


async def test_it_says_how_many_tasks_there_are():
    lag = LoopLag()
    lag.open()
    try:
        before = metrics.REGISTRY.get_sample_value("firedeck_tasks")
        assert before
        more = [asyncio.create_task(asyncio.sleep(PATIENCE_S)) for _ in range(3)]
        assert metrics.REGISTRY.get_sample_value("firedeck_tasks") == before + 3
        for task in more:
            task.cancel()
    finally:
        await lag.close()
