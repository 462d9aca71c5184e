"""A replica's HTTP face without a model: the routes and bodies of a real one, answers of a latency model.

Its text is made of a few words and begins with `[simulated]`; every answer carries the header `x-firedeck-simulated`
and the fingerprint `simulated`. ASGI, behind one bearer key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from client.errors import FiredeckError, InvalidArgument, NotFound, Unauthenticated, Unavailable
from engine.asgi import disconnected
from engine.clock import Clock
from engine.placement.port import Launch
from engine.placement.simulated.world import Latency

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MARK = "[simulated]"
SIMULATED_HEADER = (b"x-firedeck-simulated", b"true")
BOUND_HEADER = b"x-firedeck-max-tokens"
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TOKENS_DEFAULT = 64  # of an answer whose request sets no limit: 1 to twice as many
CHARACTERS_PER_TOKEN = 4
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
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            tokens = self._length(asked)
            if bound is not None and bound < tokens:
                asked["max_tokens"] = tokens = bound
            answer = _Answer(asked, chat=chat, tokens=tokens, created=int(self._clock.wall().timestamp()))
            if asked.get("stream"):
                await self._stream(answer, send)
            else:
                words = [word async for word in self._words(answer)]
                await _send_json(send, 200, answer.whole("".join(words)))
        finally:
            self.running -= 1
            self._slots.release()

    def _length(self, asked: dict[str, Any]) -> int:
        drawn, most = self._chance.randint(1, 2 * TOKENS_DEFAULT), _most(asked)
        return drawn if most is None else min(most, self._launch.context_tokens)

    async def _words(self, answer: _Answer) -> AsyncIterator[str]:
        """The tokens, each when the latency model has it ready."""
        latency = self._latency
        await self._sleep(latency.first_token_s + answer.prompt_tokens / latency.prompt_tokens_per_second)
        self._prompt_tokens += answer.prompt_tokens
        for n in range(answer.tokens):
            if n:
                beside = max(0, self.running - 1)
                await self._sleep((1 + latency.slowdown * beside) / latency.tokens_per_second)
            self._generated_tokens += 1
            yield MARK if n == 0 else " " + self._chance.choice(WORDS)

    async def _sleep(self, seconds: float) -> None:
        spread = self._latency.spread * (2 * self._chance.random() - 1)
        await self._clock.sleep(seconds * (1 + spread))

    async def _stream(self, answer: _Answer, send: Send) -> None:
        begun = False
        async for word in self._words(answer):
            if not begun:
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), SIMULATED_HEADER]
                headers.append((b"x-firedeck-prompt-tokens", str(answer.prompt_tokens).encode()))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                begun = True
            await send(_event(answer.chunk(word)))
        await send(_event(answer.chunk("", last=True)))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


class _Answer:
    """The bodies of one answer, in the words of the wire. `created`: epoch seconds."""

    def __init__(self, asked: dict[str, Any], *, chat: bool, tokens: int, created: int) -> None:
        self.tokens = tokens
        self._created = created
        prompt = asked.get("messages") if chat else asked.get("prompt")
        text = prompt if isinstance(prompt, str) else json.dumps(prompt)
        self.prompt_tokens = 1 + len(text) // CHARACTERS_PER_TOKEN
        self._chat = chat
        self._finish = "stop" if _most(asked) is None else "length"
        kind = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._id, self._object = f"{kind[0]}-simulated-{secrets.token_hex(6)}", kind[1]
        self._model = str(asked.get("model", ""))

    def whole(self, text: str) -> dict[str, Any]:
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return self._body(self._object, said | {"index": 0, "finish_reason": self._finish}) | {"usage": self._usage()}

    def chunk(self, text: str, *, last: bool = False) -> dict[str, Any]:
        delta = {} if last else {"role": "assistant", "content": text}
        said: dict[str, Any] = {"delta": delta} if self._chat else {"text": text}
        kind = "chat.completion.chunk" if self._chat else self._object
        body = self._body(kind, said | {"index": 0, "finish_reason": self._finish if last else None})
        return body | {"usage": self._usage()} if last else body

    def _body(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id, "object": kind, "created": self._created, "model": self._model,
            "system_fingerprint": "simulated", "choices": [choice],
        }  # fmt: skip

    def _usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}


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
    _most(asked)
    return asked


def _bound(scope: Scope) -> int | None:
    """The tokens that the gateway lets it have, None where it sets no bound."""
    return next((int(value) for name, value in scope["headers"] if name == BOUND_HEADER), None)


def _most(asked: dict[str, Any]) -> int | None:
    """The tokens that the request allows, None where it sets no limit."""
    most = asked.get("max_tokens")
    most = asked.get("max_completion_tokens") if most is None else most
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidArgument("max_tokens must be a whole number of 1 or more", field="max_tokens")
    return most


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


async def _send_json(send: Send, status: int, body: object) -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode()), SIMULATED_HEADER]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
