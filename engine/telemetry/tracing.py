"""What happens to one request of the inference API, noted while it happens.

The request's task carries its trace (`engine.telemetry.trace`) in a context variable, as OpenTelemetry does; `waits`,
`placed`, `sends`, `reported`, `drafted`, `lost` and the rest note one thing each and do nothing where nobody is traced.
Neighbours: `engine.gateway.traced` begins and ends a trace, `engine.fleet.lobby` and `engine.gateway` note what happens
in between, `engine.telemetry.traces` keeps them, `engine.telemetry.exporter` sends them on.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from client.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FiredeckError,
    GuardRefused,
    KeyRefused,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from engine.asgi import CLIENT_GONE
from engine.clock import Clock
from engine.control.route import Choice
from engine.telemetry.quoted import unquoted
from engine.telemetry.trace import (
    ANSWERED,
    GIVEN_UP,
    HIT,
    LOST,
    MISS,
    NO_PLACE,
    REPLICA,
    UNDER_WAY,
    Attempt,
    Judgement,
    Trace,
    number_of,
)

WHY_CHARS = 300
_MOST = 1_000_000_000  # of seconds or tokens: what a replica says beyond it is nonsense

# What is said in these is the engine's own; others may repeat what the client sent.
_OWN_WORDS = (Unauthenticated, ResourceExhausted, Unavailable, DeadlineExceeded, GuardRefused, KeyRefused)
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOTHING = re.compile(r"0+")
_NUMBERS = {
    b"fireworks-tokenizer-queue-duration": "tokenizer_queue_s", b"fireworks-tokenizer-duration": "tokenizer_s",
    b"fireworks-prefill-queue-duration": "queue_s", b"fireworks-prefill-duration": "prefill_s",
    b"fireworks-generation-duration": "decode_s",
}  # fmt: skip
_STEPS = {
    b"tokenizer_queue": "tokenizer_queue_s", b"tokenizer": "tokenizer_s", b"queue": "queue_s", b"prefill": "prefill_s"
}  # fmt: skip


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
carry, stop_carrying = _current.set, _current.reset


def begin(clock: Clock, method: str, route: str, traceparent: str) -> Trace:
    """A new trace, or one more span of the client's where its `traceparent` is valid (W3C Trace Context, level 1)."""
    made = f"{random.getrandbits(192) | 1 << 64 | 1:048x}"  # neither id may be 0
    trace_id, span_id, parent, sampled = made[:32], made[32:], "", True
    if traceparent and (given := parsed(traceparent)) is not None:
        trace_id, parent, sampled = given
    now, wall_s = clock.monotonic(), clock.wall().timestamp()
    return Trace(secrets.token_hex(8), trace_id, span_id, parent, sampled, clock, method, route, now, wall_s)


def parsed(traceparent: str) -> tuple[str, str, bool] | None:
    """Trace id, parent id and whether it is sampled, or None for what is no valid header."""
    found = _PARENT.fullmatch(traceparent.strip(" \t"))
    if found is None or (traceparent.strip(" \t").startswith("00") and found[4]):
        return None
    if _NOTHING.fullmatch(found[1]) or _NOTHING.fullmatch(found[2]):
        return None
    return found[1], found[2], bool(int(found[3], 16) & 1)


def request_id() -> str:
    """That of the request that is traced here; a new one where none is."""
    trace = _current.get()
    return secrets.token_hex(8) if trace is None else trace.request_id


def known(account: str, user: str, key_id: str) -> None:
    """Its key is good."""
    if (trace := _current.get()) is not None:
        trace.account, trace.user, trace.key_id = account, user, key_id


def asks(deployment: str, model: str, adapter: str | None, *, stream: bool, synthetic: bool) -> None:
    """This is what it is for: names of ours, not the client's spelling."""
    if (trace := _current.get()) is not None:
        trace.deployment, trace.model, trace.adapter = deployment, model, adapter or ""
        trace.stream, trace.synthetic = stream, synthetic


def now() -> float:
    """The instant, for what is noted when it is over; 0 where nobody is traced."""
    trace = _current.get()
    return 0.0 if trace is None else trace.clock.monotonic()


def routed(router: str, to: str, since: float) -> None:
    """A router sent it there, and why: names of ours and numbers, none of the request's words."""
    if (trace := _current.get()) is not None:
        trace.router, trace.routed, trace.routed_in = router, to, (since, trace.clock.monotonic())


def admitted() -> None:
    """Nothing stands against it any more."""
    if (trace := _current.get()) is not None:
        trace.admitted_at = trace.clock.monotonic()


def waits(ahead: int, ready: int) -> None:
    """It asks for a place on a replica, behind `ahead` others, while `ready` replicas take requests."""
    if (trace := _current.get()) is not None:
        trace.attempts.append(Attempt(trace.clock.monotonic(), ahead, ready))


