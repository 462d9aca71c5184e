"""One request before the guards that stand where it goes: they are asked in turn, and what they say is acted on.

    data   Judging    the request, and its guards
    verbs  turn_away  KeyRefused where a breaker has had enough of its key
           before     of the request: GuardRefused, or Unavailable where a guard that has to be heard is silent
           passing    the `send` that holds its answer back for as long as they need
           after      of its whole answer: the same; stopped: of one that went over a guard's rules on its way
    near   `guards` are asked, a model among them as any deployment is; `shield` says when

A guard's `onFailure` says whether one that cannot tell lets the request through. Nothing here writes or logs a word of
a text. A breaker counts what is refused, by key; which key it refuses, the audit log alone says.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import timedelta

from client.durations import to_go
from client.errors import FiredeckError, GuardRefused, InvalidArgument, KeyRefused, NotFound, Unavailable
from client.guard_types import ANSWER, REQUEST, WINDOW
from engine.access import guards as declared
from engine.access.guards import Standing
from engine.asgi import Message, Send, headers_of
from engine.clock import Clock
from engine.control import request_text
from engine.fleet.keeper import Keeper
from engine.gateway import answer_text
from engine.gateway.exchange import GENERATES, TIMEOUT_HEADER, Exchange, ParsedRequest, sent_headers
from engine.gateway.forward import forward
from engine.gateway.guards import Verdict, guards_of
from engine.gateway.passing import Keep, Passing, Windowed
from engine.gateway.prompt import ISOLATION_HEADER
from engine.house import House
from engine.telemetry import metrics, tracing
from engine.telemetry.audit import Seen

log = logging.getLogger(__name__)

GUARD_RETRY_S = 5.0
_CHAT = "/v1/chat/completions"


class Judging:
    def __init__(self, house: House, clock: Clock, request: ParsedRequest, standing: Sequence[Standing]) -> None:
        self._house, self._clock, self._request, self._standing = house, clock, request, standing
        self._headers = headers_of(request.scope)

    @property
    def hears_answers(self) -> bool:
        return any(one.at(ANSWER) for one in self._standing)

    def passing(self, send: Send, exchange: Exchange, keep: Keep | None) -> Passing:
        """How its answer goes: held back whole, unless every guard of it lets go what is safe and reads one text."""
        standing = [one for one in self._standing if one.at(ANSWER)]
        one_text = all(self._request.fields.get(name) in (None, 1) for name in ("n", "best_of"))
        if standing and exchange.stream and one_text and all(one.guard.release == WINDOW for one in standing):
            return Windowed(send, exchange, keep, standing)
        return Passing(send, exchange, keep, hold=exchange.path in GENERATES and bool(standing))

    def turn_away(self) -> None:
        """KeyRefused while the breaker of a guard is open for the request's key."""
        caller, now = self._request.caller, self._clock.monotonic()
        holder = declared.key_of(caller.user, caller.key_id)
        for one in self._standing:
            until = one.breaker.until(holder, now) if one.breaker else None
            if until is not None:
                raise KeyRefused(
                    f"guard {one.guard.id} refuses this API key for a while: it had to stop too many of its requests",
                    hint=f"wait, or let an admin run: firedeck guard release {one.guard.id} --key-id {caller.key_id}",
                    retry_after_s=until - now,
                )

    async def before(self, keeper: Keeper, exchange: Exchange) -> None:
        if any(one.at(REQUEST) for one in self._standing):
            await self._judge(keeper, exchange, REQUEST, self._texts(), "")

    async def after(self, keeper: Keeper, exchange: Exchange, sent: bytes) -> None:
        """`sent`: the body as the client would get it."""
        said = answer_text.text_of(sent, stream=exchange.stream)
        await self._judge(keeper, exchange, ANSWER, (), said)

    async def stopped(self, keeper: Keeper, guard: Standing) -> GuardRefused:
        """What the client is told of a stream that this guard has stopped."""
        with tracing.judges(guard.guard.id, ANSWER) as told:
            told.append(Verdict.REFUSED.value)
        metrics.VERDICTS.labels(keeper.name, ANSWER, Verdict.REFUSED.value).inc()
        return await self._refusal(guard, keeper, ANSWER)

    def _texts(self) -> list[str]:
        """InvalidArgument for a prompt that cannot be read."""
        fields = self._request.fields
        for name in request_text.PROMPTS:
            if request_text.has_token_ids(fields.get(name)):
                raise InvalidArgument(
                    f"{name} is given as token ids, which the guards of this account cannot read", field=name,
                    hint="send text",
                )  # fmt: skip
        return request_text.texts(fields)

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
            f"guard {one.guard.id} of account {self._request.caller.account} refused the {phase}",
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
        caller, keeper = self._request.caller, self._house.fleet.get(deployment)
        if keeper.deleted:
            raise NotFound("the guard's deployment was deleted")
        isolation = {name: value for name, value in self._headers.items() if name == ISOLATION_HEADER}
        headers = sent_headers(isolation | {TIMEOUT_HEADER: f"{seconds:.3f}"}, caller)
        exchange = Exchange(_CHAT, body, False, about.request_id, about.now(), about.now, headers)
        answer = Passing(_to_nobody, exchange, None, hold=True)
        bill = self._house.tally.bill(
            caller, keeper.name, keeper.deployment.base_model or "", None, self._request.fields.get("metadata"),
            simulated=self._house.fleet.rooms.driver.simulated, guard=guard,
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
        caller, now = self._request.caller, self._clock.monotonic()
        if one.breaker is None or not one.breaker.hit(declared.key_of(caller.user, caller.key_id), now):
            return
        limit, access = one.breaker.limit, self._house.access
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
                admin=False, key_id=caller.key_id, client_ip=(self._request.scope.get("client") or ("",))[0],
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
