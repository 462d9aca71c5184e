"""Looks at every deployment's counters twice a minute, and knows what they did in the minutes before.

    Monitor.look() -> Readings of each keeper -> seen(keeper): the account's metrics
                                              -> Alarms: what is wrong, told as events, kept in the fleet
                   -> Archivist: the charts' last day on disk

A large fleet is read in slices, as its frames are written: streams have a turn between any two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from engine.fleet.alarms import SLICE, Alarms
from engine.fleet.archivist import Archivist
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.telemetry.account_metrics import WINDOW_S, Seen
from engine.telemetry.ledger import Ledger
from engine.telemetry.readings import READ_EVERY_S, Readings, read
from engine.telemetry.window import mean

log = logging.getLogger(__name__)


class Monitor:
    """Runs from `open()` until `close()`."""

    def __init__(self, fleet: Fleet, ledger: Ledger) -> None:
        self._fleet = fleet
        self._archivist = Archivist(fleet)
        self._alarms = Alarms(fleet, ledger)
        self._readings: dict[Keeper, Readings] = {}
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="read the counters")

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            await self._archivist.save()

    async def look(self) -> None:
        """Once over all deployments; those that are gone are forgotten."""
        keepers = self._fleet.keepers()
        self._readings = {keeper: self._readings.get(keeper) or Readings() for keeper in keepers}
        for number, keeper in enumerate(keepers):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            now = self._fleet.rooms.clock.monotonic()
            self._readings[keeper].add(read(now, keeper.meter, keeper.figures))
        await self._alarms.judge(self._readings)

    def seen(self, account: str) -> list[Seen]:
        """The account's deployments but for deleted ones, as they were over the last minute."""
        return [self._seen(keeper) for keeper in self._fleet.keepers(account) if not keeper.deleted]

    def _seen(self, keeper: Keeper) -> Seen:
        read_so_far = self._readings.get(keeper)
        minute = read_so_far.over(WINDOW_S) if read_so_far else None
        return Seen(keeper.deployment.base_model or "", keeper.name, minute, _levels(keeper))

    async def _run(self) -> None:
        await self._guarded(self._archivist.restore)
        while True:
            await self._guarded(self.look)
            await self._guarded(self._archivist.save)
            await self._fleet.rooms.clock.sleep(READ_EVERY_S)

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """What fails in one of its duties must not end the others."""
        try:
            await step()
        except Exception:
            log.exception("measuring the fleet met an error and goes on")


def _levels(keeper: Keeper) -> dict[str, float]:
    figures = keeper.figures
    free, slots = figures.gauges("free_slots"), figures.gauges("slots")
    used, capacity = figures.gauges("kv_used_tokens"), figures.gauges("kv_capacity_tokens")
    known = {
        "generator_kv_blocks_fraction": mean([u / c for u, c in zip(used, capacity, strict=False) if c]),
        "generator_kv_slots_fraction": mean([1 - f / s for f, s in zip(free, slots, strict=False) if s]),
        "requests_coordinator_concurrent_count": keeper.recorder.mean("concurrency", WINDOW_S),
    }
    return {name: value for name, value in known.items() if value is not None}
