"""How an answer goes to the socket: its head with the first of its body, and alone where that takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from engine.asgi import Receive, Scope, Send, send_json
from engine.http1 import Protocol
from tests.processes import PATIENCE_S

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Counted:
    """A transport that knows what it was given to write."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._transport.write(data)


@asynccontextmanager
async def asked(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[Counted]]]:
    """A client's end of a connection to `app` that has sent a request, and the server's ends so far."""
    ends: list[Counted] = []
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False)
    config.load()

    class Counting(Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            ends.append(Counted(transport))
            super().connection_made(ends[-1])  # type: ignore[arg-type]

    server = await asyncio.get_running_loop().create_server(
        lambda: Counting(config, ServerState(), {}), "127.0.0.1", 0
    )  # fmt: skip
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(REQUEST)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer, ends
    finally:
        writer.close()
        server.close()


async def test_a_whole_answer_is_one_write_and_so_is_the_next_one_of_its_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, 200, {"a": 1})

    async with asked(app) as (reader, writer, ends):
        for number in (1, 2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(8) == b'{"a": 1}'
            assert len(ends[0].written) == number
            writer.write(REQUEST)


async def test_a_head_whose_body_takes_its_time_goes_alone() -> None:
    seen = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await seen.wait()
        await send({"type": "http.response.body", "body": b"HTTP/1.1 is no head here"})

    async with asked(app) as (reader, _, ends):
        await reader.readuntil(b"\r\n\r\n")
        seen.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"18\r\nHTTP/1.1 is no head here\r\n0\r\n\r\n"
        assert len(ends[0].written) == 2


async def test_an_answer_without_a_body_comes_before_its_connection_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with asked(app) as (reader, _, _):
        assert (await reader.read()).startswith(b"HTTP/1.1 204 No Content\r\n")
