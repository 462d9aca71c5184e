"""What may stand between an admitted request and the replicas: guards, and the response cache. All of it is off.

    data   Shield      an engine's cache, and the way to its guards
    verbs  way         how one request is answered: `forward` itself, unless something is on for its deployment
    near   `routes` calls `way` once; `judging` is the guards' part of it, `lookup` the cache's, `passing` the answer's

In this order: a key that a breaker refuses is turned away (403), the request is judged, the cache is asked, replicas
are asked, the answer is judged, released, and kept. An answer that is to be judged is held back until it is whole: a
stream's first token then comes with its last, and not a word of a refused answer reaches anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

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
from engine.gateway.passing import Passing
from engine.house import House

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
        passing = Passing(send, exchange, keep, hold=hold)
        await forward(keeper, exchange, passing)
        if hold:
            if passing.status == 200:
                await judging.after(keeper, exchange, bytes(passing.body))
            await passing.release()
