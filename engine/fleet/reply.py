"""What a replica answered to one request: its head, and its body as it comes.

data   Reply      the answer to one request
       Unreached  no answer, and the replica knows of nothing; Broken: none that is whole; Garbled: something else
verbs  chunk      what of the body has come meanwhile, joined: who is slow gets more at once
       whole      the body to its end
near   `engine.fleet.hop` fills it, and keeps its connection or not
"""

from __future__ import annotations

import asyncio
from typing import Protocol

Headers = list[tuple[bytes, bytes]]

WHOLE_BYTES_MAX = 256 << 20


class Carrier(Protocol):
    """The connection that an answer comes on."""

    def flow(self, held: int) -> None: ...

    def release(self) -> None: ...


class Unreached(Exception):
    """No connection could be made: the replica knows nothing of the request."""


class Broken(Exception):
    """The replica had the request, and its answer ended before its time or is none."""


class Garbled(Broken):
    """What the replica sent is none: it lives, and says something else."""


class Reply:
    """The answer to one request. `close()` must end it: one that is not whole costs its connection."""

    def __init__(self, connection: Carrier) -> None:
        self.status = 0
        self.headers: Headers = []  # names in lower case
        self.body_bytes = 0  # that came until now
        self.ended = False
        self._connection = connection
        self._parts: list[bytes] = []
        self._held = 0
        self._error: Broken | None = None
        self._news: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known == name), None)

    async def chunk(self) -> bytes:
        """All that has come and was not taken yet; b"" at the end of the body. Broken where it ends too early."""
        while not self._parts:
            if self.ended:
                return b""
            await self._wait()
        taken = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._held = [], 0
        self._connection.flow(held=0)
        return taken

    async def whole(self, most: int = WHOLE_BYTES_MAX) -> bytes:
        """The body to its end; Broken also for one of more than `most` bytes."""
        parts = []
        while part := await self.chunk():
            parts.append(part)
            if self.body_bytes > most:
                raise Garbled(f"the answer has more than {most} bytes")
        return b"".join(parts)

    def close(self) -> None:
        self._connection.release()

    async def head(self) -> None:
        while not self.status:
            await self._wait()

    def take(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)
        self.body_bytes += len(data)
        self._connection.flow(self._held)

    def fail(self, error: Broken) -> None:
        self.ended, self._error = False, self._error or error

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait(self) -> None:
        """Until there is more to know. Raises what it failed with."""
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news
