"""Work that ends when its client leaves or the engine does: cancelled once, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from engine.asgi import Message
from engine.gateway.until import Ended, until_first
from engine.word import Word


class Client:
    """Sends a body, and perhaps leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


class Work:
    """Waits to be let go on; knows what became of it."""

    def __init__(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self.begun, self.go, self.said = asyncio.Event(), asyncio.Event(), list[str]()
        self._then = then

    async def run(self) -> None:
        self.begun.set()
        try:
            await self.go.wait()
            if self._then is not None:
                await self._then()
            self.said.append("done")
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise


async def stands() -> None:
    """The task is under no cancellation, and no task is there but the test's."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)


async def started(work: Work, client: Client, word: Word) -> asyncio.Task[Ended]:
    async def request() -> Ended:
        ended = await until_first(work.run(), client.receive, word)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # a cancellation that was left over would come here
        return ended

    task = asyncio.create_task(request())
    await work.begun.wait()
    return task


async def test_work_that_ends_first_is_answered():
    client, work, word = Client(), Work(), Word()
    task = await started(work, client, word)
    work.go.set()
    assert await task is Ended.ANSWERED
    assert work.said == ["done"]
    word.give()
    client.left.set()
    await stands()


async def test_work_is_cancelled_when_its_client_leaves_and_when_the_engine_ends():
    for ends, told in ((lambda c, w: c.left.set(), Ended.GONE), (lambda c, w: w.give(), Ended.BROKEN_OFF)):
        client, work, word = Client(), Work(), Word()
        task = await started(work, client, word)
        ends(client, word)
        assert await task is told
        assert work.said == ["cancelled"]
        await stands()


async def test_who_leaves_while_the_engine_ends_is_cancelled_once():
    client, work, word = Client(), Work(), Word()
    task = await started(work, client, word)
    client.left.set()
    word.give()
    assert await task is Ended.BROKEN_OFF
    assert work.said == ["cancelled"]
    await stands()


async def test_work_that_was_about_to_go_on_is_cancelled_all_the_same():
    client, work, word = Client(), Work(), Word()
    task = await started(work, client, word)
    work.go.set()
    word.give()
    assert await task is Ended.BROKEN_OFF
    await stands()


async def test_in_an_engine_that_ends_work_is_not_begun():
    client, work, word = Client(), Work(), Word()
    word.give()
    assert await until_first(work.run(), client.receive, word) is Ended.BROKEN_OFF
    assert not work.begun.is_set()
    await stands()


async def test_what_fails_fails_with_its_own_error():
    async def fails() -> None:
        raise ValueError("x")

    client, work = Client(), Work(fails)
    task = await started(work, client, Word())
    work.go.set()
    with pytest.raises(ValueError, match="x"):
        await task
    await stands()


async def test_what_fails_while_it_is_cancelled_is_ended_for_its_reason():
    client, word, begun = Client(), Word(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("amid the end")

    task = asyncio.create_task(until_first(work(), client.receive, word))
    await begun.wait()
    client.left.set()
    assert await task is Ended.GONE
    await stands()


async def test_a_request_that_is_cancelled_from_outside_is_cancelled_be_it_that_its_client_left_too():
    for leaves in (False, True):
        client, work = Client(), Work()
        task = await started(work, client, Word())
        if leaves:
            client.left.set()
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.said == ["cancelled"]
        await stands()


async def test_a_deadline_within_the_work_is_its_own():
    client, work = Client(), Work()

    async def patient() -> None:
        async with asyncio.timeout(0):
            await work.run()

    with pytest.raises(TimeoutError):
        await until_first(patient(), client.receive, Word())
    await stands()
