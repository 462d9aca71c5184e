"""Streams under which a replica died, on real keepers with replicas of a few lines: until when each is on trial."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.control.quarantine import digest_of
from engine.fleet.hop import Hop
from engine.fleet.replica import Replica
from engine.gateway.exchange import Exchange
from engine.gateway.forward import forward
from engine.gateway.relay import JOURNAL_HEADER, PROVEN_GROUPS
from tests.unit.keeper_house import house  # noqa: F401

BODY = b'{"stream": true}'
DIGEST = digest_of(BODY)
HEADERS = f"content-type: text/event-stream\r\n{JOURNAL_HEADER}: 1\r\ntransfer-encoding: chunked\r\n\r\n"
GROUP = b'data: {"choices": [{"text": "a"}]}\n\n:t0,1\n\n'


class Says:
    """What one replica says on a stream, group by group; None: it dies."""

    def __init__(self, house, name: str, folder: Path) -> None:  # noqa: F811
        self.groups: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._house, self._socket = house, str(folder / f"{name}.sock")
        self.replica: Replica = house.add(name, house.generation())
        self.replica.hop = Hop(self._socket, "key")

    @classmethod
    async def on(cls, house, name: str, folder: Path) -> Says:  # noqa: F811
        said = cls(house, name, folder)
        await asyncio.start_unix_server(said._answer, said._socket)
        return said

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        head = f"HTTP/1.1 200 OK\r\n{HEADERS}".encode()
        while (group := await self.groups.get()) is not None:
            writer.write(head + b"%x\r\n%b\r\n" % (len(group), group))
            head = b""
            if b"[DONE]" in group:
                writer.write(b"0\r\n\r\n")
                return
        self._house.driver.dead.add(self.replica.id)
        writer.close()

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
    return keeper.suspects.quarantine.mark(DIGEST, 0.0) is not None


@pytest.mark.timeout(60)
async def test_a_stream_that_had_not_begun_is_cleared_when_it_begins_and_no_later_death_is_its_second(
    house,  # noqa: F811
    tmp_path: Path,
) -> None:
    first, second = await Says.on(house, "r1", tmp_path), await Says.on(house, "r2", tmp_path)
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
async def test_a_resumed_stream_is_on_trial_until_it_is_past_where_its_replica_died(
    house,  # noqa: F811
    tmp_path: Path,
) -> None:
    first, second = await Says.on(house, "r1", tmp_path), await Says.on(house, "r2", tmp_path)
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