def placed(choice: Choice | None, *, at_once: bool = False) -> None:
    """It has a place, which it may have had `at_once`; None: it goes without one."""
    if (trace := _current.get()) is None or not trace.attempts:
        return
    one, now = trace.attempts[-1], trace.clock.monotonic()
    if choice is None:
        one.ended_at, one.outcome = now, NO_PLACE
    else:
        one.placed_at, one.choice, one.at_once = now, choice, at_once


def sends() -> dict[str, str]:
    """It is sent to the replica now: the headers that tell whose span the replica's own are to be below."""
    if (trace := _current.get()) is None or not trace.attempts:
        return {}
    trace.attempts[-1].sent_at = trace.clock.monotonic()
    span_id = trace.child_id(number_of(REPLICA, len(trace.attempts) - 1))
    return {"traceparent": f"00-{trace.trace_id}-{span_id}-{'01' if trace.sampled else '00'}"}


def reported(status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """The replica's status line came, with what it says of the request in its headers."""
    if (trace := _current.get()) is None or not trace.attempts:
        return
    one = trace.attempts[-1]
    one.answered_at, one.status = trace.clock.monotonic(), status
    for name, value in headers:
        wanted = _NUMBERS.get(name)
        if wanted is not None and (number := _number(value)) is not None:
            one.numbers[wanted] = number
        elif name == b"server-timing":
            _take_timing(one.numbers, value)


def _take_timing(numbers: dict[str, float], value: bytes) -> None:
    """https://www.w3.org/TR/server-timing/: `prefill;dur=12.5, ...`, in milliseconds."""
    for part in value.split(b","):
        step, _, duration = part.strip().partition(b";dur=")
        wanted, number = _STEPS.get(step), _number(duration)
        if wanted is not None and number is not None:
            numbers[wanted] = number / 1000


def _number(value: object) -> float | None:
    """None for what is no time or count: a replica that speaks nonsense spoils no trace."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    return number if 0 <= number < _MOST else None


def drafted(accepted: int, rejected: int) -> None:
    """What became of the tokens that the replica drafted for this; nothing is noted where it drafted none."""
    trace = _current.get()
    if min(accepted, rejected) >= 0 and 0 < accepted + rejected < _MOST and trace is not None and trace.attempts:
        trace.attempts[-1].numbers |= {"accepted": accepted, "drafted": accepted + rejected}


def lost(*, reached: bool) -> None:
    """The replica gave no whole answer."""
    if (trace := _current.get()) is not None and trace.attempts:
        one = trace.attempts[-1]
        one.ended_at, one.outcome, one.reached = trace.clock.monotonic(), LOST, reached


def looked_up(age_s: float | None, since: float) -> None:
    """The response cache was asked; the age of the answer that it had, None for none."""
    if (trace := _current.get()) is not None:
        trace.cache, trace.cache_age_s = (MISS, 0.0) if age_s is None else (HIT, age_s)
        trace.looked_up_in = since, trace.clock.monotonic()


@contextmanager
def judges(guard: str, phase: str) -> Iterator[list[str]]:
    """A guard is asked for the time of this; its verdict is what is put into the list. Nothing that is asked of others
    meanwhile is noted as the request's own."""
    trace, said = _current.get(), list[str]()
    token, began_at = _current.set(None), trace.clock.monotonic() if trace else 0.0
    try:
        yield said
    finally:
        _current.reset(token)
        if trace is not None and said:
            trace.judgements.append(Judgement(guard, phase, began_at, trace.clock.monotonic(), said[-1]))


def refused(error: FiredeckError) -> None:
    """The gateway answers with this error."""
    if (trace := _current.get()) is None:
        return
    trace.status, trace.error = error.status, error.inference_code or error.name
    if isinstance(error, _OWN_WORDS) or type(error) is FailedPrecondition:
        trace.why = unquoted(error.message, _names(trace))[:WHY_CHARS]


def _names(trace: Trace) -> set[str]:
    """Names of ours that a trace tells anyway, in full and short."""
    names = {trace.account, trace.deployment, trace.model, trace.adapter, trace.router}
    return {short for name in names for short in (name, name.rpartition("/")[2]) if short}


def came_of(status: int, ttft_s: float | None, tokens: tuple[int, int, int]) -> None:
    """An answer, whole or not, is over; `tokens`: of the prompt, of those cached, generated."""
    if (trace := _current.get()) is not None:
        trace.status, trace.ttft_s = status, ttft_s
        trace.prompt_tokens, trace.cached_tokens, trace.generated_tokens = tokens


def end(trace: Trace) -> None:
    """Whatever came of it: who has no status by now was left by its client."""
    trace.ended_at = trace.clock.monotonic()
    trace.status = trace.status or CLIENT_GONE
    if trace.attempts and trace.attempts[-1].outcome == UNDER_WAY:
        last = trace.attempts[-1]
        last.ended_at = trace.ended_at
        last.outcome = GIVEN_UP if trace.status == CLIENT_GONE or last.answered_at is None else ANSWERED
