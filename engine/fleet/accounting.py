"""Tells the usage ledger twice a second which replicas there are, and what those that take requests occupy and cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from client.usage_types import NO_ACCELERATOR
from engine.control.ledger import Presence, Terms
from engine.control.price import MICRO, micro_usd_per_hour
from engine.control.reconcile import Stage
from engine.fleet.fleet import Fleet
from engine.fleet.replica import Replica
from engine.placement.port import REGION_UNSPECIFIED
from engine.prices import Prices
from engine.telemetry import metrics
from engine.telemetry.ledger import Ledger

log = logging.getLogger(__name__)

TICK_S = 0.5  # so a budget is known to be used up within a second, by a replica that was not there before too
HOUR_S = 3600.0


class Accounting:
    """Runs from `open()`, once the fleet has taken over what an earlier engine left, until `close()`."""

    def __init__(self, fleet: Fleet, ledger: Ledger, prices: Prices | None = None) -> None:
        """`prices` go before what nodes say of themselves."""
        self._fleet, self._ledger, self._prices = fleet, ledger, prices
        self._terms: dict[str, Terms] = {}  # of ready replicas
        self._looked_at = 0.0
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.look()
        self._loop = asyncio.create_task(self._run(), name="account for replicas")

    async def close(self) -> None:
        """Before the replicas are ended: from now on none takes requests."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self.look()
        await self._ledger.close()

    async def look(self) -> None:
        """Once over all replicas. Not a step waits in between: they are seen as they are at one instant."""
        terms: dict[str, Terms] = {}
        there: dict[str, Presence] = {}
        prices: dict[str, int] = {}  # an hour of what was ready at the last look and is now, by deployment
        former = self._terms
        for keeper in self._fleet.keepers():
            name = keeper.name
            for replica in keeper.replicas:
                ready = None
                if replica.stage == Stage.READY:
                    ready = terms[replica.id] = former.get(replica.id) or self._terms_of(replica)
                    if ready.price and replica.id in former:
                        prices[name] = prices.get(name, 0) + ready.price
                there[replica.id] = Presence(name, replica.stage_since, replica.report.at, ready)
        self._charge(prices)
        self._terms = terms
        await self._ledger.observe(there)

    def _charge(self, prices: Mapping[str, int]) -> None:
        """Count what replicas have cost since the last look."""
        now = self._fleet.rooms.clock.monotonic()
        hours, self._looked_at = (now - self._looked_at) / HOUR_S, now
        for deployment, price in prices.items():
            metrics.COST.labels(deployment).inc(hours * price / MICRO)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.look()
            except Exception:
                log.exception("accounting met an error and goes on")

    def _terms_of(self, replica: Replica) -> Terms:
        node, need, simulated = replica.node, replica.need, self._fleet.rooms.driver.simulated
        if node is None:
            return Terms("", REGION_UNSPECIFIED, NO_ACCELERATOR, need.accelerators, None, simulated)
        kind = node.accelerator_type if need.accelerators else None
        listed = None if self._prices is None else self._prices.node_price(kind, node.accelerators)
        price = micro_usd_per_hour(
            node.price_per_hour if listed is None else listed,
            accelerators=need.accelerators, of_accelerators=node.accelerators,
            threads=need.threads, of_threads=node.cores or node.threads,
        )  # fmt: skip
        return Terms(node.name, node.region, kind or NO_ACCELERATOR, need.accelerators, price, simulated)
