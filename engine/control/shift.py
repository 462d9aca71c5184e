"""How far a blue-green shift may go now, or whether it must go back. Pure: the caller brings figures and the clock.

    data   Plan       how much is moved at a time, how long it lasts, and what its target must keep to
           Progress   the step that it is at (1 to `Plan.steps`), and since when
           Figures    what the target did since that step began
           Decision   what to do, the share that the target has from then on, and why
    verbs  decide
    near   `engine.fleet.router_shift` counts, asks twice a second, and does it

Each of `over_s / steps` seconds long, a step moves `step` more of the traffic; the first is taken at once, the last
moves all of it and is watched like the others. Figures against the thresholds end it at any time, once there are
enough to judge by; with fewer than that a step goes on past its time: nobody is moved to what nobody has measured.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """`start`: the target's share before; `step`: by how much it grows at a time. Shares are of 1, times in seconds.
    `max_ttft_p95_s`: None where first tokens are not judged."""

    start: float
    step: float
    over_s: float
    max_error_rate: float
    max_ttft_p95_s: float | None
    min_requests: int

    @property
    def steps(self) -> int:
        return max(1, math.ceil((1 - self.start) / self.step - 1e-9))

    @property
    def interval_s(self) -> float:
        return self.over_s / self.steps

    def share(self, number: int) -> float:
        """Of the target, once so many steps have been taken."""
        return 1.0 if number >= self.steps else self.start + number * self.step


@dataclass(frozen=True, slots=True)
class Progress:
    """`since`: seconds, on the axis of `decide`'s `now`."""

    number: int
    since: float


@dataclass(frozen=True, slots=True)
class Figures:
    """`requests` that came to an end which says something of the target, `failed` of them; `timed`: first tokens."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    ttft_p95_s: float | None = None

    @property
    def error_rate(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def text(self) -> str:
        first = "" if self.ttft_p95_s is None else f", TTFT p95 {self.ttft_p95_s * 1000:.0f} ms"
        return f"{_counted(self.requests)}, {percent(self.error_rate)} failed{first}"


class Verdict(enum.Enum):
    WAIT = enum.auto()
    STEP = enum.auto()
    COMPLETE = enum.auto()
    ROLL_BACK = enum.auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """`progress` and `share` are those from now on: of a roll-back, the share before the shift."""

    verdict: Verdict
    progress: Progress
    share: float
    why: str


def decide(plan: Plan, progress: Progress, figures: Figures, now: float) -> Decision:
    """At most one step at a time."""
    share = plan.share(progress.number)
    against = _against(plan, figures)
    if against:
        return Decision(Verdict.ROLL_BACK, progress, plan.start, against)
    left_s = progress.since + plan.interval_s - now
    if left_s > 0:
        return Decision(Verdict.WAIT, progress, share, f"watched for {left_s:.0f} s more: {figures.text}")
    if figures.requests < plan.min_requests:
        need = f"waits for {plan.min_requests} requests to judge by"
        return Decision(Verdict.WAIT, progress, share, f"{need}: {figures.text}")
    if progress.number >= plan.steps:
        return Decision(Verdict.COMPLETE, progress, 1.0, figures.text)
    due = progress.since + plan.interval_s
    next_one = Progress(progress.number + 1, due if now - due < plan.interval_s else now)
    return Decision(Verdict.STEP, next_one, plan.share(next_one.number), figures.text)


def _against(plan: Plan, figures: Figures) -> str:
    """What the target does not keep to, "" when it does or nobody can say yet."""
    enough = max(1, plan.min_requests)
    if figures.requests >= enough and figures.error_rate > plan.max_error_rate:
        rate, most = percent(figures.error_rate), percent(plan.max_error_rate)
        return f"{rate} of {_counted(figures.requests)} failed, more than {most}"
    limit, p95 = plan.max_ttft_p95_s, figures.ttft_p95_s
    if limit is not None and p95 is not None and figures.timed >= enough and p95 > limit:
        return f"TTFT p95 of {_counted(figures.timed)} is {p95 * 1000:.0f} ms, more than {limit * 1000:.0f} ms"
    return ""


def percent(share: float) -> str:
    """`30 %`, `0.5 %`: as many digits as say something."""
    return f"{round(share * 100, 2):g} %"


def _counted(requests: int) -> str:
    return f"{requests} request{'s' * (requests != 1)}"
