"""HTTP/1.1 as uvicorn speaks it, with an end to what a client may send before anybody has asked for its key.

    data   Protocol     one connection, from its first byte to its last
    verbs  on_...       as the parser finds them: a head that is too long is refused before it is a request
           _look        a head that does not come to its end is refused, a silent connection closed
           _refuse      an answer in the documented shape, and time to read it
           end          the last answer of a connection leaves its client time to read it
    near   `engine.serve` gives it to uvicorn; `limit_concurrency` is how many connections have a place

Bodies are bounded where they are read (`engine.asgi.read_body`). What uvicorn would do else: keep any number of header
bytes in memory, wait for them without end, write `400` in plain text (into the middle of a stream that is under way,
too) with a line in the log for each, and read a body to its end whose request was refused long ago.

A request to upgrade (Java's client asks every plain server for HTTP/2) is answered as if it had not asked: RFC 9110,
7.8, lets a server take no notice, where uvicorn and its parser would take no notice of the body.

Sources: RFC 9110, RFC 9112, RFC 6585 section 5 (431).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from client.errors import FiredeckError, HeadTooLarge, InvalidArgument, RequestTimeout, Unavailable
from engine.asgi import Receive, Scope, Send, send_error
from engine.gateway.routes import Gateway
from engine.telemetry import tracing

HEAD_BYTES_MAX = 64 << 10  # of a request's line and its headers
HEADERS_MAX = 256
HEAD_S = 20.0  # how long a head may take, and a connection may say nothing
GRACE_S = 0.1  # for what has come already: after a pause of this process timers run before sockets are read
LINGER_S = 5.0  # who is refused while it still sends may read why before its connection is gone
RETRY_S = 1.0
UNSENT_BYTES = 16 << 10  # of an answer, besides what the system takes: then it waits for its client
_STATUS = b"HTTP/1.1 "
_HOP_BY_HOP = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Protocol(HttpToolsProtocol):
    """`_head_since`: when the head that is awaited began (loop's seconds), None while a request is under way."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._places, self.limit_concurrency = self.limit_concurrency, None
        self._head_since: float | None = None
        self._begun = self._deaf = self._graced = False
        self._head_bytes = 0
        self._refusal: FiredeckError | None = None
        self._looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._way_back = _WayBack(self)
        if self._places is not None and len(self.connections) > self._places:
            self.app = _no_place
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._head_since = self.loop.time()
        self._looking = self.loop.call_later(HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_no_notice(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InvalidArgument("this is no HTTP/1.1 request", hint="send one (RFC 9112)"))
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refusal = _too_large()
        if self._refusal is not None:
            self._refuse(self._refusal)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun, self._graced, self._head_since = True, False, self.loop.time()
        self._head_bytes = -(256 << 10)  # what is read with the end of an earlier request is counted at the head's end

    def on_headers_complete(self) -> None:
        self._head_since = None
        if self.parser.should_upgrade():
            return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refusal = _too_large()
        else:
            super().on_headers_complete()
            self.cycle.__class__ = _Cycle
            self.cycle.transport = self._way_back  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        if self._refusal is None and not self.parser.should_upgrade():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refusal is None and not self.parser.should_upgrade():
            super().on_message_complete()

    def end(self) -> None:
        """Close, where an answer says that it is the last."""
        if self.cycle.more_body and not self.pipeline:
            self.linger()
        else:
            self.transport.close()

    def _take_no_notice(self, rest: bytes) -> None:
        """The same request once more, without the wish to speak something else from here on."""
        if self.parser.get_method() == b"CONNECT":
            self._refusal = InvalidArgument("this is no proxy", hint="send requests for the engine itself")
            return
        headers = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] not in _HOP_BY_HOP)
        line = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(line + headers + b"\r\n" + rest)

    def _look(self) -> None:
        since, now = self._head_since, self.loop.time()
        wait_s = HEAD_S if since is None else since + HEAD_S - now
        if wait_s <= 0:
            if self._graced and self._begun:
                self._refuse(RequestTimeout("the head of the request took too long to come", hint="send it again"))
                return
            if self._graced:
                self.transport.close()
                return
            self._graced, wait_s = True, GRACE_S
        self._looking = self.loop.call_later(wait_s, self._look)

    def _refuse(self, error: FiredeckError) -> None:
        """Instead of an answer by the application. Amid one nothing can be said: it is cut off."""
        if self._deaf or self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_answer(error, getattr(self, "url", b"")))
        self.linger()

    def linger(self) -> None:
        """Whoever still sends is not heard any more, and may read what it was told: a close at once would take the
        answer away from it (RFC 9112, 9.6)."""
        self._deaf, self._head_since = True, None
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


class _Cycle(RequestResponseCycle):
    """A request and its answer. One that is answered before it has come whole is the last of its connection."""

    @property
    def keep_alive(self) -> bool:
        return bool(self.__dict__["keep_alive"]) and not self.more_body

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self.__dict__["keep_alive"] = value


class _WayBack:
    """The transport as an answer sees it: its head goes with the first of its body, where that comes at once, and its
    close leaves time to read."""

    def __init__(self, connection: Protocol) -> None:
        self.is_closing = connection.transport.is_closing
        self._connection = connection
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_STATUS):
            self._head = data
            self._connection.loop.call_soon(self._send)
            return
        self._connection.transport.write(data)

    def close(self) -> None:
        self._send()
        self._connection.end()

    def _send(self) -> None:
        if self._head and not self.is_closing():
            self.write(b"")


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"the head of the request is over {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers", hint="send fewer headers"
    )


def _answer(error: FiredeckError, url: bytes) -> bytes:
    path = url.partition(b"?")[0].decode("latin-1")
    control_plane = path.startswith("/") and not Gateway.owns(path)
    request_id = tracing.request_id()
    body = json.dumps(error.control_plane_body() if control_plane else error.inference_body(request_id)).encode()
    headers = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    if not control_plane:
        headers += b"x-request-id: %b\r\n" % request_id.encode()
    return STATUS_LINE[error.status] + headers + b"\r\n" + body


async def _no_place(scope: Scope, receive: Receive, send: Send) -> None:
    """Of a connection for which no file descriptors are left."""
    error = Unavailable("the engine has all the connections that it can have", retry_after_s=RETRY_S)
    await send_error(send, error, tracing.request_id())
