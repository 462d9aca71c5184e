"""What the rehearsal's fleet has on record: its requests, its routers, what it used. Always labelled simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from client.config import Context
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.router_types import (
    ABORTED,
    SHIFTING,
    Router,
    RouterEvent,
    RouterShare,
    RouterShift,
    RouterShiftSpec,
    RouterTarget,
    ShiftFigures,
    WeightedRoutes,
)
from client.trace_types import RequestPage, RequestSummary, RequestTrace, TraceSpan
from client.usage_tokens_types import TokenRow, TokenSums, TokenUsage
from client.usage_types import ACCELERATOR_TYPE, DEPLOYMENT, TIMES, Usage, UsageRow
from tui.sources.rehearsal_models import ADAPTERS
from tui.sources.simulation import SimDeployment

Moment = Callable[[int], datetime]
KEPT_SECONDS = 3600
PRICE_PER_HOUR = 0.8
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


def canary(account: str, moment: Moment, state: str) -> Router:
    """A router in the middle of a shift from `chat` to `summarise`; `state` is the shift's."""
    chat, other = (f"accounts/{account}/deployments/{name}" for name in ("chat", "summarise"))
    share = 0.3 if state == SHIFTING else 0.0
    shift = RouterShift(
        to=other, over=timedelta(minutes=10), step_percent=10.0, max_error_rate=0.05, min_requests=20, state=state,
        start_share=0.0, share=share, step_number=3, steps=10, start_time=moment(0), step_time=moment(120),
        figures=ShiftFigures(requests=41, failed=1, ttft_p95_ms=164.0) if state == SHIFTING else None,
        reason="waits until the step is over" if state == SHIFTING else "aborted by a user",
        events=[RouterEvent(time=moment(60 * n), reason="RouterShifted", share=n / 10,
                            message=f"step {n} of 10: 0 of {40 * n} requests failed") for n in (1, 2)],
    )  # fmt: skip
    shares = [
        RouterShare(deployment=chat, wanted=1 - share, measured=0.712, requests=89),
        RouterShare(deployment=other, wanted=share, measured=0.288, requests=36),
    ]
    targets = [RouterTarget(deployment=chat, weight=90.0), RouterTarget(deployment=other, weight=10.0)]
    return Router(
        name=f"accounts/{account}/routers/canary", weighted=WeightedRoutes(targets=targets), shift=shift,
        shares=shares, measured_since=moment(0), create_time=moment(0), simulated=True,
    )  # fmt: skip


