"""A replica's HTTP face without a model: the routes and bodies of a real one, answers of a latency model.

Its text is made of a few words and begins with `[simulated]`; every answer carries the header `x-firedeck-simulated`
and the fingerprint `simulated`. Of perf metrics it has those that are true of it: it cuts no text into tokens
and drafts none. ASGI, behind one bearer key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from client.errors import FiredeckError, InvalidArgument, NotFound, Unauthenticated, Unavailable
from engine.asgi import disconnected
from engine.clock import Clock
from engine.placement.port import Launch
from engine.placement.simulated.answer import Answer, Times, most_of, prompt_tokens_of
from engine.placement.simulated.world import Latency

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MARK = "[simulated]"
SIMULATED_HEADER = (b"x-firedeck-simulated", b"true")
BOUND_HEADER = b"x-firedeck-max-tokens"
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TOKENS_DEFAULT = 64  # of an answer whose request sets no limit: 1 to twice as many
BODY_BYTES_MAX = 8 << 20


class SimulatedReplica:
    """`status` is loading, ready or draining. Times are the clock's."""

    def __init__(
        self, launch: Launch, latency: Latency, clock: Clock, *, device: str, ready_at: float, seed: int
    ) -> None:
        self.running = self.waiting = 0
        self.draining = False
        self.ended = False  # its connections are cut: what it still says reaches nobody
        self._launch, self._latency, self._clock, self._device = launch, latency, clock, device
        self._began_at, self._ready_at = clock.monotonic(), ready_at
        self._authorization = f"Bearer {launch.key}".encode()
        self._slots = asyncio.Semaphore(launch.slots)
        self._chance = random.Random(seed)
        self._prompt_tokens = self._generated_tokens = 0
        self._incarnation = secrets.token_hex(8)

    @property
    def status(self) -> str:
        if self.draining:
            return "draining"
        return "ready" if self._clock.monotonic() >= self._ready_at else "loading"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self._authorization):
                raise Unauthenticated("this replica needs its own key")
            await self._route(scope, receive, send)
        except FiredeckError as error:
            await _send_json(send, error.status, error.inference_body())
        except asyncio.CancelledError:
            if not self.ended:
                raise

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/health":
            await _send_json(send, 200 if self.status == "ready" else 503, self._health())
        elif path == "/stats":
            await _send_json(send, 200, self._stats())
        elif path == "/v1/messages/count_tokens":
            await _send_json(send, 200, {"prompt_tokens": prompt_tokens_of(_parse(await _read(receive)), chat=True)})
        elif path in ("/v1/chat/completions", "/v1/completions"):
            raw = await _read(receive)
            chat, bound = path == "/v1/chat/completions", _bound(scope)
            await _unless_left(receive, self._generate(raw, send, bound, chat=chat))
        else:
            raise NotFound(f"a simulated replica has no {path[:100]}")

    def _health(self) -> dict[str, Any]:
        body: dict[str, Any] = {"simulated": True, "status": self.status, "incarnation": self._incarnation}
        body |= {"running": self.running, "waiting": self.waiting, "last_progress_age_s": 0.0}
        if body["status"] == "loading":
            passed = self._clock.monotonic() - self._began_at
            body["progress"] = round(passed / max(1e-9, self._ready_at - self._began_at), 3)
        return body

    def _stats(self) -> dict[str, Any]:
        slots = self._launch.slots
        counters = {"prompt_tokens_total": self._prompt_tokens, "generated_tokens_total": self._generated_tokens}
        return self._health() | {
            "slots": slots,
            "free_slots": slots - self.running,
            "kv_capacity_tokens": slots * self._launch.context_tokens,
            "counters": counters,
            "device": {"kind": self._device},
        }

    async def _generate(self, raw: bytes, send: Send, bound: int | None, *, chat: bool) -> None:
        if self.status != "ready":
            raise Unavailable(f"this replica is {self.status}", retry_after_s=1.0)
        asked = _parse(raw)
        times = Times(self._clock.monotonic(), self.running + self.waiting)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            times.admitted = self._clock.monotonic()
            tokens, created = self._length(asked), int(self._clock.wall().timestamp())
            if bound is not None and bound < tokens:
                asked["max_tokens"] = tokens = bound
            answer = Answer(asked, self._launch, times, chat=chat, tokens=tokens, created=created)
            if asked.get("stream"):
                await self._stream(answer, send)
            else:
                words = [word async for word in self._words(answer)]
                await _send_json(send, 200, answer.whole("".join(words)), answer.headers())
        finally:
            self.running -= 1
            self._slots.release()

    def _length(self, asked: dict[str, Any]) -> int:
        drawn, most = self._chance.randint(1, 2 * TOKENS_DEFAULT), most_of(asked)
        return drawn if most is None else min(most, self._launch.context_tokens)

    async def _words(self, answer: Answer) -> AsyncIterator[str]:
        """The tokens, each when the latency model has it ready."""
        latency = self._latency
        await self._sleep(latency.first_token_s + answer.prompt_tokens / latency.prompt_tokens_per_second)
        self._prompt_tokens += answer.prompt_tokens
        answer.times.prefilled = answer.times.finished = self._clock.monotonic()
        for n in range(answer.tokens):
            if n:
                beside = max(0, self.running - 1)
                await self._sleep((1 + latency.slowdown * beside) / latency.tokens_per_second)
                answer.times.finished = self._clock.monotonic()
            self._generated_tokens += 1
            yield MARK if n == 0 else " " + self._chance.choice(WORDS)

    async def _sleep(self, seconds: float) -> None:
        spread = self._latency.spread * (2 * self._chance.random() - 1)
        await self._clock.sleep(seconds * (1 + spread))

    async def _stream(self, answer: Answer, send: Send) -> None:
        begun = False
        async for word in self._words(answer):
            if not begun:
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), SIMULATED_HEADER]
                headers.append((b"x-firedeck-prompt-tokens", str(answer.prompt_tokens).encode()))
                headers.append((b"server-timing", answer.times.opening()))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                begun = True
            await send(_event(answer.chunk(word)))
        await send(_event(answer.chunk("", last=True)))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


