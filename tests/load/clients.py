"""Clients of load tests: each knows whether every token came once and in order, and may stop reading."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from client.bench.wire import Answer, Connection, Endpoint

TOKEN = re.compile(rb'"text":" (\d+)"')


class Heard(Answer):
    """A stream of `tests.load.replica`, or the refusal that came instead."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = self.ends = 0
        self.wrong: list[bytes] = []  # tokens that were not the next one, and all that came after the end
        self.headers: dict[str, str] = {}
        self.began = self.seconds = 0.0
        self.refusal = b""

    def feed(self, data: bytes, now: float) -> None:
        if self.status != 200:
            self.refusal += data
        super().feed(data, now)

    def _event(self, line: bytes, now: float) -> None:
        super()._event(line, now)
        found = TOKEN.search(line)
        if found is not None and (int(found[1]) != self.tokens or self.ends):
            self.wrong.append(line)
        self.tokens += found is not None
        self.ends += line == b"data: [DONE]"

    @property
    def ttft_s(self) -> float:
        """To the first token, its connection included; to the end where none came."""
        return self.arrivals[0] - self.began if self.arrivals else self.seconds

    def whole(self, tokens: int) -> bool:
        """Every token once and in order, one end, and usage that says the same."""
        told = self.usage.get("completion_tokens")
        return self.status == 200 and not self.wrong and (self.tokens, self.ends, told) == (tokens, 1, tokens)


class Caller(Connection):
    """A connection that keeps what the head said, and can be made to take nothing."""

    heard: Heard

    def on_header(self, name: bytes, value: bytes) -> None:
        self.heard.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def pause(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()


@dataclass
class Asking:
    """One request of one client, on a connection of its own."""

    endpoint: Endpoint
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    caller: Caller | None = None

    async def run(self, *, reading: bool = True) -> Heard:
        """Until the answer is whole; `reading` False: until it has been sent, `finish` reads what came."""
        self.heard.began = time.monotonic()
        self.caller = await self._connected()
        self.caller.heard = self.heard
        if not reading:
            self.caller.pause()
        self._task = asyncio.create_task(self.caller.post(self._head(), self._raw, self.heard))
        if reading:
            await self.finish()
            self.heard.seconds = time.monotonic() - self.heard.began
        return self.heard

    async def finish(self) -> Heard:
        assert self.caller is not None
        self.caller.resume()
        try:
            await self._task
        finally:
            self.caller.close()
        return self.heard

    async def leave(self) -> None:
        assert self.caller is not None
        self.caller.close()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _raw(self) -> bytes:
        return json.dumps(self.body).encode()

    async def _connected(self) -> Caller:
        loop, parts = asyncio.get_running_loop(), self.endpoint.parts
        if self.endpoint.uds:
            return (await loop.create_unix_connection(Caller, self.endpoint.uds))[1]
        return (await loop.create_connection(Caller, parts.hostname or "", parts.port or 80))[1]

    def _head(self) -> bytes:
        parts = self.endpoint.parts
        lines = [f"POST {parts.path}/completions HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        lines += [f"content-length: {len(self._raw)}", f"authorization: Bearer {self.endpoint.key}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ask(endpoint: Endpoint, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Heard:
    return await Asking(endpoint, body, headers or {}).run()
