"""May this request come in? Limits of its account and of its key, from the door until its last token.

    data   Admission   the tallies of the holders (accounts and keys) that were charged in the last minute
           Visit       one request: whom it is charged to, and what
    verbs  enter       count it as a request and as one under way, or refuse it: before its body is read
           share       it goes to a serverless deployment: count it there too, or refuse it
           charge      its tokens, or refuse it and take back what `enter` counted
           settle      what it really used, known at its end, also when its client has left
           telling     `send` that puts the documented x-ratelimit headers on whatever is answered
    near   `engine.control.limits` decides; values are `engine.access.rate_limits`'; `routes` makes the visits; `demand`
           says what a request may take

Of a prompt an estimate is charged. What is generated is set aside in full, and bounded: whatever a limit leaves less
than a request would take by itself, its replica is told, and so is the client (`x-firedeck-max-tokens`). Where nothing
limits it, an estimate stands for one of no named length. Unlimited keys have no tally, idle holders are forgotten.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from client.errors import ResourceExhausted
from engine.access.rate_limits import RateLimits, account_holder, key_holder
from engine.asgi import CLIENT_GONE, Headers, Message, Send
from engine.control.limits import PER_MINUTE, Amounts, Charge, Kind, Refusal, Tally, longest
from engine.gateway.demand import Answers, answers_of, prompt_estimate
from engine.gateway.exchange import COMPUTED, MOST_TOKENS_HEADER, Exchange
from engine.keys import Principal
from engine.telemetry.meter import Usage

CONCURRENT_RETRY_S = 1.0  # when one of those under way will end is not known
_LOOKED_AT = 2  # tallies that each visit looks at, to forget the idle ones
_HEADER = {
    Kind.REQUESTS: "requests", Kind.PROMPT: "tokens-prompt", Kind.UNCACHED: "tokens-cache-adjusted-prompt",
    Kind.GENERATED: "tokens-generated",
}  # fmt: skip
_DOOR: Amounts = {Kind.REQUESTS: 1, Kind.CONCURRENT: 1}
_REQUEST: Amounts = {Kind.REQUESTS: 1}
_SERVERLESS = "#serverless"  # ends the holder that an account is with what it asks of serverless deployments


class Admission:
    """One gateway's. `now` is monotonic seconds; `serverless`: what an account may ask of serverless deployments."""

    def __init__(self, limits: RateLimits, now: Callable[[], float], serverless: Amounts | None = None) -> None:
        self.limits, self.now = limits, now
        self._serverless = serverless or {}
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        limits.used = self.used

    def __len__(self) -> int:
        """Holders that are known."""
        return len(self._tallies)

    def used(self, holder: str, kind: Kind) -> int:
        tally = self._tallies.get(holder)
        return tally.used(kind, self.now()) if tally else 0

    def limits_of(self, holder: str) -> Amounts:
        return self._serverless if holder.endswith(_SERVERLESS) else self.limits.of(holder)

    def visit(self, caller: Principal) -> Visit:
        account, key = account_holder(caller.account), key_holder(caller.account, caller.user, caller.key_id)
        visit = Visit(self, [account, key] if self.limits.of(key) else [account])
        self._forget_idle()
        return visit

    def tally(self, holder: str) -> Tally:
        found = self._tallies.get(holder)
        if found is None:
            found = self._tallies[holder] = Tally()
        return found

    def _forget_idle(self) -> None:
        """A clock's hand: each visit looks at the next ones, so that all have their turn."""
        now = self.now()
        for _ in range(min(_LOOKED_AT, len(self._tallies))):
            holder, tally = next(iter(self._tallies.items()))
            if tally.idle(now):
                del self._tallies[holder]
            else:
                self._tallies.move_to_end(holder)