# What would be another answer, or one of another shape, if it were heeded; the harmless values that ask for nothing.
_UNHEEDED: dict[str, tuple[object, ...]] = {
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "auto", "none"),
    "function_call": (None, "auto", "none"),
    "logprobs": (None, False),
    "echo": (None, False),
}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidArgument("the body is not JSON") from None
    if not isinstance(asked, dict) or (asked.get("n") or 1) != 1:
        raise InvalidArgument("a simulated replica gives one answer: n must be 1", field="n")
    for field, harmless in _UNHEEDED.items():
        if asked.get(field) not in harmless:
            raise InvalidArgument(
                f"a simulated replica has no model that could heed {field}", field=field,
                hint="leave it out, or ask a real deployment",
            )  # fmt: skip
    most_of(asked)
    return asked


def _bound(scope: Scope) -> int | None:
    """The tokens that the gateway lets it have, None where it sets no bound."""
    return next((int(value) for name, value in scope["headers"] if name == BOUND_HEADER), None)


async def _read(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES_MAX:
            raise InvalidArgument(f"the body is over {BODY_BYTES_MAX} bytes")
        if not message.get("more_body"):
            return body


async def _unless_left(receive: Receive, answering: Coroutine[Any, Any, None]) -> None:
    """What is made for a client that has left is given up, as by a real replica, and its slot is free."""
    answer, left = asyncio.ensure_future(answering), asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            answer.result()
    finally:
        answer.cancel()
        left.cancel()
        await asyncio.gather(answer, left, return_exceptions=True)


def _event(data: dict[str, Any]) -> dict[str, Any]:
    return {"type": "http.response.body", "body": b"data: " + json.dumps(data).encode() + b"\n\n", "more_body": True}


async def _send_json(send: Send, status: int, body: object, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode()), SIMULATED_HEADER]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": raw})
