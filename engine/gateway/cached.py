"""The response cache at the gateway: which requests may be answered from it, under which key, and with what.

    data   Question     one request that may be: its key, and the form in which it wants the answer
    verbs  question     None for a request that is always computed
           answer       headers and body of a hit
           look_up      the answer of an equal request, not older than the deployment lets it become
           keep         an answer that was computed just now
    near   `engine.control.response_cache` is the store, `replays` knows the bytes, `lookup` calls

Equal are requests of one account, of the same isolation keys, to the same path of the same deployment as it runs now
(generation of its settings, digest of its model's file, adapters with theirs, guards), whose fields are the same. What
changes no text is no part of that: the spelling of the model string, `stream`, `user`, `metadata`, `prompt_cache_key`.
Asked for must be one text: temperature 0, or a seed. `prompt_cache_max_len` and `Cache-Control: no-store` or `no-cache`
say that a request wants to be computed. The key is a digest; prompts are not kept, answers in memory alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.types import Deployment
from engine.asgi import Headers
from engine.clock import Clock
from engine.control.response_cache import ResponseCache
from engine.gateway import replays
from engine.gateway.exchange import GENERATES, Exchange
from engine.gateway.prompt import ISOLATION_FIELD, isolation_of
from engine.perf_headers import perf_headers

CACHE_BYTES = 64 << 20  # of all accounts together
ENTRY_BYTES_MAX = 1 << 20
HEADER = b"x-firedeck-response-cache"
_REFUSALS = ("no-store", "no-cache")
# Fields that change no text (isolation is told apart from them), and the type that they have where they are right: a
# wrong one is the replica's to refuse.
_WITHOUT_EFFECT: Mapping[str, type] = {
    "user": str,
    "metadata": dict,
    "prompt_cache_key": str,
    "stream": bool,
    ISOLATION_FIELD: str,
}


@dataclass(frozen=True, slots=True)
class Version:
    """Which text a deployment gives now. `adapters`: what it may use, by name and digest; `guards`: the digest of those
    that an answer has passed."""

    deployment: str
    generation: str
    model_digest: str
    adapter: str
    adapters: tuple[tuple[str, str], ...] = ()
    guards: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    key: bytes
    stream: bool
    plain: bool
    ttl_s: float
    generation: str


def switched_on(deployment: Deployment) -> bool:
    return bool(deployment.firedeck and deployment.firedeck.response_cache)


def question(
    deployment: Deployment, path: str, account: str, fields: dict[str, Any], headers: Mapping[str, str], now: Version
) -> Question | None:
    """`headers` have lower-case names."""
    options = deployment.firedeck
    if options is None or options.response_cache_ttl is None or path not in GENERATES or not one_text(fields):
        return None
    if fields.get("prompt_cache_max_len") is not None:
        return None
    if any(word in headers.get("cache-control", "").lower() for word in _REFUSALS):
        return None
    stream, plain = bool(fields.get("stream")), replays.plain(fields)
    told = [
        account, isolation_of(fields, headers), path, [now.deployment, now.generation],
        [now.model_digest, now.adapter, now.adapters, now.guards], "any" if plain else stream, canonical(fields, plain),
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(told).encode()).digest()
    return Question(key, stream, plain, options.response_cache_ttl.total_seconds(), now.generation)


def one_text(fields: Mapping[str, Any]) -> bool:
    """Whether it is to get the same text each time: by temperature 0, or by a seed."""
    temperature, seed = fields.get("temperature"), fields.get("seed")
    greedy = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return greedy or type(seed) is int


def canonical(fields: Mapping[str, Any], plain: bool) -> list[tuple[str, str]]:
    """What a request asks, in one spelling: in order of the names, null as not given, 1.0 as 1. Below the top level
    nothing is changed: a template writes a tool's schema into the prompt as it stands."""
    told = []
    for name in sorted(fields):
        value = fields[name]
        if value is None or name == "model":
            continue
        if isinstance(value, _WITHOUT_EFFECT.get(name, ())) or (name == "stream_options" and plain and _usual(value)):
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        told.append((name, json.dumps(value)))
    return told


def _usual(options: object) -> bool:
    """`stream_options` that only say where the usage goes."""
    return isinstance(options, dict) and all(k == "include_usage" and isinstance(v, bool) for k, v in options.items())


def answer(
    asked: Question, fields: dict[str, Any], found: tuple[bytes, float], deployment: str, exchange: Exchange
) -> tuple[Headers, bytes]:
    """Headers and body of a hit; `found` as `Cached.look_up` gives it. A stream's perf metrics are in its body alone,
    as those of a replica are."""
    content, age_s = found
    perf = perf_of(content, deployment, exchange.now() - exchange.began_at)
    body = replays.replayed(content, fields, perf, stream=asked.stream, plain=asked.plain)
    told: Headers = [
        (b"x-request-id", exchange.request_id.encode()), (HEADER, b"hit"), (b"age", str(int(age_s)).encode()),
    ]  # fmt: skip
    if asked.stream:
        kind: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        return [*kind, *told], body
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return [*kind, *told, *perf_headers(perf)], body


def perf_of(content: bytes, deployment: str, took_s: float) -> dict[str, Any]:
    """Fireworks' perf metrics that are true of a hit: its prompt, all of which a cache had, and what it took here. None
    of the replica's, which had no part in it."""
    prompt, took = int(replays.usage_kept(content).get("prompt_tokens") or 0), round(took_s, 6)
    return {
        "prompt-tokens": prompt, "cached-prompt-tokens": prompt, "server-time-to-first-token": took,
        "server-processing-time": took, "deployment": deployment,
    }  # fmt: skip


class Cached:
    """The one store of an engine, with the engine's clock."""

    def __init__(self, clock: Clock) -> None:
        self.store = ResponseCache(CACHE_BYTES, ENTRY_BYTES_MAX)
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def look_up(self, asked: Question) -> tuple[bytes, float] | None:
        """The answer and its age in seconds."""
        now = self._clock.monotonic()
        kept = self.store.get(asked.key, now)
        if kept is None or now - kept.kept_at >= asked.ttl_s:  # the time may have become shorter since
            return None
        return kept.content, now - kept.kept_at

    def keep(self, asked: Question, sent: bytes) -> None:
        """`sent`: the body as the client got it."""
        content = replays.kept_form(sent, stream=asked.stream, plain=asked.plain)
        if content is not None:
            self.store.put(asked.key, content, self._clock.monotonic(), asked.ttl_s)
            self._wake()

    def _wake(self) -> None:
        """Forget what is too old when its time comes, and not only when somebody asks: nothing is retained longer."""
        now = self._clock.monotonic()
        due = self.store.expire(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now) + 0.001, self._wake)
