"""`/firedeck/v1/accounts/{account}/requests`: what happened to single requests, firedeck's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from client import durations
from client.access_types import ADMIN
from client.errors import InvalidArgument, NotFound
from client.names import Name
from client.trace_types import RequestPage, RequestSummary, RequestTrace, SpanEvent, TraceSpan
from engine.api.common import Caller, HouseDep, shown
from engine.api.filtering import compiled
from engine.keys import Principal
from engine.telemetry.explain import explain
from engine.telemetry.spans import CLIENT, INTERNAL, KEY_ATTRIBUTE, SERVER, Span, spans_of
from engine.telemetry.trace import Trace

router = APIRouter(tags=["firedeck"])

_KINDS = {INTERNAL: "INTERNAL", SERVER: "SERVER", CLIENT: "CLIENT"}
_STATUS = re.compile(r"[1-5][0-9x]{2}|open|failed", re.ASCII)
_ROUTE = "/firedeck/v1/accounts/{account}/requests"
DEFAULT_PAGE, PAGE_MAX = 50, 200
STATUS_DESCRIPTION = "200, 4xx, 5xx, failed (400 and up) or open (under way)"


@router.get(_ROUTE, response_model=RequestPage)
async def list_requests(
    account: str,
    house: HouseDep,
    caller: Caller,
    deployment: Annotated[str, Query(description="its id or full name")] = "",
    status: Annotated[str, Query(description=STATUS_DESCRIPTION)] = "",
    slower_than: Annotated[str, Query(alias="slowerThan", description="a duration of the whole request, as 2s")] = "",
    filter_text: Annotated[
        str, Query(alias="filter", description="AIP-160, as: router:canary AND ttftS>0.5 AND generatedTokens>100")
    ] = "",
    page_size: Annotated[int, Query(alias="pageSize", ge=1, le=PAGE_MAX)] = DEFAULT_PAGE,
    page_token: Annotated[str, Query(alias="pageToken", description="nextPageToken of the page before")] = "",
) -> Response:
    """Requests to the inference API, newest first: those under way and the newest that are over, as far as memory
    goes. Where the account is the engine's own, those without a good key are among them."""
    wanted, holds = _Wanted(account, deployment, status, slower_than), compiled(filter_text, RequestSummary)
    found: list[Trace] = []
    for trace in house.traces.newest(account, _before(page_token)):
        if len(found) > page_size:
            break
        if wanted.takes(trace) and (holds is None or holds(summary(trace, caller))):  # of what the caller may see
            found.append(trace)
    more = str(found[page_size - 1].seq) if len(found) > page_size else ""
    page = [summary(trace, caller) for trace in found[:page_size]]
    simulated = house.fleet.rooms.driver.simulated
    return shown(RequestPage(requests=page, next_page_token=more, simulated=simulated))


@router.get(_ROUTE + "/{request_id}", response_model=RequestTrace)
async def get_request(account: str, request_id: str, house: HouseDep, caller: Caller) -> Response:
    """One request by the `x-request-id` of its answer: its spans, and what they say in plain English."""
    trace = house.traces.get(account, request_id)
    if trace is None:
        raise NotFound(
            "no such request, or none any more: the newest are kept in memory, and nothing outlives the engine",
            hint="the answer's x-request-id names it; firedeck requests lists what there is",
        )
    sees_key = _sees_key(trace, caller)
    spans = [_span(trace, span, sees_key=sees_key) for span in spans_of(trace)]
    told = explain(trace, with_key=sees_key)
    simulated = house.fleet.rooms.driver.simulated
    return shown(RequestTrace(request=summary(trace, caller), explanation=told, spans=spans, simulated=simulated))


class _Wanted:
    """What a list asks for; InvalidArgument for what makes no sense."""

    def __init__(self, account: str, deployment: str, status: str, slower_than: str) -> None:
        if status and not _STATUS.fullmatch(status):
            raise InvalidArgument("status is not known", field="status", hint=STATUS_DESCRIPTION)
        self._deployment = str(Name.of(deployment, "deployments", account, "deployment")) if deployment else ""
        self._status = re.compile(status.replace("x", "[0-9]")) if status not in ("", "open", "failed") else None
        self._open, self._failed = status == "open", status == "failed"
        self._least = durations.parse(slower_than, "slowerThan") if slower_than else timedelta(0)

    def takes(self, trace: Trace) -> bool:
        return (
            self._deployment in ("", trace.deployment)
            and (self._status is None or self._status.fullmatch(str(trace.status)) is not None)
            and (not self._open or trace.ended_at is None)
            and (not self._failed or trace.status >= 400)
            and trace.seconds >= self._least.total_seconds()
        )


def _before(token: str) -> int | None:
    if token and (not (token.isascii() and token.isdigit()) or len(token) > 18):
        raise InvalidArgument("pageToken was not made by this server", field="pageToken")
    return int(token) if token else None


def _sees_key(trace: Trace, caller: Principal) -> bool:
    return caller.role == ADMIN or (trace.account == caller.account and trace.user == caller.user)


def summary(trace: Trace, caller: Principal) -> RequestSummary:
    """The wire form of one request, as `caller` may see it."""
    over, counted = trace.ended_at is not None, trace.prompt_tokens > 0
    return RequestSummary(
        request_id=trace.request_id, trace_id=trace.trace_id, start_time=_instant(trace.began_wall_s),
        route=trace.route, deployment=trace.deployment or None, model=trace.model or None,
        adapter=trace.adapter or None, router=trace.router or None, user=trace.user or None,
        key_id=(trace.key_id or None) if _sees_key(trace, caller) else None,
        stream=trace.stream, synthetic=trace.synthetic, status=trace.status if over else None,
        error=trace.error or None, duration_s=round(trace.seconds, 6),
        ttft_s=None if trace.ttft_s is None else round(trace.ttft_s, 6),
        prompt_tokens=trace.prompt_tokens if counted else None,
        cached_tokens=trace.cached_tokens if counted else None,
        generated_tokens=trace.generated_tokens if counted else None,
        tries=len(trace.attempts), replica=trace.replica or None,
    )  # fmt: skip


def _span(trace: Trace, span: Span, *, sees_key: bool) -> TraceSpan:
    attributes = span.attributes if sees_key else {k: v for k, v in span.attributes.items() if k != KEY_ATTRIBUTE}
    return TraceSpan(
        name=span.name, span_id=span.span_id, parent_span_id=span.parent_id, kind=_KINDS[span.kind],
        start_time=_instant(span.start), offset_ms=round((span.start - trace.began_wall_s) * 1000, 3),
        duration_ms=None if span.end is None else round((span.end - span.start) * 1000, 3), attributes=attributes,
        events=[SpanEvent(name=e.name, time=_instant(e.at), attributes=e.attributes) for e in span.events],
        error=span.error or None,
    )  # fmt: skip


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
