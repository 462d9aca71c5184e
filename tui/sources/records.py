"""What the rehearsal's fleet has on record: its requests, its routers, what it used. Always labelled simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from client.trace_types import RequestSummary, RequestTrace, TraceSpan
from tui.sources.simulation import SimDeployment

Moment = Callable[[int], datetime]
FAILS_EVERY = 37  # seconds: one request is refused


def requests(fleet: Iterable[SimDeployment], second: int, moment: Moment, limit: int) -> list[RequestSummary]:
    """One a second of each deployment that serves, newest first."""
    found: list[RequestSummary] = []
    serving = [one for one in fleet if one.ready and one.rps]
    while second >= 0 and len(found) < limit and serving:
        found += [_request(one, second, moment) for one in serving]
        second -= 1
    return found[:limit]


def _request(one: SimDeployment, second: int, moment: Moment) -> RequestSummary:
    refused = second % FAILS_EVERY == 0
    first_s = (55 + 3 * (second % 11)) / 1000
    return RequestSummary(
        request_id=f"{one.deployment.id}-{second}", trace_id=f"{second:032x}", start_time=moment(second),
        route="chat/completions", deployment=one.name, model=one.deployment.base_model, user="ada", key_id="key-ada",
        stream=True, synthetic=True, status=503 if refused else 200, duration_s=0.002 if refused else first_s + 0.4,
        error="the queue is full" if refused else None, ttft_s=None if refused else first_s,
        prompt_tokens=None if refused else 40 + second % 7, cached_tokens=None if refused else 32,
        generated_tokens=None if refused else 38, tries=0 if refused else 1,
        replica=None if refused else f"{one.deployment.id}-1",
    )  # fmt: skip


def trace(one: RequestSummary) -> RequestTrace:
    return RequestTrace(request=one, explanation=list(_told(one)), spans=list(_spans(one)), simulated=True)


def _told(one: RequestSummary) -> Iterator[str]:
    where = (one.deployment or "").rpartition("/")[2]
    yield f"It was asked of {where} by {one.user}."
    if one.error:
        yield f"It was answered with {one.status}: {one.error}."
    else:
        yield f"Replica {one.replica} had room at once; {one.cached_tokens} of {one.prompt_tokens} tokens were cached."
        yield f"The first token came after {(one.ttft_s or 0) * 1000:.0f} ms, {one.generated_tokens} in all."


def _spans(one: RequestSummary) -> Iterator[TraceSpan]:
    def span(name: str, n: int, offset_ms: float, lasted_ms: float, error: str | None = None) -> TraceSpan:
        parent = "" if n == 0 else "0"
        return TraceSpan(
            name=name, span_id=str(n), parent_span_id=parent, kind="SERVER", start_time=one.start_time,
            offset_ms=offset_ms, duration_ms=lasted_ms, error=error,
        )  # fmt: skip

    yield span("chat/completions", 0, 0.0, one.duration_s * 1000, one.error)
    if one.ttft_s is not None:
        yield span("prefill", 1, 1.0, one.ttft_s * 1000 - 1)
        yield span("decode", 2, one.ttft_s * 1000, (one.duration_s - one.ttft_s) * 1000)
