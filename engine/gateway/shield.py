"""What may stand between an admitted request and the replicas: guards, and the response cache. All of it is off.

    data   Shield      an engine's cache, and the way to its guards
    verbs  way         how one request is answered: `forward` itself, unless something is on for its deployment
    near   `routes` calls `way` once; `guards`, `cached`, `replays` and `texts` are its parts

In this order: a key that a breaker refuses is turned away (403), the request is judged, the cache is asked, replicas
are asked, the answer is judged, released, and kept. An answer that is to be judged is held back until it is whole: a
stream's first token then comes with its last, and not a word of a refused answer reaches anybody. With `release` window
a stream is let out as far as no rule can be broken any more (`passing`), and ends with the refusal. Guards are part of
the cache's keys, so that what is kept has passed those that stand now.
Where a guard cannot tell, its `onFailure` says whether that lets the request through. Nothing here writes or logs a
word of a text; a hit of the cache computes nothing, and is a request of no tokens for limits, ledger and load.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from client.durations import to_go
from client.errors import FiredeckError, GuardRefused, KeyRefused, NotFound, Unavailable
from client.guard_types import ANSWER, REQUEST, WINDOW
from engine.access import guards as declared
from engine.access.guards import Standing
from engine.asgi import Message, Scope, Send, headers_of
from engine.clock import Clock
from engine.fleet.keeper import Keeper
from engine.gateway import cached, texts
from engine.gateway.cached import Cached, Question, Version
from engine.gateway.exchange import GENERATES, TIMEOUT_HEADER, Exchange, sent_headers
from engine.gateway.forward import forward
from engine.gateway.guards import Verdict, guards_of
from engine.gateway.passing import Keep, Passing, Windowed
from engine.gateway.prompt import ISOLATION_HEADER
from engine.gateway.relay import Stopped
from engine.house import House
from engine.keys import Principal
from engine.telemetry import metrics, tracing
from engine.telemetry.audit import Seen

log = logging.getLogger(__name__)

Way = Callable[[Keeper, Exchange, Send], Coroutine[Any, Any, None]]
GUARD_RETRY_S = 5.0
_CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as `routes` has read it."""

    caller: Principal
    fields: dict[str, Any]
    addon: str | None
    scope: Scope


class Shield:
    def __init__(self, house: House, clock: Clock) -> None:
        self.house = house
        self.clock = clock
        self.cached = Cached(clock)

    def way(self, keeper: Keeper, asked: Asked) -> Way:
        standing = self.house.access.guards.on(asked.caller.account, keeper.name)
        if not standing and not cached.switched_on(keeper.deployment):
            return forward
        return _Shielded(self, asked, standing).answer


