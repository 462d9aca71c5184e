"""The cheapest client that can time a stream: one HTTP/1.1 connection, a C parser, and one look at each event.

A general client costs several times as much (measured on one stream: httpx 17 µs an event, this 3.5 µs) and would share
its core with the server that it measures. Here an event costs a search for text in it; JSON is read once, from the
event that carries the usage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import SplitResult, urlsplit

import httptools

from client.errors import InvalidArgument

_TEXT = re.compile(rb'"(?:text|content|reasoning_content|arguments)"\s*:\s*"[^"]')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'^data:\s*\{\s*"error"\s*:\s*[^n]')
MAX_ERROR_BYTES = 4096
MAX_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom: `url` is the OpenAI base URL (`http://host:port/v1`); `uds` a unix socket to dial instead."""

    url: str
    key: str = field(default="", repr=False)
    uds: str | None = None

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @classmethod
    def of(cls, base_url: str, key: str = "", uds: str | None = None) -> Endpoint:
        """A base URL as people give it, with or without `/v1`. Raises InvalidArgument for no HTTP URL or no key."""
        url = base_url.rstrip("/")
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not (usable and _fits_a_header(url)):
            raise InvalidArgument(f"{base_url!r} is no http(s) URL", field="base_url")
        if not _fits_a_header(key):
            raise InvalidArgument("the API key has characters that no key has", hint="copy it again")
        return cls(url if url.endswith("/v1") else f"{url}/v1", key, uds)


def _fits_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


class Answer:
    """What came back for one request, as it comes. `arrivals` are moments of `time.monotonic()`."""

    def __init__(self) -> None:
        self.status = 0
        self.arrivals: list[float] = []
        self.done = False  # the stream ended as it should
        self.failed_event: bytes | None = None
        self._usage: bytes | None = None
        self._rest = b""
        self._error = b""

    def feed(self, data: bytes, now: float) -> None:
        """Body bytes that arrived at `now`."""
        if self.status != 200:
            self._error = (self._error + data)[:MAX_ERROR_BYTES]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line, now)

    def _event(self, line: bytes, now: float) -> None:
        if line[5:].strip() == b"[DONE]":
            self.done = True
            return
        if _TEXT.search(line):
            self.arrivals.append(now)
        if _ERROR.match(line):
            self.failed_event = line[:MAX_ERROR_BYTES]
        if _USAGE.search(line):
            self._usage = line

    @property
    def usage(self) -> Mapping[str, object]:
        """The server's own count; empty when it told none."""
        with contextlib.suppress(ValueError, AttributeError):
            usage = json.loads((self._usage or b"data:{}")[5:]).get("usage")
            return usage if isinstance(usage, dict) else {}
        return {}

    @property
    def error_kind(self) -> str | None:
        """How the request failed, in few words that can be counted; None when it did not."""
        if self.status != 200:
            return f"HTTP {self.status}{_code_of(self._error)}"
        if self.failed_event is not None:
            return f"error event{_code_of(self.failed_event[5:])}"
        return None if self.done else "stream cut short"

    @property
    def error_message(self) -> str | None:
        """What the server said about the failure, on one line; None when it said nothing."""
        return _message_of(self._error if self.failed_event is None else self.failed_event[5:])


def _message_of(body: bytes) -> str | None:
    """The message in an error body: OpenAI's envelope, google.rpc.Status, `detail`, or else the body as it is."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError):
        data = json.loads(text)
        told = data.get("error", data) if isinstance(data, dict) else data
        found = told.get("message", told.get("detail")) if isinstance(told, dict) else told
        text = found if isinstance(found, str) else text
    # It goes to a terminal: no line breaks, no control sequences.
    line = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(line.split())[:MAX_MESSAGE_CHARACTERS] or None


def _code_of(body: bytes) -> str:
    """` CODE` out of an error envelope; nothing when there is none."""
    with contextlib.suppress(ValueError, AttributeError):
        code = json.loads(body)["error"].get("code")
        if isinstance(code, str) and len(code) < 60:
            return f" {code}"
    return ""


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._ended: asyncio.Future[None] | None = None
        self._now = 0.0
        self.reused = False
        self.usable = True

    @classmethod
    async def open(cls, endpoint: Endpoint, tls: ssl.SSLContext | None) -> Connection:
        loop, parts = asyncio.get_running_loop(), endpoint.parts
        if endpoint.uds:
            return (await loop.create_unix_connection(cls, endpoint.uds))[1]
        port = parts.port or (443 if tls else 80)
        return (await loop.create_connection(cls, parts.hostname or "", port, ssl=tls))[1]

    async def post(self, head: bytes, body: bytes, answer: Answer) -> None:
        """Send one request and fill `answer` until it is whole. Raises ConnectionError when the peer hangs up."""
        assert self._transport is not None
        self._answer, self._ended = answer, asyncio.get_running_loop().create_future()
        self._transport.write(head + body)
        try:
            await self._ended
        except BaseException:
            self.close()
            raise
        self.reused = True

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(ConnectionError("the answer is not HTTP"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(ConnectionResetError(str(exc) if exc else "the connection was closed"))

    def _fail(self, error: ConnectionError) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    # httptools

    def on_headers_complete(self) -> None:
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.feed(data, self._now)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class Wire:
    """Requests to one endpoint over as many connections as run at once; idle ones are used again."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._tls = ssl.create_default_context() if endpoint.parts.scheme == "https" and not endpoint.uds else None
        self._idle: list[Connection] = []

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer, whatever its status. Raises OSError when nobody answers or the peer hangs up at once."""
        head = self._head(path, len(body))
        while True:
            connection = await self._connection()
            answer = Answer()
            try:
                await connection.post(head, body, answer)
            except ConnectionError:
                if connection.reused and not answer.status:
                    continue  # closed by the server while it was idle: the request never began
                if not answer.status:
                    raise
                return answer  # what came before the end is evidence
            if connection.usable:
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return await Connection.open(self._endpoint, self._tls)

    def _head(self, path: str, length: int) -> bytes:
        parts = self._endpoint.parts
        lines = [
            f"POST {parts.path}{path} HTTP/1.1",
            f"host: {parts.netloc.rpartition('@')[2]}",
            "user-agent: firedeck-bench",
            "content-type: application/json",
            "accept: text/event-stream",
            f"content-length: {length}",
        ]
        if self._endpoint.key:
            lines.append(f"authorization: Bearer {self._endpoint.key}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
