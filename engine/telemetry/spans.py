"""From what was noted of a request to OpenTelemetry's spans: made when somebody looks, not on the request's way. Pure.

    chat MODEL                     the whole request (SERVER)
    ├── admit                      key, limits, body, which deployment
    │   └── router ID              to which of its deployments, and why
    ├── guard ID                   what a guard said of the request, or of its answer; once for each
    ├── response cache             whether it had the answer
    ├── queue                      waiting for a place; once for each attempt, as are all below
    ├── route                      which replica, and why
    └── replica ID                 (CLIENT) whose id the replica is handed as `traceparent`
        ├── tokenize, queue, prefill, decode      as the replica reports them
        └── prefill, decode                       as seen from here, where it reports nothing

Names are https://opentelemetry.io/docs/specs/semconv/gen-ai/ where it has one, `firedeck....` else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from client.guard_types import ANSWER, REQUEST
from engine.asgi import CLIENT_GONE
from engine.telemetry.deaths import DEATHS
from engine.telemetry.reported import speculation, steps
from engine.telemetry.trace import (
    ADMIT,
    CACHE,
    GUARDS,
    HIT,
    LOST,
    NO_PLACE,
    QUEUE,
    REPLICA,
    ROUTE,
    ROUTER,
    STEPS,
    Attempt,
    Lasted,
    Trace,
    number_of,
)

INTERNAL, SERVER, CLIENT = 1, 2, 3  # as OTLP numbers them
PROVIDER = "firedeck"
KEY_ATTRIBUTE = "firedeck.key.id"
OPERATIONS = {
    "/v1/chat/completions": "chat", "/v1/completions": "text_completion", "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank", "/v1/messages/count_tokens": "count_tokens",
}  # fmt: skip

Value = str | int | float | bool
Kind = Callable[[str], str | None]  # how a replica ended, see `deaths.Deaths.kind`


@dataclass(slots=True)
class Event:
    """`at` is seconds of Unix time."""

    name: str
    at: float
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """`start` and `end` are seconds of Unix time; `end` is None while it lasts. `error` is "" where it went well."""

    name: str
    span_id: str
    parent_id: str
    kind: int
    start: float
    end: float | None
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    error: str = ""


def spans_of(trace: Trace, death: Kind = DEATHS.kind) -> list[Span]:
    """All spans of a request, the whole one first."""
    found = [_whole(trace), _admit(trace), *_router(trace), *_guards(trace, REQUEST), *_cache(trace)]
    for number, attempt in enumerate(trace.attempts):
        found += _Tried(trace, number, attempt, death).spans()
    return found + _guards(trace, ANSWER)


def operation(trace: Trace) -> str:
    return OPERATIONS.get(trace.route, "")


def _wall(trace: Trace, at: float) -> float:
    return trace.began_wall_s + (at - trace.began_at)


def _end(trace: Trace, at: float | None) -> float | None:
    return None if at is None else _wall(trace, at)


def _whole(trace: Trace) -> Span:
    named = f"{operation(trace)} {trace.model}" if trace.model else f"{trace.method} {trace.route}"
    span = Span(
        named, trace.span_id, trace.parent_id, SERVER, trace.began_wall_s, _end(trace, trace.ended_at),
        _attributes(trace), error=_failure(trace),
    )  # fmt: skip
    if trace.ttft_s is not None:
        span.events.append(Event("firedeck.first_token", trace.began_wall_s + trace.ttft_s))
    if trace.status == CLIENT_GONE and span.end is not None:
        span.events.append(Event("firedeck.client_gone", span.end))
    return span


def _failure(trace: Trace) -> str:
    return (trace.why or trace.error or f"HTTP {trace.status}") if trace.failed else ""


def _attributes(trace: Trace) -> dict[str, Value]:
    told: dict[str, Value | None] = {
        "http.request.method": trace.method,
        "http.route": trace.route,
        "http.response.status_code": trace.status or None,
        "error.type": trace.error or (str(trace.status) if trace.status >= 400 else None),
        "gen_ai.operation.name": operation(trace) or None,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": trace.model or None,
        "gen_ai.request.stream": trace.stream if trace.model else None,
        "gen_ai.response.time_to_first_chunk": None if trace.ttft_s is None else round(trace.ttft_s, 6),
        **_tokens(trace),
        "firedeck.request.id": trace.request_id,
        "firedeck.account": trace.account or None,
        "firedeck.user": trace.user or None,
        KEY_ATTRIBUTE: trace.key_id or None,
        "firedeck.deployment": trace.deployment or None,
        "firedeck.adapter": trace.adapter or None,
        **_routed(trace),
        "firedeck.synthetic": trace.synthetic or None,
        **_looked_up(trace),
        "firedeck.tries": len(trace.attempts) or None,
        "firedeck.refusal": trace.why or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _routed(trace: Trace) -> dict[str, Value]:
    """By its router; nothing where it named none."""
    return {"firedeck.router": trace.router, "firedeck.router.reason": trace.routed} if trace.router else {}


def _looked_up(trace: Trace) -> dict[str, Value]:
    """In the response cache; nothing where that was not asked."""
    age: dict[str, Value] = {"firedeck.response_cache.age": round(trace.cache_age_s, 3)} if trace.cache == HIT else {}
    return {"firedeck.response_cache": trace.cache, **age} if trace.cache else {}


def _tokens(trace: Trace) -> dict[str, Value | None]:
    """None where no answer began; of one that was cut off, those that were sent."""
    if not trace.prompt_tokens:
        return {}
    return {
        "gen_ai.usage.input_tokens": trace.prompt_tokens,
        "gen_ai.usage.output_tokens": trace.generated_tokens,
        "gen_ai.usage.cache_read.input_tokens": trace.cached_tokens,
    }


def _admit(trace: Trace) -> Span:
    """Ends with the admission, or with the refusal."""
    over = trace.ended_at if trace.admitted_at is None else trace.admitted_at
    turned_away = trace.admitted_at is None and trace.status
    attributes: dict[str, Value] = {"error.type": trace.error or str(trace.status)} if turned_away else {}
    return Span(
        "admit", trace.child_id(ADMIT), trace.span_id, INTERNAL, trace.began_wall_s, _end(trace, over),
        attributes, error=_failure(trace) if turned_away else "",
    )  # fmt: skip


def _router(trace: Trace) -> list[Span]:
    name = f"router {trace.router.rpartition('/')[2]}"
    return _beside(trace, trace.routed_in, ROUTER, name, trace.child_id(ADMIT), _routed(trace))


def _cache(trace: Trace) -> list[Span]:
    return _beside(trace, trace.looked_up_in, CACHE, "response cache", trace.span_id, _looked_up(trace))


def _beside(
    trace: Trace, lasted: Lasted | None, number: int, name: str, parent_id: str, told: dict[str, Value]
) -> list[Span]:
    """What lies between a request and its replicas where somebody has put it there."""
    if lasted is None:
        return []
    begun, over = (_wall(trace, at) for at in lasted)
    return [Span(name, trace.child_id(number), parent_id, INTERNAL, begun, over, told)]


def _guards(trace: Trace, phase: str) -> list[Span]:
    return [
        Span(
            f"guard {one.guard}", trace.child_id(GUARDS + number), trace.span_id, INTERNAL,
            _wall(trace, one.began_at), _wall(trace, one.ended_at),
            {"firedeck.guard.phase": one.phase, "firedeck.guard.verdict": one.verdict},
        )
        for number, one in enumerate(trace.judgements)
        if one.phase == phase
    ]  # fmt: skip


class _Tried:
    """The spans of one attempt."""

    def __init__(self, trace: Trace, number: int, attempt: Attempt, death: Kind) -> None:
        self._trace, self._number, self._attempt, self._death = trace, number, attempt, death

    def spans(self) -> list[Span]:
        one = self._attempt
        over = one.ended_at if one.placed_at is None else one.placed_at
        queue = self._span(QUEUE, "queue", self._trace.span_id, one.asked_at, over)
        queue.attributes = {"firedeck.try": self._number + 1, "firedeck.queue.ahead": one.ahead}
        queue.attributes["firedeck.replicas.ready"] = one.ready
        if one.outcome == NO_PLACE:
            queue.error = self._trace.why if self._trace.failed else ""
        if one.choice is None or one.placed_at is None:
            return [queue]
        return [queue, self._route(), *self._replica()]

    def _id(self, number: int) -> str:
        return self._trace.child_id(number_of(number, self._number))

    def _span(self, number: int, name: str, parent_id: str, start: float, end: float | None) -> Span:
        trace = self._trace
        return Span(name, self._id(number), parent_id, INTERNAL, _wall(trace, start), _end(trace, end))

    def _route(self) -> Span:
        one, taken = self._attempt, self._attempt.choice
        assert one.placed_at is not None
        assert taken is not None
        sent = one.placed_at if one.sent_at is None else one.sent_at
        span = self._span(ROUTE, "route", self._trace.span_id, one.placed_at, sent)
        span.attributes = {
            "firedeck.try": self._number + 1,
            "firedeck.replica.id": taken.id,
            "firedeck.route.reason": taken.why,
            "firedeck.route.ready": taken.ready,
            "firedeck.route.with_room": taken.with_room,
            "firedeck.route.in_flight": taken.in_flight,
            "firedeck.route.slots": taken.slots,
            "firedeck.route.rule": taken.rule,
            "firedeck.route.cached_characters": taken.cached,
            "firedeck.route.ejected": taken.ejected,
        }
        return span

    def _replica(self) -> list[Span]:
        one, trace = self._attempt, self._trace
        assert one.choice is not None
        start = one.sent_at or one.placed_at or one.asked_at
        span = self._span(REPLICA, f"replica {one.choice.id}", trace.span_id, start, one.ended_at)
        span.kind = CLIENT
        span.attributes = {"firedeck.replica.id": one.choice.id, "firedeck.try": self._number + 1}
        if one.status:
            span.attributes["http.response.status_code"] = one.status
        span.attributes |= {} if one.outcome == LOST else self._work()
        if one.outcome == LOST:
            span.error, span.events = "the replica was lost", self._lost()
        elif one.status >= 500:
            span.error = f"HTTP {one.status}"
        return [span, *self._steps(span.span_id, start)]

    def _work(self) -> dict[str, Value]:
        """What the replica did for this request."""
        trace, numbers = self._trace, self._attempt.numbers
        told = {name: value for name, value in _tokens(trace).items() if value is not None}
        if trace.adapter:
            told["firedeck.adapter"] = trace.adapter
        told |= {f"firedeck.speculation.{name}": value for name, value in speculation(numbers).items()}
        return told

    def _lost(self) -> list[Event]:
        """Lost, how it died where that is known, and the try after it."""
        one, trace = self._attempt, self._trace
        assert one.choice is not None
        assert one.ended_at is not None
        at = _wall(trace, one.ended_at)
        events = [Event("firedeck.replica.lost", at, {"firedeck.replica.reached": one.reached})]
        kind = self._death(one.choice.id)
        if kind is not None:
            events.append(Event(f"firedeck.replica.{kind}", at, {"firedeck.replica.id": one.choice.id}))
        if len(trace.attempts) > self._number + 1:
            events.append(Event("firedeck.retry", _wall(trace, trace.attempts[self._number + 1].asked_at)))
        return events

    def _steps(self, parent_id: str, start: float) -> list[Span]:
        one = self._attempt
        if one.answered_at is None or one.status != 200:
            return []
        laid = steps(one) or []
        if self._trace.stream:
            laid = laid or [("prefill", start, one.answered_at)]  # with whatever queue there was
            laid.append(("decode", one.answered_at, one.ended_at))
        numbered = enumerate(laid, STEPS)
        return [self._span(number, name, parent_id, begun, over) for number, (name, begun, over) in numbered]
