"""The one HTTP connection to an engine: authentication, error mapping, retries, JSON in and out.

Everything in `client.resources` and `client.inference` goes through `Transport`. Only safe requests (GET) are
retried, twice, on connection errors and 502/503/504; a change is sent once, since nobody can know here whether it
arrived. Time-outs: 5 s to connect, 60 s to read, as in the official SDKs.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import httpx

from client.config import check_url
from client.errors import (
    DeadlineExceeded,
    FiredeckError,
    Internal,
    InvalidArgument,
    Unauthenticated,
    Unavailable,
    from_response,
)
from client.tls import Later

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
RETRIES = 2
RETRY_FIRST_WAIT_S = 0.2
_RETRIED = (Unavailable, DeadlineExceeded)  # connection errors and 502, 503, 504

Query = Mapping[str, str | int | bool | None]


def retry_wait_s(attempt: int) -> float:
    """How long to wait after the failed attempt of this number, from 0: twice as long each time, and up to half of it
    less by chance, so that those who failed together do not come back together."""
    return RETRY_FIRST_WAIT_S * (1 << attempt) * random.uniform(0.5, 1.0)


class Transport:
    """JSON over HTTP to one engine with one key. Raises only `FiredeckError`s. `key_note`: a refused key's hint,
    `absent_note`: that of an engine that does not answer."""

    def __init__(
        self, base_url: str, api_key: str, *, key_note: str = "", absent_note: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.base_url = base_url.rstrip("/")
        self.asked = False  # whether anything was sent
        self.changing = False  # whether anything but a read was
        self.simulated = False  # whether an answer said that nothing real is behind it
        self._key_note, self._absent_note = key_note, absent_note
        identity = {"Authorization": f"Bearer {api_key}"} if api_key else {}  # the server says what a key is for
        check_url(self.base_url)
        try:
            local = _is_loopback(self.base_url)
            plain = local and transport is None and self.base_url.startswith("http:")
            self._http = httpx.AsyncClient(
                base_url=self.base_url,
                headers=identity | {"User-Agent": "firedeck"},
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                limits=httpx.Limits(max_connections=1000, max_keepalive_connections=100),
                transport=transport,
                verify=not plain,
                mounts={"https://": Later()} if plain else None,
                event_hooks={"request": [self._sent], "response": [self._noted]},
                # A company's proxy has no business between us and this machine.
                trust_env=not local,
            )
        except httpx.InvalidURL as error:
            raise InvalidArgument(f"{self.base_url!r} is not a URL: {error}", hint="write http://HOST:PORT") from None
        except UnicodeEncodeError:
            raise InvalidArgument("the API key has characters that no key has", hint="copy it again") from None

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r}, api_key=***)"

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, query: Query | None = None) -> Any:
        for attempt in range(RETRIES):
            try:
                return await self.send("GET", path, query=query)
            except _RETRIED:
                await asyncio.sleep(retry_wait_s(attempt))
        return await self.send("GET", path, query=query)

    async def text(self, path: str) -> str:
        """The text of what is no JSON: metrics."""
        try:
            response = await self._http.get(path)
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        if response.is_error:
            raise self._error_of(response, response.content)
        return response.text

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Any:
        """One request, its JSON answer (or None for an empty one)."""
        try:
            response = await self._http.request(
                method, path, params=_params(query), json=body, headers=headers,
                timeout=httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S),
            )  # fmt: skip
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        if response.is_error:
            raise self._error_of(response, response.content)
        return self._json(response.content) if response.content else None

    async def events(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float | None = None,
    ) -> AsyncIterator[Any]:
        """The JSON of each server-sent event until `[DONE]` or the end; an error event is raised."""
        timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
        request = self._http.build_request(
            method, path, params=_params(query), json=body, headers=headers, timeout=timeout
        )
        async with self._answering(request) as response:
            async for data in _sse_data(_lines(response.aiter_bytes())):
                if data == "[DONE]":
                    return
                event = self._json(data)
                if isinstance(event, dict) and isinstance(event.get("error"), dict):
                    raise from_response(500, event)
                yield event

    @asynccontextmanager
    async def signed(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[httpx.Response]:  # fmt: skip
        """The answer of a signed URL, its body still to be read. Whoever has such a URL may use it: the key stays
        here, for it may lead elsewhere."""
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        request = self._http.build_request(method, url, headers=headers, content=content, timeout=timeout)
        request.headers.pop("authorization", None)
        async with self._answering(request) as response:
            yield response

    @asynccontextmanager
    async def _answering(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """A good answer that streams; everything else is raised, also what breaks while it is read."""
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.is_error:
                    raise self._error_of(response, await response.aread())
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error

    async def _sent(self, request: httpx.Request) -> None:
        self.asked = True
        self.changing = self.changing or request.method != "GET"

    async def _noted(self, response: httpx.Response) -> None:
        self.simulated = self.simulated or "x-firedeck-simulated" in response.headers

    def unreachable(self, error: Exception) -> FiredeckError:
        what = str(error) or type(error).__name__
        running = "is the engine running? `firedeck serve`"
        hint = f"{running}; {self._absent_note}" if self._absent_note else running
        return Unavailable(f"no answer from {self.base_url}: {what}", hint=hint)

    def _error_of(self, response: httpx.Response, content: bytes) -> FiredeckError:
        error = _error_of(response, content)
        if isinstance(error, Unauthenticated):
            error.hint = self._key_note or None
        return error

    def _json(self, content: bytes | str) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise Internal(f"{self.base_url} answered what is not JSON", hint="is it a firedeck engine?") from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines that end in LF or CRLF. httpx's own splitting ends one at U+2028 and U+0085 too, which JSON may hold."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


async def _sse_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of each event; comments and other fields are skipped (WHATWG HTML, server-sent events)."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _params(query: Query | None) -> dict[str, str]:
    wire = {True: "true", False: "false"}
    return {k: wire[v] if isinstance(v, bool) else str(v) for k, v in (query or {}).items() if v is not None}


def _error_of(response: httpx.Response, content: bytes) -> FiredeckError:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    retry_after = response.headers.get("retry-after", "")
    return from_response(response.status_code, body, float(retry_after) if retry_after.isdecimal() else None)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    return host == "localhost" or host == "::1" or host.startswith("127.")
