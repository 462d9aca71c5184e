"""Streams under which a replica died, on real keepers with replicas of a few lines: until when each is on trial."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from engine.control.quarantine import digest_of
from engine.fleet.replica import Replica
from engine.gateway.forward import JOURNAL_HEADER, PROVEN_GROUPS, Exchange, forward
from tests.unit.test_keeper import house  # noqa: F401

BODY = b'{"stream": true}'
DIGEST = digest_of(BODY)
GROUP = b'data: {"choices": [{"text": "a"}]}\n\n:t0,1\n\n'


class Says:
    """What one replica says on a stream, group by group; None: it dies."""

    def __init__(self, house, name: str) -> None:  # noqa: F811
        self.groups: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._house = house
        self.replica: Replica = house.add(name, house.generation())
        transport = httpx.MockTransport(
            lambda _: httpx.Response(200, headers={JOURNAL_HEADER: "1"}, content=self._said())
        )
        self.replica.http = httpx.AsyncClient(transport=transport, base_url="http://replica")

    async def _said(self) -> AsyncIterator[bytes]:
        while True:
            group = await self.groups.get()
            if group is None:
                self._house.driver.dead.add(self.replica.id)
                raise httpx.ReadError("gone")
            yield group
            if b"[DONE]" in group:
                return

    def say(self, *groups: bytes | None) -> None:
        for group in groups:
            self.groups.put_nowait(group)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class Stream:
    """One client's."""

    def __init__(self, keeper) -> None:
        exchange = Exchange("/v1/completions", BODY, True, "r", 0.0, lambda: 0.0, {})
        self.seen = b""
        self.task = asyncio.create_task(forward(keeper, exchange, self._take))

    async def _take(self, message) -> None:
        self.seen += message.get("body", b"")

    async def after(self, groups: int) -> None:
        await until(lambda: self.seen.count(b"data: ") >= groups)


def on_trial(keeper) -> set[str]:
    return set(keeper.suspects._trials.busy)


def suspected(keeper) -> bool:
    return keeper.suspects._quarantine.mark(DIGEST, 0.0) is not None


@pytest.mark.timeout(60)
async def test_a_stream_that_had_not_begun_is_cleared_when_it_begins_and_no_later_death_is_its_second(house):  # noqa: F811
    first, second = Says(house, "r1"), Says(house, "r2")
    stream = Stream(house.keeper)
    await until(lambda: first.replica.in_flight)
    first.say(None)
    await until(lambda: second.replica.in_flight)
    assert on_trial(house.keeper) == {"r2"}
    second.say(GROUP)
    await stream.after(1)
    assert not suspected(house.keeper)
    second.say(None)
    await stream.task
    assert b"ended while it was answering" in stream.seen
    assert house.keeper.suspects.quarantined() == []


@pytest.mark.timeout(60)
async def test_a_resumed_stream_is_on_trial_until_it_is_past_where_its_replica_died(house):  # noqa: F811
    first, second = Says(house, "r1"), Says(house, "r2")
    stream = Stream(house.keeper)
    first.say(GROUP, None)
    await until(lambda: second.replica.in_flight)
    second.say(GROUP)
    await stream.after(2)
    assert on_trial(house.keeper) == {"r2"}
    second.say(*[GROUP] * (PROVEN_GROUPS - 1))
    await until(lambda: not suspected(house.keeper))
    assert on_trial(house.keeper) == set()
    second.say(b"data: [DONE]\n\n:\n\n")
    await stream.task
    assert stream.seen.count(b"data: {") == 1 + PROVEN_GROUPS
    assert stream.seen.endswith(b"[DONE]\n\n")
