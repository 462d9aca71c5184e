"""One connection and what a client may send on it: refused in the documented envelope, and in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import asgi, http1
from tests.house import Home, served
from tests.processes import PATIENCE_S

BODY = b'{"model": "nope", "prompt": "Hi"}'
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
MANY = b"".join(b"x-%d: a\r\n" % n for n in range(10_000))

INVALID, TOO_LARGE = "INVALID_ARGUMENT", "REQUEST_HEADER_FIELDS_TOO_LARGE"

Answer = tuple[int, dict[str, Any]]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[tuple[str, Home]]:
    """On a socket; at the end it answers the next good request."""
    async with served(tmp_path / "data") as (url, home):
        yield url, home
        headers = {"Authorization": f"Bearer {home.admin_key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
            assert (await client.get("/v1/models")).json() == {"object": "list", "data": []}


async def sends(url: str, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # it was refused before all of it was sent
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> Answer:
    """The next one: its status and its body."""
    async with asyncio.timeout(PATIENCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def told(url: str, *pieces: bytes) -> Answer:
    reader, writer = await sends(url, *pieces)
    try:
        return await answer(reader)
    finally:
        writer.close()


def key(home: Home) -> bytes:
    return b"Authorization: Bearer " + home.admin_key.encode() + b"\r\nContent-Type: application/json\r\n"


REFUSED: dict[str, tuple[int, str, list[bytes]]] = {
    "no http": (400, INVALID, [b"\x00\xff garbage\r\n\r\n"]),
    "tls": (400, INVALID, [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]),
    "http/2": (400, INVALID, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]),
    "a proxy": (400, INVALID, [b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n"]),
    "a path that is not ascii": (400, INVALID, [b"GET /v1/\xff HTTP/1.1\r\n" + HOST + b"\r\n"]),
    "a folded header": (400, INVALID, [POST + HOST + b"x: a\r\n b\r\n\r\n"]),
    "a header with NUL": (400, INVALID, [POST + HOST + b"x: a\0b\r\n\r\n"]),
    "lines that end in LF": (400, INVALID, [(POST + HOST).replace(b"\r\n", b"\n") + b"\n"]),
    "two lengths": (400, INVALID, [POST + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"]),
    "a length and chunks": (400, INVALID, [POST + HOST + LENGTH + CHUNKED]),
    "a length below zero": (400, INVALID, [POST + HOST + b"Content-Length: -1\r\n\r\n"]),
    "a length of 23 digits": (400, INVALID, [POST + HOST + b"Content-Length: " + b"9" * 23 + b"\r\n\r\n"]),
    "no host": (400, INVALID, [POST + b"\r\n"]),
    "two hosts": (400, INVALID, [POST + HOST + HOST + b"\r\n"]),
    "a header of 1 MB": (
        431,
        TOO_LARGE,
        [POST + HOST + b"x: " + b"a" * (1 << 20), b"\r\n\r\n"],
    ),
    "10,000 headers": (431, TOO_LARGE, [POST + HOST + MANY + b"\r\n"]),
    "a path of 1 MB": (431, TOO_LARGE, [b"GET /v1/" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n"]),
    "headers without end": (431, TOO_LARGE, [POST + HOST, *[b"x: " + b"a" * 65536] * 200]),
    "a header without end": (431, TOO_LARGE, [POST + HOST + b"x: ", *[b"a" * 65536] * 200]),
}


async def test_what_is_no_request_is_refused_in_the_envelope_of_the_inference_api(engine: tuple[str, Home]) -> None:
    got = {name: await told(engine[0], *pieces) for name, (_, _, pieces) in REFUSED.items()}
    found = {name: (status, body["error"]["code"]) for name, (status, body) in got.items()}
    assert found == {name: (status, code) for name, (status, code, _) in REFUSED.items()}
    assert all(body["request_id"] for _, body in got.values())


async def test_what_is_no_request_to_the_control_plane_is_refused_in_its_envelope(engine: tuple[str, Home]) -> None:
    status, body = await told(engine[0], b"GET /v1/accounts HTTP/1.1\r\nx: " + b"a" * 400_000 + b"\r\n\r\n")
    assert (status, body["code"]) == (431, 3)


async def test_a_head_as_large_as_it_may_be_is_taken_also_after_another_request(engine: tuple[str, Home]) -> None:
    url, home = engine
    padding = b"".join(b"x-%d: %b\r\n" % (n, b"a" * 300) for n in range(200))
    request = b"GET /v1/models HTTP/1.1\r\n" + HOST + key(home) + padding + b"\r\n"
    large = POST + HOST + key(home) + b"Content-Length: 300000\r\n\r\n" + b" " * 300_000
    reader, writer = await sends(url, request, large + request + request)
    assert [(await answer(reader))[0] for _ in range(4)] == [200, 400, 200, 200]
    writer.close()


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(engine: tuple[str, Home]) -> None:
    url, home = engine
    status, body = await told(url, POST + HOST + key(home) + b"Content-Length: 104857600\r\n\r\n")
    assert (status, body["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_a_body_in_chunks_without_end_is_refused_and_not_read_on(engine: tuple[str, Home]) -> None:
    url, home = engine
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    reader, writer = await sends(url, POST + HOST + key(home) + CHUNKED, *[chunk] * 140)
    assert (await answer(reader))[0] == 413
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""  # it says that it is over
    writer.close()


async def test_a_client_with_a_pool_of_connections_reads_the_refusal_and_goes_on(engine: tuple[str, Home]) -> None:
    url, home = engine
    headers = {"Authorization": f"Bearer {home.admin_key}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
        for _ in range(3):
            refused = await client.post("/v1/completions", content=b" " * (20 << 20))
            assert (refused.status_code, refused.headers["connection"]) == (413, "close")
            assert (await client.get("/v1/models")).status_code == 200


async def test_a_chunk_that_is_none_is_a_400(engine: tuple[str, Home]) -> None:
    url, home = engine
    reader, writer = await sends(url, POST + HOST + key(home) + CHUNKED)
    await asyncio.sleep(0.1)  # likely in a read of its own
    writer.write(b"zz\r\nabc\r\n")
    assert (await answer(reader))[0] == 400
    writer.close()


@pytest.mark.parametrize("begun", [POST + HOST, POST + HOST + b"x: a", b"P"])
async def test_a_head_that_does_not_come_to_its_end_is_a_408(
    engine: tuple[str, Home], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.3)
    reader, writer = await sends(engine[0], begun)
    status, body = await answer(reader)
    assert (status, body["error"]["code"]) == (408, "REQUEST_TIMEOUT")
    writer.close()


async def test_a_head_that_comes_byte_by_byte_is_a_408(
    engine: tuple[str, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.5)
    reader, writer = await sends(engine[0], POST)
    reading = asyncio.create_task(answer(reader))
    while not reading.done():
        writer.write(b"x")
        await asyncio.sleep(0.02)
    assert (await reading)[0] == 408
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(
    engine: tuple[str, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.2)
    reader, writer = await sends(engine[0])
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("path", [b"/v1/completions", b"/v1/accounts/local/deployments"])
async def test_a_body_that_comes_byte_by_byte_is_a_408(
    engine: tuple[str, Home], monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    monkeypatch.setattr(asgi, "BODY_S", 0.5)
    url, home = engine
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + key(home) + b"Content-Length: 1000000\r\n\r\n"
    reader, writer = await sends(url, head)
    reading = asyncio.create_task(answer(reader))
    while not reading.done():
        writer.write(b" ")
        await asyncio.sleep(0.02)
    assert (await reading)[0] == 408
    writer.close()


@pytest.mark.parametrize("protocol", [b"h2c\r\nHTTP2-Settings: AAMAAABk", b"websocket\r\nSec-WebSocket-Version: 13"])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_wish_to_speak_something_else_is_passed_over_and_the_request_answered(
    engine: tuple[str, Home], protocol: bytes, pieces: int
) -> None:
    """As Java's client sends its first request to every plain server."""
    url, home = engine
    asked = POST + HOST + key(home) + LENGTH + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
    reader, writer = await sends(url, *([asked + BODY] if pieces == 1 else [asked]))
    if pieces == 2:
        await asyncio.sleep(0.1)
        writer.write(BODY)
    status, body = await answer(reader)
    assert (status, body["error"]["param"]) == (404, "model")  # its body was read
    writer.write(b"GET /v1/models HTTP/1.1\r\n" + HOST + key(home) + b"\r\n")
    assert await answer(reader) == (200, {"object": "list", "data": []})
    writer.close()


async def test_junk_after_a_request_takes_nothing_from_its_answer(engine: tuple[str, Home]) -> None:
    url, home = engine
    reader, writer = await sends(url, b"GET /v1/models HTTP/1.1\r\n" + HOST + key(home) + b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.write(b"\0\0\0\r\n\r\n")
    assert (await answer(reader))[0] == 400
    writer.close()


async def test_a_client_that_leaves_amid_its_body_is_no_fault_of_the_engines(
    engine: tuple[str, Home], caplog: pytest.LogCaptureFixture
) -> None:
    url, home = engine
    for path in (b"/v1/completions", b"/v1/accounts/local/deployments"):
        head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + key(home) + b"Content-Length: 100\r\n\r\n{"
        _, writer = await sends(url, head)
        await asyncio.sleep(0.1)
        writer.close()
    await asyncio.sleep(0.2)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