class RehearsalRecords:
    """What `RehearsalSource` answers of its records."""

    context: Context
    fleet: dict[str, SimDeployment]
    _second: int
    _shift = SHIFTING

    def _begin(self, call: str) -> None:
        raise NotImplementedError

    def _moment(self, second: int) -> datetime:
        raise NotImplementedError

    async def requests(self, limit: int) -> RequestPage:
        self._begin("requests")
        return RequestPage(requests=self._requests(limit), simulated=True)

    def _requests(self, limit: int) -> list[RequestSummary]:
        return requests(self.fleet.values(), self._second, self._moment, limit)

    async def explain(self, request_id: str) -> RequestTrace:
        self._begin("explain")
        one = next((one for one in self._requests(KEPT_SECONDS) if one.request_id == request_id), None)
        if one is None:
            raise NotFound(f"request {request_id} is not known any more")
        return trace(one)

    async def routers(self) -> list[Router]:
        self._begin("routers")
        return [canary(self.context.account, self._moment, self._shift)]

    async def router(self, name: str) -> Router:
        self._begin("router")
        found = canary(self.context.account, self._moment, self._shift)
        if name not in (found.name, found.id):
            raise NotFound(f"router {name} does not exist")
        return found

    async def shift(self, router: str, spec: RouterShiftSpec, *, validate_only: bool = False) -> Router:
        """To `summarise` alone, the one deployment that is rehearsed as a canary."""
        found = await self.router(router)
        self._begin("validate_shift" if validate_only else "shift")
        if self._shift == SHIFTING:
            raise FailedPrecondition(f"router {found.id!r} is shifting already")
        if spec.to is None or spec.to.rpartition("/")[2] != "summarise":
            raise InvalidArgument(f"deployment {spec.to!r} is no canary here", field="to")
        if not validate_only:
            self._shift = SHIFTING
        return canary(self.context.account, self._moment, SHIFTING)

    async def abort_shift(self, router: str) -> None:
        found = await self.router(router)
        self._begin("abort_shift")
        if self._shift != SHIFTING:
            raise FailedPrecondition(f"nothing is shifted on {found.id}")
        self._shift = ABORTED

    async def usage(self, start: datetime, end: datetime, group_by: str) -> Usage:
        """One replica of each deployment, all the time since the rehearsal began, on a node of 0.80 USD an hour."""
        self._begin("usage")
        if group_by in TIMES:
            return self._usage_times(start, end, group_by)
        seconds = self._lived_s(start, end)
        parts = [_time(seconds, **{_GROUPS[group_by]: name}) for name in self._groups(group_by) if seconds]
        total = _time(seconds * len(parts))
        return Usage(start_time=start, end_time=end, group_by=group_by, rows=parts, total=total)

    def _usage_times(self, start: datetime, end: datetime, by: str) -> Usage:
        """By the hours or days in which anything stood."""
        replicas = len(self._groups(DEPLOYMENT))
        spans = ((at, self._lived_s(at, until)) for at, until in _slots(start, end, by))
        found = [_time(seconds * replicas, time=at) for at, seconds in spans if seconds]
        total = _time(sum(row.replica_seconds for row in found))
        return Usage(start_time=start, end_time=end, group_by=by, rows=found, total=total)

    def _lived_s(self, start: datetime, end: datetime) -> float:
        lived = min(end, self._moment(self._second)) - max(start, self._moment(0))
        return max(0.0, lived.total_seconds())

    def _groups(self, group_by: str) -> list[str]:
        serving = [one.name for one in self.fleet.values() if one.deployment.state == "READY"]
        return serving if group_by == DEPLOYMENT else ["NVIDIA_L4_24GB"] if serving else []

    async def token_usage(self, start: datetime, end: datetime, group_by: str) -> TokenUsage:
        """Two teams' requests, one a second; without a price."""
        self._begin("token_usage")
        if group_by in TIMES:
            return self._token_times(start, end, group_by)
        count = int(self._lived_s(start, end))
        sums = {"requests": count, "prompt_tokens": 40 * count, "generated_tokens": 38 * count}
        groups = self._token_groups(group_by)
        found = [TokenRow.model_validate({**sums, "unpriced_requests": count, **group}) for group in groups if count]
        total = TokenSums(requests=count * len(found), unpriced_requests=count * len(found))
        return TokenUsage(start_time=start, end_time=end, group_by=[group_by], rows=found, total=total)

    def _token_times(self, start: datetime, end: datetime, by: str) -> TokenUsage:
        """By the hours or days in which there were any."""
        found = []
        for at, until in _slots(start, end, by):
            if count := int(self._lived_s(at, until)):
                sums = {"requests": count, "prompt_tokens": 40 * count, "generated_tokens": 38 * count}
                found.append(TokenRow.model_validate({"time": at, "unpriced_requests": count, **sums}))
        total = TokenSums(requests=sum(row.requests for row in found))
        return TokenUsage(start_time=start, end_time=end, group_by=[by], rows=found, total=total)

    def _token_groups(self, group_by: str) -> list[dict[str, Any]]:
        if group_by == "tags":
            return [{"tags": {"team": team}} for team in ("search", "ads")]
        chat = f"accounts/{self.context.account}/deployments/chat"
        known = {"deployment": chat, "adapter": f"accounts/{self.context.account}/models/{ADAPTERS[0]}"}
        drafts = {"accepted_draft_tokens": 700, "rejected_draft_tokens": 300}
        found = [drafts | {part: known.get(part, "ada") for part in group_by.split(",")}]
        if group_by == "deployment":
            found.append(drafts | {"deployment": chat.replace("chat", "summarise")})
        return found


_GROUPS = {DEPLOYMENT: "deployment", ACCELERATOR_TYPE: "accelerator_type"}


def _slots(start: datetime, end: datetime, by: str) -> Iterator[tuple[datetime, datetime]]:
    """Whole hours or days from `start` on, the last until `end`."""
    length = timedelta(hours=1) if by == "hour" else timedelta(days=1)
    while start < end:
        yield start, min(start + length, end)
        start += length


def _time(seconds: float, **group: Any) -> UsageRow:
    return UsageRow(
        replica_seconds=seconds, accelerator_seconds=seconds, cost_usd=seconds / 3600 * PRICE_PER_HOUR,
        simulated_replica_seconds=seconds, **group,
    )  # fmt: skip
