"""Asynchronous verbs called from code that is not: one event loop, in a thread of its own, for one client.

    verbs  Portal.run       a coroutine's result; interrupted, it is cancelled there
           Portal.each      what an asynchronous iterator yields; left early, it is closed there
           Portal.awaited   the same coroutine for callers who have an event loop themselves
           Portal.items     likewise an asynchronous iterator

The loop's thread ends with `close`, at the latest with the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar, cast

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")
_END = object()  # what is after the last item


class Portal:
    def __init__(self, name: str) -> None:
        self._opened = start_blocking_portal(name=name)
        self._loop = self._opened.__enter__()
        self._closed = False

    def close(self) -> None:
        """What still runs in it is cancelled."""
        self._closed = True
        self._opened.__exit__(None, None, None)

    def run(self, work: Awaitable[T]) -> T:
        future = self._started(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # nobody waits for it any more
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        try:
            while (item := self.run(anext(items, _END))) is not _END:
                yield cast("T", item)
        finally:
            if not self._closed:  # nothing of it is left then
                self.run(_ended(items))

    async def awaited(self, work: Awaitable[T]) -> T:
        return await asyncio.wrap_future(self._started(work))

    async def items(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        try:
            while (item := await self.awaited(anext(items, _END))) is not _END:
                yield cast("T", item)
        finally:
            if not self._closed:
                await self.awaited(_ended(items))

    def _started(self, work: Awaitable[T]) -> Future[T]:
        try:
            return self._loop.start_task_soon(_result, work)
        except RuntimeError:
            if isinstance(work, Coroutine):
                work.close()
            raise RuntimeError("the client is closed") from None


async def _result(work: Awaitable[T]) -> T:
    return await work


async def _ended(items: AsyncIterator[T]) -> None:
    with suppress(AttributeError):  # iterators that are no generators have nothing to close
        await items.aclose()  # type: ignore[attr-defined]
