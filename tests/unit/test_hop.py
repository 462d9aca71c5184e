"""The way to a replica, on real sockets: whole answers, kept connections, back-pressure, and garbage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.fleet.hop import HELD_BYTES, OVERHEAD_BYTES_MAX, READ_BYTES, Hop
from engine.fleet.reply import Broken, Garbled, Unreached

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Says = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """The other end: one behaviour for every connection."""

    def __init__(self, says: Says) -> None:
        self._says = says
        self.connections = 0
        self.requests: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._says(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def asked(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        self.requests.append(head + await reader.readexactly(length))


@asynccontextmanager
async def peer(folder: Path, says: Says) -> AsyncIterator[tuple[Peer, Hop]]:
    one, path = Peer(says), str(folder / "r.sock")
    server = await asyncio.start_unix_server(one.answer, path)
    hop = Hop(path, "key")
    try:
        yield one, hop
    finally:
        hop.close()
        server.close()


def always(answer: bytes, *, end: bool = False) -> Says:
    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await one.asked(reader)
            writer.write(answer)
            await writer.drain()
            if end:
                return

    return says


async def ask(hop: Hop, body: bytes = b"{}") -> bytes:
    reply = await hop.post("/v1/completions", {"x-request-id": "r"}, body)
    try:
        return await reply.whole()
    finally:
        reply.close()


async def test_requests_are_sent_whole_and_share_a_connection(tmp_path: Path) -> None:
    async with peer(tmp_path, always(OK)) as (one, hop):
        body = b"x" * (3 << 20)
        assert [await ask(hop, body), await ask(hop)] == [b"ok", b"ok"]
        assert one.connections == 1
        head, _, sent = one.requests[0].partition(b"\r\n\r\n")
        assert sent == body
        assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
        assert {b"authorization: Bearer key", b"x-request-id: r"} <= set(head.split(b"\r\n"))


async def test_who_asks_at_the_same_time_has_a_connection_of_its_own(tmp_path: Path) -> None:
    came = asyncio.Semaphore(0)
    together = asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        came.release()
        await together.wait()
        writer.write(OK)
        await writer.drain()

    async with peer(tmp_path, says) as (one, hop):
        asking = [asyncio.create_task(ask(hop)) for _ in range(5)]
        for _ in asking:
            await came.acquire()
        together.set()
        assert await asyncio.gather(*asking) == [b"ok"] * 5
        assert one.connections == 5


async def test_a_stream_comes_as_it_is_sent_and_headers_by_their_lower_names(tmp_path: Path) -> None:
    turn = asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        writer.write(CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Firedeck-Journal: 1\r\n\r\n") + b"3\r\nabc\r\n")
        await turn.wait()
        writer.write(b"3\r\ndef\r\n0\r\nx-trailer: 1\r\n\r\n")
        await writer.drain()

    async with peer(tmp_path, says) as (_, hop):
        reply = await hop.post("/", {}, b"")
        assert reply.status == 200
        assert reply.header(b"x-firedeck-journal") == b"1"
        assert await reply.chunk() == b"abc"
        turn.set()
        assert [await reply.chunk(), await reply.chunk()] == [b"def", b""]
        assert reply.header(b"x-trailer") is None
        reply.close()


async def test_a_short_answer_is_read_on_the_same_connection_and_one_without_end_is_none(tmp_path: Path) -> None:
    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            one.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
            await writer.drain()

    async with peer(tmp_path, says) as (one, hop):
        assert [await hop.get("/stats", 2), await hop.get("/health", 2)] == [b"ok", b"ok"]
        assert one.connections == 1
        assert one.requests[0].startswith(b"GET /stats HTTP/1.1\r\nhost: replica\r\nauthorization: Bearer key\r\n\r\n")
        with pytest.raises(Garbled, match="more than 1 bytes"):
            await hop.get("/stats", 1)
        assert await hop.get("/stats", 2) == b"ok", "on another connection"


async def test_a_connection_that_was_closed_while_idle_costs_nobody_an_answer(tmp_path: Path) -> None:
    closing = asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        writer.write(OK)
        await writer.drain()
        if one.connections == 1:  # it takes one more request, and hangs up
            await reader.read(1)
            closing.set()

    async with peer(tmp_path, says) as (one, hop):
        assert [await ask(hop), await ask(hop)] == [b"ok", b"ok"]
        assert closing.is_set()
        assert one.connections == 2


async def test_a_replica_that_hangs_up_again_had_the_request(tmp_path: Path) -> None:
    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if one.connections == 1:
            await one.asked(reader)
            writer.write(OK)
        await reader.read(1)

    async with peer(tmp_path, says) as (one, hop):
        assert await ask(hop) == b"ok"
        with pytest.raises(Broken):
            await ask(hop)
        assert one.connections == 2
        (tmp_path / "r.sock").unlink()
        with pytest.raises(Unreached):
            await ask(hop)


async def test_a_replica_that_died_under_a_kept_connection_had_the_request(tmp_path: Path) -> None:
    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        writer.write(OK)
        await reader.read(1)
        (tmp_path / "r.sock").unlink()

    async with peer(tmp_path, says) as (_, hop):
        assert await ask(hop) == b"ok"
        with pytest.raises(Broken):
            await ask(hop)


async def test_who_takes_nothing_makes_the_replica_wait(tmp_path: Path) -> None:
    piece, sent = b"x" * 4096, 0
    stuck = asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await one.asked(reader)
        writer.write(CHUNKED)
        for _ in range(4096):
            writer.write(b"1000\r\n" + piece + b"\r\n")
            sent += len(piece)
            if writer.transport.get_write_buffer_size() > 2 << 20:
                stuck.set()
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with peer(tmp_path, says) as (one, hop):
        reply = await hop.post("/", {}, b"")
        connection = next(iter(hop.connections))
        async with asyncio.timeout(60):
            while not connection._paused:
                await asyncio.sleep(0.001)
        held = reply.body_bytes
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert reply.body_bytes == held <= HELD_BYTES + READ_BYTES, "it takes no more until somebody wants it"
        assert sent < 4096 * len(piece)
        assert len(await reply.whole()) == 4096 * len(piece)
        reply.close()
        assert one.connections == 1


async def test_a_reply_that_is_left_ends_its_connection(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        writer.write(CHUNKED + b"1\r\na\r\n")
        await reader.read(1)
        gone.set()

    async with peer(tmp_path, says) as (_, hop):
        reply = await hop.post("/", {}, b"")
        assert await reply.chunk() == b"a"
        reply.close()
        await asyncio.wait_for(gone.wait(), 60)


async def test_a_request_that_is_cancelled_before_its_answer_ends_its_connection(tmp_path: Path) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        came.set()
        await reader.read(1)
        gone.set()

    async with peer(tmp_path, says) as (_, hop):
        asking = asyncio.create_task(ask(hop))
        await came.wait()
        asking.cancel()
        await asyncio.wait_for(gone.wait(), 60)


async def test_closing_ends_what_is_under_way_and_takes_nothing_more(tmp_path: Path) -> None:
    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        writer.write(CHUNKED + b"1\r\na\r\n")
        await reader.read(1)

    async with peer(tmp_path, says) as (_, hop):
        reply = await hop.post("/", {}, b"")
        assert await reply.chunk() == b"a"
        hop.close()
        with pytest.raises(Broken):
            await reply.chunk()
        reply.close()
        with pytest.raises(Unreached):
            await ask(hop)
        assert not hop.connections


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Unreached):
        await ask(Hop(str(tmp_path / "nobody.sock"), "key"))


GARBAGE = {
    "nothing": b"",
    "noise": b"\x00\xff\x17nonsense\r\n\r\n" * 10,
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "no HTTP of ours": b"HTTP/9.9 200 OK\r\n\r\n",
    "a letter for a length": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a body that is too short": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
    "a body that is too long": OK + b"more",
    "a second answer": OK + OK,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nzzz",
    "a chunk without its end": CHUNKED + b"a\r\nabc",
    "a chunk of no size": CHUNKED + b"zz\r\nabc\r\n",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * OVERHEAD_BYTES_MAX),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * OVERHEAD_BYTES_MAX,
    "trailers without end": CHUNKED + b"1\r\na\r\n0\r\n" + b"x: y\r\n" * OVERHEAD_BYTES_MAX,
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "in pieces"])
async def test_garbage_is_no_answer(tmp_path: Path, kind: str, bytewise: bool) -> None:
    garbage = GARBAGE[kind]

    async def says(one: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.asked(reader)
        step = max(1, len(garbage) // 300) if bytewise else len(garbage) or 1
        for at in range(0, len(garbage), step):
            writer.write(garbage[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)

    async with peer(tmp_path, says) as (_, hop):
        if garbage.startswith(OK):  # whole by its own words: what follows is answered to nobody
            try:
                assert await ask(hop) == b"ok"
            except Broken:
                pass
            else:
                async with asyncio.timeout(60):
                    while hop.connections:
                        await asyncio.sleep(0.001)
        else:
            with pytest.raises(Broken):
                await ask(hop)
        assert not hop._idle
