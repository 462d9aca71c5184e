"""One request before the response cache: answered from there, or answered by a replica and kept.

    data   Lookup     the request, and the engine's cache
    verbs  version    what the deployment's answers depend on now
           question   None for a request that is always computed
           replay     answer from the cache, where it has the answer
           keep       the answer that was computed instead, if nothing changed meanwhile
    near   `cached` says which requests are equal, `replays` knows the bytes; `shield` says when

A hit computes nothing, and is a request of no tokens for limits, ledger and load. Guards are part of the keys: what is
kept has passed those that stand now.
"""

from __future__ import annotations

import contextlib

from client.errors import NotFound
from engine.asgi import Send, headers_of
from engine.fleet.keeper import Keeper
from engine.gateway import cached
from engine.gateway.cached import Cached, Question, Version
from engine.gateway.exchange import Exchange, ParsedRequest
from engine.house import House
from engine.telemetry import tracing


class Lookup:
    """`guards`: the digest of those that an answer must have passed."""

    def __init__(self, store: Cached, house: House, request: ParsedRequest, guards: str) -> None:
        self._store, self._house, self._request, self._guards = store, house, request, guards

    def version(self, keeper: Keeper) -> Version:
        """What the deployment's answers depend on, besides the request."""
        model = ""
        with contextlib.suppress(NotFound):
            file = self._house.library.get(keeper.deployment.base_model or "").firedeck
            model = (file.digest if file else None) or ""
        adapters = tuple(sorted((name, addon.digest) for name, addon in keeper.addons.wanted.items()))
        return Version(keeper.name, keeper.generation, model, self._request.addon or "", adapters, self._guards)

    def question(self, keeper: Keeper, exchange: Exchange, version: Version) -> Question | None:
        if not cached.switched_on(keeper.deployment):
            return None
        request, headers = self._request, headers_of(self._request.scope)
        return cached.question(
            keeper.deployment, exchange.path, request.caller.account, request.fields, headers, version
        )

    async def replay(self, keeper: Keeper, exchange: Exchange, question: Question, send: Send) -> bool:
        """Answer from the cache; whether it had the answer."""
        since = tracing.now()
        found = self._store.look_up(question)
        keeper.meter.looked_up(hit=found is not None)
        tracing.looked_up(None if found is None else found[1], since)
        if found is None:
            return False
        headers, body = cached.answer(question, self._request.fields, found, keeper.name, exchange)
        exchange.cached = exchange.answering = True
        exchange.status = 200
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def keep(self, keeper: Keeper, exchange: Exchange, question: Question, before: Version, sent: bytes) -> None:
        """An answer of one replica that is as declared, while nothing was changed since `before`; no limit made it
        shorter."""
        answered = exchange.status == 200 and not exchange.lost and not exchange.shortened
        if answered and before == self.version(keeper) and exchange.generation == before.generation:
            self._store.keep(question, sent)
