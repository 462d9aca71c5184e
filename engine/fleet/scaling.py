"""From a declaration and its replicas to what the autoscaler is told. No decisions, no side effects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from client.fleet_types import Condition
from client.types import Deployment
from engine.clock import Clock
from engine.control.autoscale import Policy
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica


def policy_of(deployment: Deployment) -> Policy:
    """The autoscaling policy of a declaration that `engine.declare` has filled in."""
    policy, own = deployment.autoscaling_policy, deployment.firedeck
    assert policy is not None
    return Policy(
        min_replicas=deployment.min_replica_count or 0,
        max_replicas=deployment.max_replica_count or 0,
        up_window_s=_seconds(policy.scale_up_window),
        down_window_s=_seconds(policy.scale_down_window),
        zero_window_s=_seconds(policy.scale_to_zero_window),
        targets=policy.load_targets or {},
        slots_per_replica=deployment.max_batch_size or 1,
        panic=own is None or own.panic is not False,
    )


@dataclass(frozen=True, slots=True)
class Shortage:
    """Replicas that are wanted and have no room. `since`: on the monotonic axis, of the first of them."""

    unplaced: int = 0
    text: str = ""
    since: float = 0.0


def shortage_of(replicas: Iterable[Replica]) -> Shortage:
    """What has been refused a place and asks again."""
    short = [r for r in replicas if r.stage == Stage.PENDING_SCHEDULING and r.reason]
    return Shortage(len(short), short[-1].reason, min(r.stage_since for r in short)) if short else Shortage()


def capacity_limited(deployment: Deployment, short: Shortage, clock: Clock) -> Condition | None:
    """The condition to show while there is no room for all that is wanted."""
    if not short.unplaced:
        return None
    wanted = deployment.desired_replica_count or 0
    return Condition(
        type="CapacityLimited",
        reason="STOCKOUT",
        message=short.text,
        wanted=wanted,
        placed=max(0, wanted - short.unplaced),
        accelerator=deployment.accelerator_type,
        region=deployment.placement.region if deployment.placement else None,
        since=clock.wall() - timedelta(seconds=clock.monotonic() - short.since),
    )


def _seconds(window: timedelta | None) -> float:
    return window.total_seconds() if window else 0.0
