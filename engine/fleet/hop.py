"""The gateway's way to one replica: HTTP/1.1 over its unix socket, at the cost of a few microseconds a chunk.

    data   Hop     the connections to one replica, those that are idle among them
    verbs  post    send a request, and wait for the head of what comes back
           get     the body of a short answer
    near   `engine.fleet.reply` is what comes back; `Replica` looks through its hop, `engine.gateway.relay` asks it; a
           replica's first request and its settings go through httpx, which is general

Every token of every stream comes this way, so a C parser reads it and nothing stands between. A replica is not
believed: what is no HTTP, has a head or trailers without end, an interim status, more bytes than it said or an end that
it did not announce is `Broken`. Who takes nothing holds back the replica's sending, not our memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import httptools

from engine.fleet.reply import Broken, Garbled, Reply, Unreached

CONNECT_S = 5.0
IDLE_S = 4.0  # replicas close what was idle for 5 s
IDLE_MAX = 256  # connections
READ_BYTES = 8 << 10  # at a time: it may be all for one who takes nothing
HELD_BYTES = 8 << 10  # of a body that nobody has taken yet: then the replica has to wait
OVERHEAD_BYTES_MAX = 64 << 10  # without a byte of a body in between: heads, trailers, extensions of chunks


class _Connection(asyncio.BufferedProtocol):
    """One connection, one request at a time. All of a hop read into the same bytes: each takes what is its own out of
    them before another reads."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._status_known = self._reusable = self._paused = False
        self._overhead = 0
        self.open = False
        self.heard = False  # something came back for its request
        self.idle_since = 0.0

    def ask(self, head: bytes, body: bytes) -> Reply:
        assert self._transport is not None
        self._reply, self._status_known, self._overhead, self.heard = Reply(self), False, 0, False
        self._transport.writelines((head, body))
        return self._reply

    def release(self) -> None:
        """Its request is over: keep it for the next one if nothing is left of this one."""
        reply, self._reply = self._reply, None
        written = self._transport is not None and not self._transport.get_write_buffer_size()
        if reply is not None and reply.ended and self.open and written and self._reusable:
            self.flow(held=0)
            self._hop.keep(self)
        else:
            self.close()

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def flow(self, held: int) -> None:
        """So many bytes of its reply wait to be taken."""
        if self._paused == (held > HELD_BYTES) or not self.open or self._transport is None:
            return
        self._paused = not self._paused
        if self._paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's classes
        self.open = True
        self._hop.connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._hop.room

    def buffer_updated(self, nbytes: int) -> None:
        reply = self._reply
        if reply is None or reply.ended:
            self.close()  # nobody asked
            return
        before, self.heard = reply.body_bytes, True
        try:
            self._parser.feed_data(self._hop.room[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(reply, f"what it sent is no answer: {error}")
            return
        self._overhead = 0 if reply.body_bytes > before else self._overhead + nbytes
        if self._overhead > OVERHEAD_BYTES_MAX:
            self._break(reply, "its head has no end")
            return
        reply.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._hop.lost(self)
        if self._reply is not None and not self._reply.ended:
            self._reply.fail(Broken("it closed the connection before its answer was whole"))
            self._reply.wake()

    def _break(self, reply: Reply, why: str) -> None:
        reply.fail(Garbled(why))
        self.close()
        reply.wake()

    # httptools

    def on_message_begin(self) -> None:
        if self._status_known:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reply is not None and not self._status_known:  # else a trailer
            self._reply.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            raise ValueError("an interim answer")
        self._status_known = True
        if self._reply is not None:
            self._reply.status = status

    def on_body(self, data: bytes) -> None:
        if self._reply is not None:
            self._reply.take(data)

    def on_message_complete(self) -> None:
        self._reusable = self._parser.should_keep_alive()  # later the parser does not know any more
        if self._reply is not None:
            self._reply.ended = True


class Hop:
    """All connections to the replica that listens on `socket` and knows `key`."""

    def __init__(self, socket: str, key: str) -> None:
        self._socket = socket
        self._authorization = f"host: replica\r\nauthorization: Bearer {key}\r\n"
        self._idle: list[_Connection] = []
        self.connections: set[_Connection] = set()
        self.room = memoryview(bytearray(READ_BYTES))
        self.closed = False

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What is answered, once its head has come. Raises Unreached or Broken."""
        told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = f"content-length: {len(body)}\r\n\r\n"
        return await self._send(f"POST {path} HTTP/1.1\r\n{self._authorization}{told}{length}".encode("latin-1"), body)

    async def get(self, path: str, most: int) -> bytes:
        """The body of whatever is answered, of at most so many bytes. Raises Unreached or Broken."""
        reply = await self._send(f"GET {path} HTTP/1.1\r\n{self._authorization}\r\n".encode("latin-1"), b"")
        try:
            return await reply.whole(most)
        finally:
            reply.close()

    async def _send(self, head: bytes, body: bytes) -> Reply:
        """A connection that was closed while it was idle is no answer: then a new one is asked, once."""
        connection = self._kept()
        if connection is not None:
            try:
                return await _asked(connection, head, body)
            except Broken:
                if connection.heard:
                    raise
            try:
                return await _asked(await self._connected(), head, body)
            except Unreached as error:  # the first try may have been what ended it
                raise Broken(str(error)) from error
        return await _asked(await self._connected(), head, body)

    def close(self) -> None:
        """Requests that are under way end with Broken."""
        self.closed = True
        for connection in list(self.connections):
            connection.close()
        self._idle.clear()

    def keep(self, connection: _Connection) -> None:
        if self.closed or len(self._idle) >= IDLE_MAX:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _kept(self) -> _Connection | None:
        """The one that was used last: those that are idle for long are too old together."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and asyncio.get_running_loop().time() - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return None

    async def _connected(self) -> _Connection:
        if self.closed:
            raise Unreached("the connections to this replica were closed")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                return (await loop.create_unix_connection(lambda: _Connection(self), self._socket))[1]
        except OSError as error:  # TimeoutError is one
            raise Unreached(str(error) or type(error).__name__) from error


async def _asked(connection: _Connection, head: bytes, body: bytes) -> Reply:
    reply = connection.ask(head, body)
    try:
        await reply.head()
    except BaseException:
        reply.close()
        raise
    return reply
