"""One router at work: which of its deployments takes a request, and what came of that.

    data   LiveRouter        its record, its table of shares, what each target got, and the figures of a shift's step
           ChosenDeployment  the deployment of one request, and why in words of ours
           ShiftTally        what the deployment that is shifted to did in one step
    verbs  choose (a request to a target), ShiftTally.ended, shown (the record with its shares)
    near   `engine.fleet.routers` has them by name; `engine.gateway.policy` asks; `engine.control` decides

Among the replicas of the deployment that it chooses, `engine.fleet.balancer` chooses one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from client.errors import NotFound
from client.router_types import SHIFTING, Router, RouterShare, ShiftFigures
from engine import router_rules
from engine.control.complexity import Facts, Rule, judge
from engine.control.shift import Figures, percent
from engine.control.split import BUCKETS, Draw, Table, draw, wanted
from engine.telemetry import router_metrics
from engine.telemetry.window import percentile

TTFTS_KEPT = 2_000  # the newest of a step
OVERLOADED = 429


@dataclass(frozen=True, slots=True)
class ChosenDeployment:
    deployment: str
    why: str


class ShiftTally:
    """Of one shift, begun anew with each of its steps. A request that its client left, or that was wrong, says nothing
    of the deployment; one that was turned away for want of room does."""

    def __init__(self) -> None:
        self.requests = self.failed = 0
        self._ttft_s: deque[float] = deque(maxlen=TTFTS_KEPT)

    def begin(self) -> None:
        self.requests = self.failed = 0
        self._ttft_s.clear()

    def ended(self, status: int, ttft_s: float | None) -> None:
        if ttft_s is not None:
            self._ttft_s.append(ttft_s)
        failed = status >= 500 or status == OVERLOADED
        if failed or status < 400:
            self.requests += 1
            self.failed += failed

    def figures(self) -> Figures:
        return Figures(self.requests, self.failed, len(self._ttft_s), percentile(tuple(self._ttft_s), 95))

    def shown(self) -> ShiftFigures:
        p95 = self.figures().ttft_p95_s
        return ShiftFigures(
            requests=self.requests, failed=self.failed, ttft_p95_ms=None if p95 is None else round(p95 * 1000, 3)
        )


class LiveRouter:
    """`lives`: whether a deployment is there and not deleted."""

    def __init__(self, record: Router, lives: Callable[[str], bool], now: datetime) -> None:
        self.lives = lives
        self.tally: ShiftTally | None = None  # while it shifts
        self.step_at = 0.0  # monotonic seconds, of the step that it is at
        self.waits = ""  # what a shift waits for
        self.unwritten = False
        self.table: Table | None = None
        self._rule: Rule | None = None
        self._counts: Counter[str] = Counter()
        self._since = now
        self._targets: frozenset[str] = frozenset()
        self.take(record, now)

    def take(self, record: Router, now: datetime) -> None:
        """Go on with this record; shares are counted anew where requests go otherwise from here."""
        former = self.table, self._rule
        self.record = record
        self.table = None if record.weighted is None else router_rules.table_of(record)
        self._rule = None if record.complexity is None else router_rules.rule_of(record)
        if (self.table, self._rule) != former or frozenset(record.targets) != self._targets:
            self._counts, self._since = Counter(), now
        if not self.shifts:
            self.tally, self.waits = None, ""
        elif self.tally is None:
            self.tally = ShiftTally()
        self._label(frozenset(record.targets))

    def leave(self) -> None:
        """It is deleted."""
        self._label(frozenset())

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def account(self) -> str:
        return self.name.split("/")[1]

    @property
    def shifts(self) -> bool:
        return self.record.shift is not None and self.record.shift.state == SHIFTING

    @property
    def sticky(self) -> bool:
        return self.record.weighted is not None and self.record.weighted.sticky is not False

    def choose(self, session: str | None, request_id: str, facts: Callable[[], Facts]) -> ChosenDeployment:
        """The deployment of one request; NotFound when none is left. `facts` is asked only by a rule of complexity."""
        chosen = self._by_weight(session, request_id) if self.table is not None else self._by_rule(facts())
        self._counts[chosen.deployment] += 1
        router_metrics.count(self.name, chosen.deployment)
        return chosen

    def tally_of(self, deployment: str) -> ShiftTally | None:
        """Where to tell what came of a request, if anybody wants to know."""
        shift = self.record.shift
        return self.tally if shift is not None and shift.to == deployment else None

    def shown(self) -> Router:
        """The record, and what each target is to have and has had."""
        whole = sum(self._counts.values())
        share = wanted(self.table) if self.table is not None else {}
        shares = [
            RouterShare(
                deployment=one, wanted=_rounded(share.get(one)) if self.table is not None else None,
                measured=_rounded(self._counts[one] / whole) if whole else None, requests=self._counts[one],
                gone=not self.lives(one),
            )
            for one in self.record.targets
        ]  # fmt: skip
        shift = self.record.shift
        if shift is not None and self.tally is not None:
            shift = shift.model_copy(update={"figures": self.tally.shown(), "reason": self.waits})
        return self.record.model_copy(update={"shares": shares, "measured_since": self._since, "shift": shift})

    def _by_weight(self, session: str | None, request_id: str) -> ChosenDeployment:
        assert self.table is not None
        kept = self.sticky and session is not None
        key = f"session {session}" if kept else f"request {request_id}"
        drawn = draw(self.table, self.name, key, self.lives)
        if drawn is None:
            raise self._none_left()
        return ChosenDeployment(drawn.target, self._told(drawn, by="the session's" if kept else "the request's own"))

    def _told(self, drawn: Draw, *, by: str) -> str:
        assert self.table is not None
        weights = ", ".join(f"{percent(share)} {_short(one)}" for one, share in wanted(self.table).items())
        told = f"by weight ({weights}): {by} bucket {drawn.bucket} of {BUCKETS} is {_short(drawn.target)}'s"
        if drawn.moved:
            told += ", to which traffic is being shifted"
        return told + (f", drawn again because {_short(drawn.gone)} is gone" if drawn.gone else "")

    def _by_rule(self, facts: Facts) -> ChosenDeployment:
        assert self._rule is not None
        judgement = judge(self._rule, facts)
        first, other = self.record.targets if judgement.simple else self.record.targets[::-1]
        told = f"by complexity: {'simple' if judgement.simple else 'not simple'}, as {judgement.why}"
        if self.lives(first):
            return ChosenDeployment(first, told)
        if not self.lives(other):
            raise self._none_left()
        return ChosenDeployment(other, f"{told}; {_short(first)} is gone, so {_short(other)} takes it")

    def _none_left(self) -> NotFound:
        gone = ", ".join(self.record.targets)
        return NotFound(
            f"router {self.name} has no deployment left that could take a request: of {gone} none is there",
            field="model", hint=f"undelete one, or give it others: firedeck router update {self.record.id}",
        )  # fmt: skip

    def _label(self, targets: frozenset[str]) -> None:
        for one in self._targets - targets:
            router_metrics.forget(self.name, one)
        for one in targets:
            router_metrics.keep(self.name, one)
        self._targets = targets


def _short(deployment: str) -> str:
    return deployment.rpartition("/")[2]


def _rounded(share: float | None) -> float:
    return 0.0 if share is None else round(share, 6)
