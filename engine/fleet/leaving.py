"""Adapters on their way off their deployments: withdrawn ones, and those whose place a newer one takes.

verbs  withdraw           nobody finds it from now on
       retire_replaced    withdraw what a newer one, which is there, has taken the place of
       forget_withdrawn   forget what no request and no replica has any more
near   `engine.fleet.deployed` says what goes, and holds the lock under which all of this is done
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from client.addon_types import DeployedModel
from client.errors import NotFound
from engine.control.addons import DEPLOYED, UNDEPLOYING
from engine.fleet.addon_uses import AddonUses
from engine.fleet.deployed_book import Book
from engine.fleet.deployed_state import state_of
from engine.fleet.keeper import Keeper

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 0.2  # while something is being undeployed


class Leaving:
    """Of all deployments. `keeper_of` finds the keeper of one, or raises NotFound; `changing` is held by whoever calls
    a verb. `unsettled`: something is withdrawn or replaced, and not gone yet."""

    def __init__(
        self, book: Book, uses: AddonUses, keeper_of: Callable[[str], Keeper], changing: asyncio.Lock
    ) -> None:  # fmt: skip
        self._book, self._uses, self._keeper_of, self._changing = book, uses, keeper_of, changing
        self.unsettled = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep(), name="forget what was undeployed")

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def withdraw(self, record: DeployedModel, keeper: Keeper) -> None:
        """Nobody finds it from now on; who has asked for it already is answered with it."""
        await self._book.withdraw(record)
        self._release(record, keeper)
        self.unsettled.set()

    async def retire_replaced(self) -> bool:
        """Withdraw what a newer one, which is there, has taken the place of; whether there is none that waits for that.

        Until then requests run with the former: with neither they would be answered by the base."""
        settled = True
        for keeper in {k.name: k for k in map(self._keeper_of_living, self._book) if k}.values():
            if keeper.deployment.enable_hot_reload_latest_addon:
                settled &= await self._retire_on(keeper)
        return settled

    async def forget_withdrawn(self) -> bool:
        """Forget what was withdrawn and is on no replica any more, and hand on defaults; whether none is left."""
        withdrawn = [r for r in self._book if r.state == UNDEPLOYING]
        for record in withdrawn:
            with suppress(NotFound):
                self._release(record, self._keeper_of(record.deployment or ""))
            if not (self._uses.running(record) or self._book.is_held(record)):
                await self._book.drop(record)
                self._uses.drop(record)
        return not withdrawn

    async def _sweep(self) -> None:
        self.unsettled.set()
        while True:
            await self.unsettled.wait()
            try:
                async with self._changing:
                    self.unsettled.clear()
                    if not (await self.retire_replaced() & await self.forget_withdrawn()):
                        self.unsettled.set()
            except Exception:
                self.unsettled.set()
                log.exception("what was undeployed is not forgotten yet")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _retire_on(self, keeper: Keeper) -> bool:
        standing = self._book.standing_on(keeper.name)
        replaced, newest = self._replaced(standing, keeper)
        for record in replaced:
            await self.withdraw(record, keeper)
            told = f"{record.model}: {newest.model} has taken its place"
            await keeper.announce("Normal", "AddonWithdrawn", told)
        return len(standing) - len(replaced) <= 1

    @staticmethod
    def _replaced(standing: Sequence[DeployedModel], keeper: Keeper) -> tuple[Sequence[DeployedModel], DeployedModel]:
        """Those whose place a newer one has taken, and that one. With no replica that could show that it loads the
        newest, the oldest stays: it has served. Those between have not, and would only take up room."""
        if not standing:
            return (), DeployedModel()
        if not keeper.serves():
            return standing[1:-1], standing[-1]
        there = [i for i, record in enumerate(standing) if state_of(record, keeper)[0] == DEPLOYED]
        newest = there[-1] if there else 0
        return standing[:newest], standing[newest]

    def _release(self, record: DeployedModel, keeper: Keeper) -> None:
        """Replicas let go of what was withdrawn once no request is under way with it, be it one that waits in line."""
        if not self._uses.running(record) and keeper.addons.wanted.pop(record.model or "", None) is not None:
            keeper.look_soon()

    def _keeper_of_living(self, record: DeployedModel) -> Keeper | None:
        return self._keeper_of(record.deployment or "") if self._book.lives(record) else None