class _Shielded:
    """One request on the way that has something in it."""

    def __init__(self, shield: Shield, asked: Asked, standing: Sequence[Standing]) -> None:
        self._shield, self._asked, self._standing = shield, asked, standing
        self._headers = headers_of(asked.scope)

    async def answer(self, keeper: Keeper, exchange: Exchange, send: Send) -> None:
        """As `forward` does. GuardRefused, KeyRefused, or Unavailable where a guard that has to be heard is silent."""
        self._turn_away(keeper)
        if any(one.at(REQUEST) for one in self._standing):
            await self._judge(keeper, exchange, REQUEST, texts.of_request(self._asked.fields), "")
        version = self._version(keeper)
        question = self._question(keeper, exchange, version)
        if question is not None and await self._replay(keeper, exchange, question, send):
            return
        hold = exchange.path in GENERATES and any(one.at(ANSWER) for one in self._standing)

        def keep(sent: bytes) -> None:
            if question is not None and self._may_be_kept(exchange, version, self._version(keeper)):
                self._shield.cached.keep(question, sent)

        passing = self._passing(send, exchange, keep if question is not None else None)
        try:
            await forward(keeper, exchange, passing)
            if hold:
                if passing.status == 200:
                    said = texts.of_answer(bytes(passing.body), stream=exchange.stream)
                    await self._judge(keeper, exchange, ANSWER, (), said)
                await passing.release()
        except Stopped as stopped:
            with tracing.judges(stopped.guard.guard.id, ANSWER) as told:
                told.append(Verdict.REFUSED.value)
            metrics.VERDICTS.labels(keeper.name, ANSWER, Verdict.REFUSED.value).inc()
            await self._end(await self._refusal(stopped.guard, keeper, ANSWER), exchange, send)
        except GuardRefused as error:
            await self._end(error, exchange, send)

    def _passing(self, send: Send, exchange: Exchange, keep: Keep | None) -> Passing:
        """Held back whole, unless every guard of the answer lets go what is safe, and reads one text alone."""
        standing = [one for one in self._standing if one.at(ANSWER)]
        fields = self._asked.fields
        one_text = all(fields.get(name) in (None, 1) for name in ("n", "best_of"))
        if standing and exchange.stream and one_text and all(one.guard.release == WINDOW for one in standing):
            return Windowed(send, exchange, keep, standing)
        return Passing(send, exchange, keep, hold=exchange.path in GENERATES and bool(standing))

    @staticmethod
    async def _end(error: GuardRefused, exchange: Exchange, send: Send) -> None:
        """Raises it, unless the answer has begun: a stream then ends with it."""
        if exchange.held or not exchange.answering:
            raise error
        exchange.status, exchange.broken, exchange.whole = error.status, True, False
        tracing.refused(error)
        body = json.dumps(error.inference_body(exchange.request_id)).encode()
        await send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})

    def _version(self, keeper: Keeper) -> Version:
        """What the deployment's answers depend on, besides the request."""
        house, model = self._shield.house, ""
        with contextlib.suppress(NotFound):
            file = house.library.get(keeper.deployment.base_model or "").firedeck
            model = (file.digest if file else None) or ""
        adapters = tuple(sorted((name, addon.digest) for name, addon in keeper.addons.wanted.items()))
        guards = declared.digest(self._standing)
        return Version(keeper.name, keeper.generation, model, self._asked.addon or "", adapters, guards)

    def _question(self, keeper: Keeper, exchange: Exchange, version: Version) -> Question | None:
        if not cached.switched_on(keeper.deployment):
            return None
        asked = self._asked
        return cached.question(
            keeper.deployment, exchange.path, asked.caller.account, asked.fields, self._headers, version
        )

    @staticmethod
    def _may_be_kept(exchange: Exchange, before: Version, after: Version) -> bool:
        """Answered by one replica that is as declared, while nothing was changed."""
        answered = exchange.status == 200 and not exchange.lost
        return answered and before == after and exchange.generation == before.generation

    async def _replay(self, keeper: Keeper, exchange: Exchange, question: Question, send: Send) -> bool:
        """Answer from the cache; whether it had the answer."""
        found = self._shield.cached.look_up(question)
        keeper.meter.looked_up(hit=found is not None)
        tracing.looked_up(None if found is None else found[1])
        if found is None:
            return False
        headers, body = cached.answer(question, self._asked.fields, found, keeper.name, exchange)
        exchange.cached = exchange.answering = True
        exchange.status = 200
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def _turn_away(self, keeper: Keeper) -> None:
        """KeyRefused while the breaker of a guard is open for the request's key."""
        caller, now = self._asked.caller, self._shield.clock.monotonic()
        holder = declared.key_of(caller.user, caller.key_id)
        for one in self._standing:
            until = one.breaker.until(holder, now) if one.breaker else None
            if until is not None:
                raise KeyRefused(
                    f"guard {one.guard.id} refuses this API key for a while: it had to stop too many of its requests",
                    hint=f"wait, or let an admin run: firedeck guard release {one.guard.id} --key-id {caller.key_id}",
                    retry_after_s=until - now,
                )

    async def _judge(self, keeper: Keeper, exchange: Exchange, phase: str, read: Sequence[str], said: str) -> None:
        """Ask every guard of this phase; the first that stands against it ends the request."""
        for one in self._standing:
            if not one.at(phase):
                continue
            verdict = await self._verdict(one, exchange, phase, read, said)
            metrics.VERDICTS.labels(keeper.name, phase, verdict.value).inc()
            if verdict is Verdict.UNAVAILABLE and one.guard.on_failure != "open":
                raise Unavailable(
                    f"guard {one.guard.id} did not answer, and nothing passes without it",
                    hint="try again; its deployment must be ready, real, and with a context that holds the text",
                    retry_after_s=GUARD_RETRY_S,
                )
            if verdict is Verdict.REFUSED:
                raise await self._refusal(one, keeper, phase)

    async def _refusal(self, one: Standing, keeper: Keeper, phase: str) -> GuardRefused:
        """What the client is told, once the hit has been counted."""
        await self._count(one, keeper)
        return GuardRefused(
            f"guard {one.guard.id} of account {self._asked.caller.account} refused the {phase}",
            hint="ask for something else, or ask an admin what the guard stands against",
        )

    async def _verdict(self, one: Standing, exchange: Exchange, phase: str, read: Sequence[str], said: str) -> Verdict:
        async def ask(deployment: str, body: bytes, seconds: float) -> str:
            return await self._ask(deployment, body, seconds, exchange, one.guard.name)

        verdict = Verdict.PASSED
        with tracing.judges(one.guard.id, phase) as told:
            for guard in guards_of(one, ask):
                verdict = await (guard.before(read) if phase == REQUEST else guard.after(said))
                if verdict is not Verdict.PASSED:
                    break
            told.append(verdict.value)
        return verdict

    async def _ask(self, deployment: str, body: bytes, seconds: float, about: Exchange, guard: str) -> str:
        """What a guard model says. Its request is one of its deployment's, for load and figures, and is on the bill of
        who asked, under the guard's name; it is charged to no key's limits."""
        house, caller = self._shield.house, self._asked.caller
        keeper = house.fleet.get(deployment)
        if keeper.deleted:
            raise NotFound("the guard's deployment was deleted")
        isolation = {name: value for name, value in self._headers.items() if name == ISOLATION_HEADER}
        headers = sent_headers(isolation | {TIMEOUT_HEADER: f"{seconds:.3f}"}, caller)
        exchange = Exchange(_CHAT, body, False, about.request_id, about.now(), about.now, headers)
        answer = Passing(_to_nobody, exchange, None, hold=True)
        bill = house.tally.bill(
            caller, keeper.name, keeper.deployment.base_model or "", None, self._asked.fields.get("metadata"),
            simulated=house.fleet.rooms.driver.simulated, guard=guard,
        )  # fmt: skip
        keeper.meter.began(synthetic=False)
        failed = True
        try:
            await forward(keeper, exchange, answer)
            failed = exchange.status >= 500
        except FiredeckError as error:
            exchange.status, failed = error.status, error.status >= 500
            raise
        finally:
            took = about.now() - exchange.began_at
            bill.settle(exchange.used, failed=exchange.status >= 400)
            keeper.meter.ended(code=exchange.status, failed=failed, seconds=took, usage=exchange.usage)
        if answer.status != 200:
            raise Unavailable(f"the guard's model answered {answer.status}")
        try:
            said = json.loads(answer.body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise Unavailable("the guard's model gave no answer that can be read") from None
        return said if isinstance(said, str) else ""

    async def _count(self, one: Standing, keeper: Keeper) -> None:
        """A hit of this key; where it was one too many, that is an event and a record of the audit log."""
        caller, now = self._asked.caller, self._shield.clock.monotonic()
        if one.breaker is None or not one.breaker.hit(declared.key_of(caller.user, caller.key_id), now):
            return
        limit, access = one.breaker.limit, self._shield.house.access
        told = (  # which of the user's keys it is, the audit log says: not everybody who reads events may know
            f"guard {one.guard.id} stopped {limit.hits} requests of a key of user {caller.user} within"
            f" {to_go(timedelta(seconds=limit.window_s))}: the key is refused for"
            f" {to_go(timedelta(seconds=limit.refused_s))}"
        )
        metrics.KEYS_REFUSED.labels(keeper.name).inc()
        access.audit.add(
            Seen(
                change=True, account=caller.account, principal=access.users.principal(caller.account, caller.user),
                method="POST", message="RefuseKey", resource=one.guard.name, code=KeyRefused.name, detail=told,
                admin=False, key_id=caller.key_id, client_ip=(self._asked.scope.get("client") or ("",))[0],
                user_agent=self._headers.get("user-agent", ""),
            )
        )  # fmt: skip
        await keeper.announce("Warning", "KeyRefused", told)
        try:
            await access.audit.commit()
        except Exception as error:  # the key is refused all the same
            log.warning("a key is refused before its audit record is on disk: %s", error)


async def _to_nobody(message: Message) -> None:
    """A guard's answer is for the engine itself."""