class Visit:
    """One inference request. `leave` must end it."""

    def __init__(self, admission: Admission, holders: list[str]) -> None:
        self._admission, self._holders = admission, holders
        self._charges: list[dict[Kind, Charge]] = []
        self._under_way: list[Tally] = []
        self._refused = False
        self.told_besides: Headers = []  # whatever is answered has these headers too
        self._told = 0  # events of a stream that were sent
        self._most: int | None = None  # tokens of each answer, where a limit leaves less than it would have

    def enter(self) -> None:
        """ResourceExhausted when it is one too many for this minute, or at the same time."""
        self._charge(_DOOR, _REQUEST, self._holders)
        self._under_way = [self._admission.tally(holder) for holder in self._holders]
        for tally in self._under_way:
            tally.concurrent += 1

    def share(self) -> None:
        """ResourceExhausted when it is one too many of its account for serverless deployments in this minute."""
        shared = self._holders[0] + _SERVERLESS
        self._holders = [*self._holders, shared]
        self._come_in(_REQUEST, [shared])

    def charge(self, fields: dict[str, Any], body: bytes, *, generates: bool, context: int | None = None) -> int | None:
        """The tokens that it will take, as far as that can be told; ResourceExhausted when they are too many. How many
        each answer may have, where that is less than the request would take by itself."""
        prompt, generated = prompt_estimate(fields, body), 0
        if generates:
            asked = answers_of(fields, context)
            given = self._within(asked)
            generated = asked.estimate if given is None else given.tokens
            self._most = given.most if given is not None and given.most < asked.most else None
        self._come_in({Kind.PROMPT: prompt, Kind.UNCACHED: prompt, Kind.GENERATED: generated}, self._holders)
        return self._most

    def settle(self, exchange: Exchange) -> None:
        """What became of it. Where its end was not seen, the estimates stay; of a stream, what was sent counts."""
        usage = exchange.used
        if exchange.cached or exchange.path not in COMPUTED:
            self._settle(_used(Usage()))  # counted as a request; nothing was computed
        elif usage.prompt:
            self._settle(_used(usage))
        elif exchange.status not in (200, CLIENT_GONE) and not self._told:
            self._settle(_used(Usage()))  # it was not answered
        elif exchange.stream:
            self._settle({Kind.GENERATED: self._told})

    def leave(self) -> None:
        for tally in self._under_way:
            tally.concurrent -= 1
        self._under_way = []

    def telling(self, send: Send) -> Send:
        """`send` that tells what is left of each limit, where there are any."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.headers()]}
            elif message.get("more_body"):
                self._told += message.get("body", b"").count(b"data: {")
            await send(message)

        return tell

    def headers(self) -> Headers:
        """The documented ones: of two limits of a kind the one of which less is left."""
        limits = [(holder, self._admission.limits_of(holder)) for holder in self._holders]
        told: Headers = [*self.told_besides]
        for kind in PER_MINUTE:
            left = [
                (max(0, of[kind] - self._admission.used(holder, kind)), of[kind]) for holder, of in limits if kind in of
            ]
            if left:
                remaining, limit = min(left)
                told.append((f"x-ratelimit-limit-{_HEADER[kind]}".encode(), str(limit).encode()))
                told.append((f"x-ratelimit-remaining-{_HEADER[kind]}".encode(), str(remaining).encode()))
        if any(of for _, of in limits):
            told.append((b"x-ratelimit-over-limit", b"yes" if self._refused else b"no"))
        if self._most is not None:
            told.append((MOST_TOKENS_HEADER.encode(), str(self._most).encode()))
        return told

    def _within(self, asked: Answers) -> Answers | None:
        """What of it the limits may let in: less is left of them where it has to wait. None without a limit."""
        given = None
        for holder in self._holders:
            limit = self._admission.limits_of(holder).get(Kind.GENERATED)
            if limit is not None:
                left = limit - self._admission.used(holder, Kind.GENERATED)
                given = (given or asked).within(limit, left)
        return given

    def _come_in(self, demand: Amounts, holders: list[str]) -> None:
        """Charge it further; where that is too much, it did not come in at all."""
        try:
            self._charge(demand, demand, holders)
        except ResourceExhausted:
            self._settle({Kind.REQUESTS: 0})
            self._most = None
            raise

    def _charge(self, demand: Amounts, counted: Amounts, holders: list[str]) -> None:
        """All holders or none."""
        now = self._admission.now()
        tallies = [(holder, self._admission.tally(holder)) for holder in holders]
        refusals: dict[Refusal, str] = {}
        for holder, tally in tallies:
            refusal = tally.refusal(self._admission.limits_of(holder), demand, now)
            if refusal is not None:
                refusals[refusal] = holder
        worst = longest(refusals)
        if worst is not None:
            self._refused = True
            left = max(0, worst.limit - self._admission.used(refusals[worst], worst.kind))
            raise refused(worst, refusals[worst], now, needed=demand[worst.kind], left=left)
        self._charges += [tally.charge(counted, now) for _, tally in tallies]

    def _settle(self, amounts: Amounts) -> None:
        now = self._admission.now()
        for charges in self._charges:
            for kind, charge in charges.items():
                if kind in amounts:
                    charge.settle(amounts[kind], now)


def refused(refusal: Refusal, holder: str, now: float, *, needed: int, left: int) -> ResourceExhausted:
    """What a client is told. `retry_after_s` is exact, but for requests under way; None for never. `needed`, `left`: of
    the limit."""
    _, account, *key = holder.removesuffix(_SERVERLESS).split("/")
    who = "this API key" if key else f"account {account!r}"
    which = f" --key-id {key[3]} --user {key[1]}" if key else ""
    remedy = f"let an admin raise it: firedeck quota update {refusal.kind} --value N{which}"
    if holder.endswith(_SERVERLESS):
        who, remedy = f"{who} on serverless", "deploy the model for yourself: firedeck create deployment MODEL"
    if refusal.kind is Kind.CONCURRENT:
        what = f"has {refusal.limit} requests under way, all that it may have at a time"
    else:
        tokens = f"has {left} left of its {refusal.limit} tokens of this minute, and this request may take {needed}"
        requests = f"has used its {refusal.limit} requests of this minute"
        what = requests if refusal.kind is Kind.REQUESTS else tokens
    wait_s = CONCURRENT_RETRY_S if refusal.at is None else refusal.at - now
    less = "ask for a smaller max_tokens, " if refusal.kind is Kind.GENERATED and left else ""
    return ResourceExhausted(
        f"{who} {what} ({refusal.kind})",
        hint=f"{less}wait, or {remedy}",
        retry_after_s=None if math.isinf(wait_s) else wait_s,
    ).because(refusal.kind)


def _used(usage: Usage) -> Amounts:
    return {
        Kind.PROMPT: usage.prompt, Kind.UNCACHED: max(0, usage.prompt - usage.cached), Kind.GENERATED: usage.generated
    }  # fmt: skip
