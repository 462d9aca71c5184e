"""The replica's HTTP face: a plain ASGI app on a unix socket, behind one bearer key.

GET  /health               how it is: status, progress, load (503 unless ready)
GET  /stats                counters, memory, model, measured costs
POST /v1/chat/completions  POST /v1/completions
POST /v1/embeddings        POST /v1/rerank
POST /v1/messages/count_tokens   how many tokens a chat's prompt has; nothing is computed
GET  /adapters             PUT, DELETE /adapters/{name}: see adapter_routes
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import secrets
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from client.errors import (
    FiredeckError,
    Internal,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
)
from engine.perf_headers import perf_headers
from engine.replica import adapter_routes, journal
from engine.replica.call import Call, ClientGone
from engine.replica.embeddings import embed
from engine.replica.mailbox import Mailbox, Outbox
from engine.replica.pooler import Pooler
from engine.replica.rerank import rerank
from engine.replica.runtime import Runtime

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
PoolingAnswer = Callable[[Pooler, bytes, threading.Event], Awaitable[tuple[bytes, int]]]  # JSON and its prompt tokens

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_REQUEST_ID_CHARS = 128
PROMPT_HEADER = b"x-firedeck-prompt-tokens"  # of a stream, to the gateway: its usage comes at its end alone
DRAFTS_HEADER = b"x-firedeck-drafts"  # of a whole answer, to the gateway: tokens accepted, rejected
JSON_TYPE = (b"content-type", b"application/json")
STREAM_HEADERS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class App:
    """`last_contact` is when an authenticated request last came in (monotonic seconds)."""

    def __init__(self, runtime: Runtime, outbox: Outbox, key: str) -> None:
        self.incarnation = secrets.token_hex(8)
        self.last_contact = time.monotonic()
        self.failure_told = asyncio.Event()
        self._runtime, self._outbox = runtime, outbox
        self._authorization = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = headers.get("x-request-id", "")[:MAX_REQUEST_ID_CHARS] or secrets.token_hex(12)
        try:
            self._authenticate(scope["headers"])
            await self._route(scope, receive, send, headers, request_id)
        except ClientGone:
            return
        except FiredeckError as error:
            await _send_error(send, error, request_id)
        except Exception as error:  # a bug of ours: told in the envelope that clients can read
            await _send_error(send, self._unforeseen(error), request_id)

    def _unforeseen(self, error: Exception) -> Internal:
        """Counted and logged by kind and place; its text stays out, because it may quote a prompt."""
        self._runtime.count_error()
        log.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        return Internal(f"this replica ran into an error of its own ({type(error).__name__})")

    def _authenticate(self, headers: Headers) -> None:
        given = next((value for name, value in headers if name == b"authorization"), b"")
        if not hmac.compare_digest(given, self._authorization):
            raise Unauthenticated("this replica needs its own key")
        self.last_contact = time.monotonic()

    async def _route(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str], request_id: str
    ) -> None:
        method, path = scope["method"], scope["path"]
        if path in ("/v1/chat/completions", "/v1/completions"):
            _require(method, "POST")
            await self._generate(receive, send, headers, request_id, chat=path == "/v1/chat/completions")
        elif path in ("/v1/embeddings", "/v1/rerank"):
            _require(method, "POST")
            await self._pool(receive, send, request_id, embed if path == "/v1/embeddings" else rerank)
        elif path == "/v1/messages/count_tokens":
            _require(method, "POST")
            raw = await _read_body(receive)
            count = await asyncio.to_thread(self._runtime.accepting().count, raw)
            await _send_json(send, 200, {"prompt_tokens": count}, [(b"x-request-id", request_id.encode("latin-1"))])
        elif adapter_routes.serves(path):
            await self._adapters(method, path, receive, send)
        elif path == "/health":
            _require(method, "GET")
            await self._health(send)
        elif path == "/stats":
            _require(method, "GET")
            head = {"incarnation": self.incarnation, "status": self._runtime.status, "reason": self._runtime.reason}
            await _send_json(send, 200, head | self._runtime.stats())
        else:
            raise NotFound(f"no such path: {path[:100]}")

    async def _health(self, send: Send) -> None:
        runtime, settings = self._runtime, self._runtime.settings
        body: dict[str, Any] = {
            "status": runtime.status,
            "incarnation": self.incarnation,
            "deployment": settings.deployment,
            "replica": settings.replica,
            "pid": os.getpid(),
            **runtime.load_figures(),
        }
        if runtime.status == "loading":
            body["progress"] = runtime.progress
        if runtime.status == "failed":
            body["reason"] = runtime.reason
        await _send_json(send, 200 if runtime.status == "ready" else 503, body)
        if runtime.status == "failed":
            self.failure_told.set()

    async def _generate(
        self, receive: Receive, send: Send, headers: dict[str, str], request_id: str, *, chat: bool
    ) -> None:
        inference = self._runtime.accepting()
        raw = await _read_body(receive, more=journal.length(headers) or 0)
        mailbox, arrived = Mailbox(self._outbox), time.monotonic()
        # Template, tokeniser and grammar can take a while on a long prompt: not on the loop that streams for others.
        call = await asyncio.to_thread(inference.prepare, raw, headers, mailbox, chat=chat, arrived=arrived)
        call.submit()
        watcher = asyncio.create_task(_watch(receive, mailbox.close))
        try:
            if call.request.stream:
                await _stream(send, call, request_id, self._unforeseen)
            else:
                await _whole(send, call, request_id)
        finally:
            watcher.cancel()
            call.close()

    async def _adapters(self, method: str, path: str, receive: Receive, send: Send) -> None:
        adapters = self._runtime.adapters
        if adapters is None:
            raise Unavailable(f"this replica is {self._runtime.status}", retry_after_s=1.0)
        await _send_json(send, 200, await adapter_routes.answer(adapters, method, path, await _read_body(receive)))

    async def _pool(self, receive: Receive, send: Send, request_id: str, answer: PoolingAnswer) -> None:
        pooler = self._runtime.pooling()
        raw = await _read_body(receive)
        arrived, gone = time.monotonic(), threading.Event()
        watcher = asyncio.create_task(_watch(receive, gone.set))
        try:
            body, tokens = await answer(pooler, raw, gone)
        finally:
            watcher.cancel()
            gone.set()  # whatever is still being read is read for nobody
        metrics = {"prompt-tokens": tokens, "server-processing-time": round(time.monotonic() - arrived, 6)}
        await _send_raw(send, 200, body, [*perf_headers(metrics), (b"x-request-id", request_id.encode("latin-1"))])


async def _watch(receive: Receive, on_gone: Callable[[], None]) -> None:
    """Tell when the client goes away, so that what works for it can stop."""
    while (await receive())["type"] != "http.disconnect":
        pass
    on_gone()


async def _whole(send: Send, call: Call, request_id: str) -> None:
    body = await call.body()
    metrics = perf_headers(call.perf())
    metrics.append((DRAFTS_HEADER, b"%d,%d" % call.drafts))
    await _send_json(send, 200, body, [*metrics, (b"x-request-id", request_id.encode("latin-1"))])


async def _stream(send: Send, call: Call, request_id: str, unforeseen: Callable[[Exception], FiredeckError]) -> None:
    """Server-sent events. The status line waits for the first chunk: an error before it keeps its own status.

    With a journal each group of events ends with its record. What another replica can mend goes without one."""
    begun = False
    headers = [*STREAM_HEADERS, (b"x-request-id", request_id.encode("latin-1"))]
    if call.recorder is not None:
        kept = journal.RESUMABLE if journal.resumable(call.request) else journal.COUNTED
        headers.append((journal.HEADER.encode(), kept))
        headers.append((PROMPT_HEADER, str(call.prompt_tokens).encode()))

    async def tell(data: bytes, *, more: bool = True, whole: bool = True) -> None:
        nonlocal begun
        if not begun:
            headers.append((b"server-timing", call.opening().encode()))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            begun = True
        record = call.recorder.record() if whole and call.recorder is not None else b""
        await send({"type": "http.response.body", "body": data + record, "more_body": more})

    try:
        async for chunks in call.groups():
            await tell(b"".join([_event(chunk) for chunk in chunks]))
        await tell(b"data: [DONE]\n\n", more=False)
    except Exception as error:
        if not begun or isinstance(error, ClientGone):
            raise
        told = error if isinstance(error, FiredeckError) else unforeseen(error)
        whole = not isinstance(told, Unavailable)
        await tell(_event(told.inference_body(request_id)), more=False, whole=whole)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + _dumps(data) + b"\n\n"


async def _read_body(receive: Receive, more: int = 0) -> bytes:
    """The whole body, refused as soon as it passes the limit; `more` bytes of it are no part of the request."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES + more:
            raise PayloadTooLarge(f"the body is over {MAX_BODY_BYTES} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


def _require(method: str, wanted: str) -> None:
    if method != wanted:
        raise MethodNotAllowed(f"{method} is not possible here", hint=f"use {wanted}")


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _dumps(value: object) -> bytes:
    return _encoder.encode(value).encode("utf-8", "replace")


async def _send_json(send: Send, status: int, body: object, headers: Headers | None = None) -> None:
    await _send_raw(send, status, _dumps(body), headers)


async def _send_raw(send: Send, status: int, raw: bytes, headers: Headers | None = None) -> None:
    every = [JSON_TYPE, (b"content-length", str(len(raw)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": raw})


async def _send_error(send: Send, error: FiredeckError, request_id: str) -> None:
    headers: Headers = [(b"x-request-id", request_id.encode("latin-1"))]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after_s))).encode()))
    await _send_json(send, error.status, error.inference_body(request_id), headers)
