"""firedeck's own resource `accounts/{account}/routers/{id}`: one name for requests, several deployments behind it.

A router is either weighted (canary, A/B, blue-green) or a rule of complexity; the documented API knows none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from client.wire import Count, Description, DisplayName, Duration, Flag, Timestamp, Wire

Weight = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
StepPercent = Annotated[float, Field(strict=True, ge=1, le=100, allow_inf_nan=False)]
TARGETS_MAX = 20

STEP_PERCENT, MAX_ERROR_RATE, MIN_REQUESTS = 10.0, 0.05, 20  # of a shift that does not say otherwise
OVER = timedelta(minutes=10)
SHIFTING, COMPLETED, ROLLED_BACK, ABORTED = "SHIFTING", "COMPLETED", "ROLLED_BACK", "ABORTED"


class RouterTarget(Wire):
    deployment: str = Field(description="its id or full name")
    weight: Weight = Field(description="its part of the sum of all weights; 0: it gets nothing")


class WeightedRoutes(Wire):
    targets: list[RouterTarget] | None = Field(None, min_length=1, max_length=TARGETS_MAX)
    sticky: Flag | None = Field(
        None,
        description="on unless false: requests of one session (prompt_cache_key, user, x-multi-turn-session-id, "
        "x-session-affinity) stay with one deployment; without one each request is drawn by itself",
    )


class ComplexityRule(Wire):
    """A request is simple when it keeps to every limit that is given, and needs nothing that is not allowed."""

    small: str | None = Field(None, description="the deployment of simple requests")
    large: str | None = Field(None, description="the deployment of all others")
    max_prompt_chars: Count | None = Field(None, description="of all texts of the prompt; a token counts as 4")
    max_tokens: Count | None = Field(None, description="of the request's max_tokens; one that sets none is not simple")
    max_turns: Count | None = Field(None, description="messages of the user")
    allow_tools: Flag | None = Field(None, description="requests with tools may be simple too; off unless true")
    allow_response_format: Flag | None = Field(None, description="those with a response_format too; off unless true")


class RouterSpec(Wire):
    """What a user may set. Exactly one of `weighted` and `complexity`, which cannot be changed into the other."""

    display_name: DisplayName | None = None
    description: Description | None = None
    weighted: WeightedRoutes | None = None
    complexity: ComplexityRule | None = None


class RouterShiftSpec(Wire):
    """Move a weighted router's traffic to one deployment by steps, or with `abort` back to what it was before."""

    to: str | None = Field(None, description="its id or full name; it need not be a target yet")
    over: Duration | None = Field(None, description="from the first step to the end of the last; 10m unless given")
    step_percent: StepPercent | None = Field(None, description="of all traffic, at a time; 10 unless given")
    max_error_rate: Share | None = Field(None, description="of `to`'s requests in a step; 0.05 unless given")
    max_ttft_p95: Duration | None = Field(None, description="of `to` in a step; not judged unless given")
    min_requests: Count | None = Field(
        None, description="of `to` in a step, before it is judged or left; 20 unless given"
    )
    abort: Flag | None = None


class RouterEvent(Wire):
    """A step of a shift, with the figures that it was taken for."""

    time: Timestamp
    reason: str = Field(
        description="RouterShiftBegan, RouterShifted, RouterShiftCompleted, RouterRolledBack or RouterShiftAborted"
    )
    share: float = Field(description="of the deployment that is shifted to, from then on; 0 to 1")
    message: str


class ShiftFigures(Wire):
    """What the deployment that is shifted to did since the step began, since the engine started at most."""

    requests: int = 0
    failed: int = 0
    ttft_p95_ms: float | None = None


class RouterShift(Wire):
    """The shift that is going on, or the last one."""

    to: str
    over: Duration
    step_percent: float
    max_error_rate: float
    max_ttft_p95: Duration | None = None
    min_requests: int
    state: str = Field(description="SHIFTING, COMPLETED, ROLLED_BACK or ABORTED")
    start_share: float = Field(description="of `to` before it; 0 to 1")
    share: float = Field(description="of `to` now, or in the end; 0 to 1")
    step_number: int
    steps: int
    start_time: Timestamp
    step_time: Timestamp
    end_time: Timestamp | None = None
    reason: str = Field("", description="why it ended so, or what it waits for")
    figures: ShiftFigures | None = None
    events: list[RouterEvent] = []


class RouterShare(Wire):
    """What a target is to have of the requests, and has had."""

    deployment: str
    wanted: float | None = Field(None, description="0 to 1; absent where a rule decides")
    measured: float | None = Field(None, description="0 to 1; absent before the first request")
    requests: int = 0
    gone: bool = Field(False, description="deleted: it is passed over")


class Router(RouterSpec):
    """A router as the server shows it; the fields below are output only."""

    name: str = ""
    shift: RouterShift | None = None
    shares: list[RouterShare] | None = None
    measured_since: Timestamp | None = Field(
        None, description="shares count from here: a change, or the engine's start"
    )
    created_by: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    simulated: bool = Field(False, description="no model answers on this engine: shares and figures are made up")

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def targets(self) -> list[str]:
        """The deployments that it may send requests to, in full."""
        if self.complexity is not None:
            return [self.complexity.small or "", self.complexity.large or ""]
        targets = self.weighted.targets if self.weighted else None
        named = [one.deployment for one in targets or ()]
        shifts = self.shift is not None and self.shift.state == SHIFTING
        return list(dict.fromkeys([*named, *([self.shift.to] if self.shift and shifts else [])]))


ROUTER_OUTPUT_ONLY = frozenset(Router.model_fields) - frozenset(RouterSpec.model_fields)


class RouterPage(Wire):
    routers: list[Router] = []
    next_page_token: str = ""
    total_size: int = 0
