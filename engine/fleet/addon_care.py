"""What happens to adapters by itself: one that nobody asks for is unloaded, and one that fails gives its place back.

Both are written as events of the deployment, with the command that undoes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from client import durations
from client.addon_types import DeployedModel
from client.errors import AlreadyExists, FiredeckError
from engine.control.addons import UNDEPLOYING
from engine.fleet.addon_uses import AddonUses, Former, Use
from engine.fleet.deployed_book import Book, account_of
from engine.fleet.deployed_state import state_of
from engine.fleet.keeper import Keeper

log = logging.getLogger(__name__)

PAUSE_S = 1.0  # between two looks


class Load(Protocol):
    """Load an adapter in the place of the one that a deployment has, for good, if `still` holds; whether it does."""

    def __call__(self, account: str, spec: DeployedModel, still: Callable[[], bool]) -> Awaitable[bool]: ...


class Unload(Protocol):
    """Take an adapter off its deployment if it is there and `still` holds; whether that was done."""

    def __call__(self, name: str, still: Callable[[], bool]) -> Awaitable[bool]: ...


class AddonCare:
    """Of all deployments. `idle_s`: after so long without a request an adapter is unloaded, None for never."""

    def __init__(
        self, uses: AddonUses, book: Book, keeper_of: Callable[[str], Keeper], load: Load, unload: Unload,
        idle_s: float | None,
    ) -> None:  # fmt: skip
        self._uses, self._book, self._keeper_of = uses, book, keeper_of
        self._load, self._unload, self._idle_s = load, unload, idle_s
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="look after adapters")

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._uses.write()

    async def sweep(self) -> None:
        """Unload what nobody asks for, and write down how the others are used."""
        for record in self._book:
            if self._is_unused(record):
                await self._unload_unused(record)
        await self._look()

    async def _look(self) -> None:
        failing = self._uses.failing(self._refused)
        try:
            for use, former, why in failing:
                if await self._put_back(use, former, why):
                    use.former = None
        finally:
            for use, _, _ in failing:
                use.returning = False
        await self._uses.write()

    def _refused(self, name: str) -> str:
        """Why no replica could load an adapter, "" where one could or has not tried."""
        record = self._book.records.get(name)
        if record is None or record.state == UNDEPLOYING or not self._book.lives(record):
            return ""
        keeper = self._keeper_of(record.deployment or "")
        if record.model not in keeper.addons.wanted:
            return state_of(record, keeper)[1]
        return keeper.addons.refused_by_all(record.model, keeper.replicas)

    async def _run(self) -> None:
        while True:
            await self._uses.stirred.wait()
            self._uses.stirred.clear()
            try:
                await self._look()
            except Exception:
                log.exception("looking after adapters met an error and goes on")
            await asyncio.sleep(PAUSE_S)

    def _is_unused(self, record: DeployedModel) -> bool:
        """Of a base, and of the one adapter that every request to its deployment runs with, nothing is unloaded."""
        if self._idle_s is None or record.state == UNDEPLOYING or not self._book.lives(record):
            return False
        merged = self._keeper_of(record.deployment or "").deployment.enable_hot_reload_latest_addon
        return not merged and self._book.is_addon(record) and self._uses.idle_s(record) >= self._idle_s

    async def _unload_unused(self, record: DeployedModel) -> None:
        keeper = self._keeper_of(record.deployment or "")
        if await self._unload(record.name, lambda: self._is_unused(record)):
            after = durations.to_go(timedelta(seconds=self._idle_s or 0.0))
            again = f"firedeck load-lora {_said(record)} --deployment {_deployment(record, keeper)}"
            why = f"{record.model}: no request used it for {after}; load it again: {again}"
            await keeper.announce("Normal", "AddonUnloaded", why)

    async def _put_back(self, use: Use, former: Former, why: str) -> bool:
        """Whether that is settled; else it is tried again."""
        record = self._book.records.get(use.name)
        if record is None or record.state == UNDEPLOYING or not self._book.lives(record):
            return True
        keeper = self._keeper_of(record.deployment or "")
        if not keeper.deployment.enable_hot_reload_latest_addon:
            return True
        if self._is_replaced(record, former, keeper):
            return True
        stands = self._stands(former, keeper)
        try:
            if not await self._give_place(use, former, record, keeper):
                self._uses.stirred.set()
                return False
        except FiredeckError as error:
            told = f"{record.model}: {why}; {former.spec.model} cannot have its place back: {error.text}"
            await keeper.announce("Warning", "AddonNotRolledBack", told)
            return True
        again = f"firedeck load-lora {_said(record)} --deployment {_deployment(record, keeper)} --replace-merged-addon"
        so = "keeps its place" if stands else "has its place back"
        told = f"{record.model}: {why}: {former.spec.model} {so}; to load it again: {again}"
        await keeper.announce("Warning", "AddonRolledBack", told)
        return True

    async def _give_place(self, use: Use, former: Former, record: DeployedModel, keeper: Keeper) -> bool:
        """Whether it was done: not where a replica still lets go of the former one, or somebody was quicker."""
        if self._stands(former, keeper):  # the ordinary way of one that no replica could load: it never left
            return await self._unload(record.name, lambda: self._stands(former, keeper))
        try:
            return await self._load(account_of(record.name), former.spec, lambda: use.former is former)
        except AlreadyExists:
            return False

    def _is_replaced(self, record: DeployedModel, former: Former, keeper: Keeper) -> bool:
        """Whether somebody has chosen another version since: that one goes before the former one."""
        standing = self._book.standing_on(keeper.name)
        newest = standing[-1] if standing else record
        return newest.name != record.name and newest.model != former.spec.model

    def _stands(self, former: Former, keeper: Keeper) -> bool:
        return any(r.model == former.spec.model for r in self._book.standing_on(keeper.name))


def _said(record: DeployedModel) -> str:
    """The model as its account's own commands name it."""
    account, model = account_of(record.name), record.model or ""
    own = f"accounts/{account}/models/"
    return model.removeprefix(own) if model.startswith(own) else model


def _deployment(record: DeployedModel, keeper: Keeper) -> str:
    """The deployment as those commands name it: that of another account, which is serverless, with the account."""
    owner = account_of(keeper.name)
    return keeper.deployment.id if owner == account_of(record.name) else f"{owner}/{keeper.deployment.id}"
