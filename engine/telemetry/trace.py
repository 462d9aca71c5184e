"""The trace of one request of the inference API: what happened to it, and when.

Data: a `Trace` is instants, numbers and names of ours; it has one `Attempt` for each place that was asked for, and one
`Judgement` for each guard that was asked. Text of the client's (prompt, answer, its model string before it was found,
the words of an error about them) has no field here, so that no span can ever hold it.
Neighbours: `engine.telemetry.tracing` notes, `engine.telemetry.spans` makes spans of a trace when somebody looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.clock import Clock
from engine.control.route import Choice

UNDER_WAY, ANSWERED, LOST, NO_PLACE, GIVEN_UP = "under way", "answered", "lost", "no place", "given up"
ADMIT, QUEUE, ROUTE, REPLICA, STEPS = 1, 2, 3, 4, 5  # numbers of the spans of a request that is tried once
SPANS_PER_ATTEMPT = 8
ROUTER, CACHE, GUARDS = 999, 1000, 1001  # past those of any attempt; each guard has one more
HIT, MISS = "hit", "miss"  # of the response cache
_MASK = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15  # odd: multiples of it meet no id twice

Lasted = tuple[float, float]  # from one instant (monotonic seconds) until another


@dataclass(slots=True, eq=False)
class Attempt:
    """One place on a replica: asked for, perhaps given, and what came of it. Instants are monotonic seconds."""

    asked_at: float
    ahead: int  # who waited already
    ready: int  # replicas that took requests then
    placed_at: float | None = None
    choice: Choice | None = None
    at_once: bool = False  # there was a place when it asked
    sent_at: float | None = None
    answered_at: float | None = None  # its status line came
    ended_at: float | None = None
    outcome: str = UNDER_WAY
    status: int = 0
    reached: bool = False  # of one that was lost: the replica had the request
    numbers: dict[str, float] = field(default_factory=dict)  # what the replica said of it


@dataclass(slots=True, eq=False)
class Judgement:
    """One guard's word on a request or its answer: `passed`, `refused` or `unavailable`. Instants as in `Attempt`."""

    guard: str
    phase: str
    began_at: float
    ended_at: float
    verdict: str


@dataclass(slots=True, eq=False)
class Trace:
    """One request. `account` is "" until its key is known; `status` is 0 while it is under way."""

    request_id: str
    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    clock: Clock
    method: str
    route: str
    began_at: float
    began_wall_s: float
    account: str = ""
    user: str = ""
    key_id: str = ""
    deployment: str = ""
    model: str = ""
    adapter: str = ""
    router: str = ""  # that its model string named
    routed: str = ""  # where that sent it, and why
    routed_in: Lasted | None = None
    stream: bool = False
    synthetic: bool = False
    admitted_at: float | None = None
    ended_at: float | None = None
    status: int = 0
    error: str = ""
    why: str = ""
    ttft_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    cache: str = ""  # what the response cache said: HIT or MISS; "" where it was not asked
    looked_up_in: Lasted | None = None
    cache_age_s: float = 0.0  # of the answer that it had
    judgements: list[Judgement] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    seq: int = 0  # the store's, as is its size in bytes
    size: int = 0

    def child_id(self, number: int) -> str:
        """The id of its span with this number, 1 and up: always the same, never 0."""
        return f"{(int(self.span_id, 16) + number * _STRIDE) & _MASK or _STRIDE:016x}"

    @property
    def seconds(self) -> float:
        """How long it took, or takes already."""
        return (self.clock.monotonic() if self.ended_at is None else self.ended_at) - self.began_at

    @property
    def failed(self) -> bool:
        """By a fault of this side, as OpenTelemetry counts those of servers."""
        return self.status >= 500

    @property
    def replica(self) -> str:
        """The last that it was given to."""
        return next((one.choice.id for one in reversed(self.attempts) if one.choice), "")


def number_of(span: int, attempt: int) -> int:
    """The number of one of an attempt's spans, for `child_id`."""
    return span + SPANS_PER_ATTEMPT * attempt
