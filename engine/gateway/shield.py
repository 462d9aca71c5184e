"""What may stand between an admitted request and the replicas: guards, and the response cache. All of it is off.

    data   Shield      an engine's cache, and the way to its guards
    verbs  way         how one request is answered: `forward` itself, unless something is on for its deployment
    near   `routes` calls `way` once; `judging` is the guards' part of it, `lookup` the cache's, `passing` the answer's

In this order: a key that a breaker refuses is turned away (403), the request is judged, the cache is asked, replicas
are asked, the answer is judged, released, and kept. An answer that is to be judged is held back until it is whole: a
stream's first token then comes with its last, and not a word of a refused answer reaches anybody. With `release` window
a stream is let out as far as no rule can be broken any more (`passing`), and ends with the refusal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from client.errors import GuardRefused
from engine.access import guards as declared
from engine.access.guards import Standing
from engine.asgi import Send
from engine.clock import Clock
from engine.fleet.keeper import Keeper
from engine.gateway import cached
from engine.gateway.cached import Cached
from engine.gateway.exchange import GENERATES, Exchange, ParsedRequest
from engine.gateway.forward import forward
from engine.gateway.judging import Judging
from engine.gateway.lookup import Lookup
from engine.gateway.relay import Stopped
from engine.house import House
from engine.telemetry import tracing

Way = Callable[[Keeper, Exchange, Send], Coroutine[Any, Any, None]]


class Shield:
    def __init__(self, house: House, clock: Clock) -> None:
        self.house = house
        self.clock = clock
        self.cached = Cached(clock)

    def way(self, keeper: Keeper, request: ParsedRequest) -> Way:
        standing = self.house.access.guards.on(request.caller.account, keeper.name)
        if not standing and not cached.switched_on(keeper.deployment):
            return forward
        return _Shielded(self, request, standing).answer


class _Shielded:
    """One request on the way that has something in it."""

    def __init__(self, shield: Shield, request: ParsedRequest, standing: Sequence[Standing]) -> None:
        self._judging = Judging(shield.house, shield.clock, request, standing)
        self._lookup = Lookup(shield.cached, shield.house, request, declared.digest(standing))

    async def answer(self, keeper: Keeper, exchange: Exchange, send: Send) -> None:
        """As `forward` does. GuardRefused, KeyRefused, or Unavailable where a guard that has to be heard is silent."""
        judging, lookup = self._judging, self._lookup
        judging.turn_away()
        await judging.before(keeper, exchange)
        version = lookup.version(keeper)
        question = lookup.question(keeper, exchange, version)
        if question is not None and await lookup.replay(keeper, exchange, question, send):
            return
        keep = None if question is None else partial(lookup.keep, keeper, exchange, question, version)
        hold = exchange.path in GENERATES and judging.hears_answers
        passing = judging.passing(send, exchange, keep)
        try:
            await forward(keeper, exchange, passing)
            if hold:
                if passing.status == 200:
                    await judging.after(keeper, exchange, bytes(passing.body))
                await passing.release()
        except Stopped as stopped:
            await _end(await judging.stopped(keeper, stopped.guard), exchange, send)
        except GuardRefused as error:
            await _end(error, exchange, send)


async def _end(error: GuardRefused, exchange: Exchange, send: Send) -> None:
    """Raises it, unless the answer has begun: a stream then ends with it."""
    if exchange.held or not exchange.answering:
        raise error
    exchange.status, exchange.broken, exchange.whole = error.status, True, False
    tracing.refused(error)
    body = json.dumps(error.inference_body(exchange.request_id)).encode()
    await send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})
