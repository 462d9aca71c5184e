"""Judges each deployment's figures by the table of rules, and tells what begins and what ends as events.

The cost of the last day and of the same day a week before comes from the usage ledger, every ten minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta

from client.errors import FiredeckError
from engine.control.alerts import Change, look
from engine.control.reconcile import Stage
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.telemetry.alert_figures import SHORT_S, Beside, figures
from engine.telemetry.ledger import Ledger
from engine.telemetry.readings import Readings

log = logging.getLogger(__name__)

COSTS_EVERY_S = 600.0
SLICE = 4  # deployments between two turns of everybody else; reading or judging one takes less than a millisecond
_DAY_MS = timedelta(days=1) // timedelta(milliseconds=1)


class Alarms:
    """The fleet's `alerts`, by what was read last."""

    def __init__(self, fleet: Fleet, ledger: Ledger) -> None:
        self._fleet, self._ledger = fleet, ledger
        self._growth: dict[str, float] = {}  # of cost, by deployment
        self._priced_at = float("-inf")

    async def judge(self, read: Mapping[Keeper, Readings]) -> None:
        now = self._fleet.rooms.clock.monotonic()
        if now - self._priced_at >= COSTS_EVERY_S:
            self._priced_at = now
            await self._price()
        living = {keeper.name: keeper for keeper in read if not keeper.deleted}
        known = {}
        for number, (name, one) in enumerate(living.items()):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            known[name] = figures(read[one], self._beside(one))
        self._fleet.alerts, changes = look(self._fleet.alerts, known, now)
        for change in changes:
            if (keeper := living.get(change.alert.deployment)) is not None:
                await _tell(keeper, change)

    def _beside(self, keeper: Keeper) -> Beside:
        ready = sum(replica.stage == Stage.READY for replica in keeper.replicas)
        return Beside(ready, keeper.recorder.mean("ready", SHORT_S), self._growth.get(keeper.name))

    async def _price(self) -> None:
        """What it was before is kept where the ledger cannot be read now."""
        accounts = {keeper.name.split("/")[1] for keeper in self._fleet.keepers()}
        end = self._ledger.now_ms()
        try:
            for account in sorted(accounts):
                today = await self._costs(account, end)
                before = await self._costs(account, end - 7 * _DAY_MS)
                for name in {keeper.name for keeper in self._fleet.keepers(account)}:
                    self._growth.pop(name, None)
                    if before.get(name):
                        self._growth[name] = today.get(name, 0.0) / before[name]
        except FiredeckError as error:
            log.warning("whether costs have risen is not known: %s", error.text)

    async def _costs(self, account: str, end_ms: int) -> dict[str, float]:
        """US dollars of the day before `end_ms`, by deployment; what has no price is left out."""
        costs: dict[str, float] = {}
        for used in await self._ledger.usage(account, max(0, end_ms - _DAY_MS), max(0, end_ms)):
            if used.totals.usd is not None:
                costs[used.deployment] = costs.get(used.deployment, 0.0) + used.totals.usd
        return costs


async def _tell(keeper: Keeper, change: Change) -> None:
    rule = change.alert.rule
    told = f"{rule.name}: {rule.summary}: {rule.text(change.alert.value)}"
    if change.fires:
        await keeper.announce("Warning", "AlertFiring", f"{told}; {rule.action}")
    else:
        await keeper.announce("Normal", "AlertResolved", f"{rule.name}: it was last {rule.text(change.alert.value)}")
