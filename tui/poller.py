"""Keeps watching: every snapshot becomes a message; a broken connection is tried again, ever more slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from textual.message import Message

from client.errors import FiredeckError, Unavailable
from tui.core.retry import wait_s
from tui.messages import AccountSeen, FleetLost, FleetSeen, NodesSeen
from tui.sources.base import FleetSource

ACCOUNT_EVERY_S = 15.0  # it changes with the month's bill, or when an admin sets a quota


class Poller:
    def __init__(
        self,
        source: FleetSource,
        post: Callable[[Message], object],
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        context: str = "",
    ) -> None:
        """`context`: what the source is called among several."""
        self._source, self._post, self._clock, self._sleep, self._context = source, post, clock, sleep, context
        self._attempt = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._watch()
                lost: FiredeckError = Unavailable("the source ended")
            except FiredeckError as error:
                lost = error
            self._attempt += 1
            pause = wait_s(self._attempt)
            self._post(FleetLost(lost, self._attempt, self._clock() + timedelta(seconds=pause), self._context))
            await self._sleep(pause)

    async def _watch(self) -> None:
        async for snapshot in self._source.watch():
            self._attempt = 0
            self._post(FleetSeen(snapshot, self._context))


class AccountPoller:
    """Asks now and then how the account stands, and what nodes cost; a failure is left to the fleet's own poller to
    tell: who may not see nodes sees no costs."""

    def __init__(
        self,
        source: FleetSource,
        post: Callable[[Message], object],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        context: str = "",
    ) -> None:
        self._source, self._post, self._sleep, self._context = source, post, sleep, context

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(FiredeckError):
                self._post(AccountSeen(await self._source.account(), self._context))
            with suppress(FiredeckError):
                self._post(NodesSeen(await self._source.nodes(), self._context))
            await self._sleep(ACCOUNT_EVERY_S)
