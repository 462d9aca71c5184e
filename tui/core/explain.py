"""The autoscaler in words: why there are this many replicas, what it measures, what comes next and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from client.conditions import CAPACITY_LIMITED
from tui.core import states, units
from tui.core.row import ready_count
from tui.core.states import Look
from tui.core.why import NO_DECISION, NOT_EXPLAINED, ordered

if TYPE_CHECKING:
    from client.fleet_types import AutoscalerView, Condition, DeploymentStatus, TargetView


@dataclass(frozen=True, slots=True)
class TargetLine:
    """One load target: its name, what was observed, what one replica should carry, the replicas that makes."""

    name: str
    observed: str
    target: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Stage:
    look: Look
    count: int | None


def headline(status: DeploymentStatus) -> str:
    """`2 of 2 replicas ready, 0 to 2 allowed`; unknown counts as `–`."""
    deployment = status.deployment
    desired = deployment.desired_replica_count
    allowed = f"{units.count(deployment.min_replica_count)} to {units.count(deployment.max_replica_count)}"
    return f"{units.count(ready_count(status))} of {units.count(desired)} replicas ready, {allowed} allowed"


def reasons(view: AutoscalerView | None, *, explained: bool = True) -> tuple[str, ...]:
    """`explained`: the source has reasons."""
    if view is None or not view.reasons:
        return (NO_DECISION if explained else NOT_EXPLAINED,)
    return tuple(reason.text for reason in ordered(view.reasons))


def conditions(status: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    """`STOCKOUT for 4m12s: 3 of 5 replicas placed, asks again in 12s (no H100 free)`, or what it says of itself:
    `ROLLOUT_STOPPED for 2m: new replicas do not start, ...`. `now` is the engine's clock."""
    return tuple(_condition(one, now) for one in status.conditions)


def _condition(one: Condition, now: datetime) -> str:
    lasting = one.reason + (f" for {units.since(one.since, now)}" if one.since else "")
    if one.type != CAPACITY_LIMITED:
        return f"{lasting}: {one.message}" if one.message else lasting
    room = f"{lasting}: {one.placed} of {one.wanted} replicas placed, {again(one.retry_at, now)}"
    return room + (f" ({one.message})" if one.message else "")


_SUSPENDED = {
    "MONTHLY_SPEND_LIMIT_EXCEEDED": "its budget of this month is used up: every inference request is answered with "
    "402. Raise it with: firedeck quota update monthly-spend-usd --value N",
}


def suspension(state: str) -> str:
    """Why an account's requests are refused, and what ends it."""
    return _SUSPENDED.get(state, f"{state}: its requests are refused")


def again(retry_at: datetime | None, now: datetime) -> str:
    """When room is asked for next; a try that is due is under way."""
    if retry_at is None:
        return "asks again"
    left = units.countdown(retry_at, now)
    return "asks again now" if left == "now" else f"asks again in {left}"


def quarantine(status: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    """`request 1f2e3d4c5b6a is refused for 9m41s: two replicas died of it`."""
    return tuple(
        f"request {one.digest[:12]} is refused for {units.countdown(one.until, now)}: "
        f"{len(one.replicas) or 'some'} replicas died of it"
        for one in status.quarantined
    )


def next_change(view: AutoscalerView | None, now: datetime) -> str:
    """`in 4m12s: scale down to 1`; empty when nothing is due. `now` is the engine's clock."""
    if view is None or (view.next_change_at is None and not view.next_change):
        return ""
    if view.next_change_at is None:
        return view.next_change
    what = view.next_change or "the count can change"
    left = units.countdown(view.next_change_at, now)
    return f"{'now' if left == 'now' else 'in ' + left}: {what}"


def targets(view: AutoscalerView | None) -> tuple[TargetLine, ...]:
    return tuple(_target(target) for target in (view.targets if view else []))


def _target(target: TargetView) -> TargetLine:
    name = target.name.replace("_", " ")
    return TargetLine(name, units.rate(target.observed), units.rate(target.target), units.count(target.wanted))


def pipeline(status: DeploymentStatus) -> tuple[Stage, ...]:
    """How many replicas stand at each stage, in the order they go through; empty stages too, for a steady picture.

    Where the server sends neither counters nor replicas the counts are None: not known.
    """
    counters = status.deployment.replica_stats
    unknown = None if not status.replicas else 0
    counted: dict[str, int | None] = {
        "PENDING_SCHEDULING": counters.pending_scheduling_replica_count if counters else unknown,
        "DOWNLOADING_MODEL": counters.downloading_model_replica_count if counters else unknown,
        "INITIALIZING": counters.initializing_replica_count if counters else unknown,
        "READY": counters.ready_replica_count if counters else unknown,
    }
    for replica in status.replicas:
        if counters is None or replica.stage not in counted:
            counted[replica.stage] = (counted.get(replica.stage) or 0) + 1
    return tuple(Stage(states.stage(name), number) for name, number in counted.items())
