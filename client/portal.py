"""Asynchronous verbs called from code that is not: one event loop, in a thread of its own, for one client.

    verbs  Portal.run       a coroutine's result; interrupted, it is cancelled there
           Portal.each      what an asynchronous iterator yields; left early, it is closed there
           Portal.awaited   the same coroutine for callers who have an event loop themselves
           Portal.items     likewise an asynchronous iterator

The loop's thread ends with `close`, at the latest with the process, which does not wait for it.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, Thread
from typing import TypeVar, cast
from weakref import WeakSet

T = TypeVar("T")
_END = object()  # what is after the last item


class Portal:
    """`closed`: nothing can be asked of it any more."""

    def __init__(self, name: str) -> None:
        opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # A daemon that nothing waits for but `close`: a program that never closes its client ends all the same.
        self._thread = Thread(target=_run, args=(opened,), name=name, daemon=True)
        self._thread.start()
        self._loop, self._closing = opened.result()
        self.closed, self._starting = False, Lock()
        _open.add(self)

    def close(self) -> None:
        """What still runs in it is cancelled. Once is enough."""
        with self._starting:  # what was started before is in the loop before it is told to end
            if self.closed:
                return
            self.closed = True
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def leave(self) -> None:
        """The process ends, and the loop's thread with it without a word: nothing is asked of it any more."""
        self.closed = True

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
            if not self.closed:  # nothing of it is left then
                self.run(_ended(items))

    async def awaited(self, work: Awaitable[T]) -> T:
        return await asyncio.wrap_future(self._started(work))

    async def items(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        try:
            while (item := await self.awaited(anext(items, _END))) is not _END:
                yield cast("T", item)
        finally:
            if not self.closed:
                await self.awaited(_ended(items))

    def _started(self, work: Awaitable[T]) -> Future[T]:
        with self._starting:
            if not self.closed:
                return asyncio.run_coroutine_threadsafe(_result(work), self._loop)
        if isinstance(work, Coroutine):
            work.close()
        raise RuntimeError("the client is closed")


def _run(opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    try:
        with asyncio.Runner() as runner:
            runner.get_loop()  # before there is something that would have to be awaited
            runner.run(_until_closed(opened))
    except BaseException as error:  # no loop could be made, of files there are too many: who waits for one is told
        if opened.done():
            raise
        opened.set_exception(error)


async def _until_closed(opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    closing = asyncio.Event()
    opened.set_result((asyncio.get_running_loop(), closing))
    await closing.wait()


async def _result(work: Awaitable[T]) -> T:
    return await work


async def _ended(items: AsyncIterator[T]) -> None:
    with suppress(AttributeError):  # iterators that are no generators have nothing to close
        await items.aclose()  # type: ignore[attr-defined]


_open: WeakSet[Portal] = WeakSet()


@atexit.register
def _leave_all() -> None:
    for portal in list(_open):
        portal.leave()
