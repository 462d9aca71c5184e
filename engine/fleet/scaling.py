"""From a declaration and its replicas to what the autoscaler is told. No decisions, no side effects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from client.types import Deployment
from engine.control.autoscale import Policy
from engine.control.reconcile import SERVING
from engine.control.stockout import Shortage
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


def first_count(deployment: Deployment) -> int:
    """A new deployment starts with one replica even when min is 0: READY means that a request was answered."""
    return min(max(deployment.min_replica_count or 0, 1), deployment.max_replica_count or 0)


def shortage_of(replicas: Iterable[Replica]) -> Shortage | None:
    """What has been refused a place and asks again; None when all have one."""
    there = list(replicas)
    short = [r for r in there if r.short_since is not None and r.placed is None]
    if not short:
        return None
    generations = {r.generation for r in short}
    placed = [r.generation for r in there if r.placed is not None and r.stage in SERVING]
    return Shortage(
        unplaced=len(short),
        placed=len(placed),
        former=sum(generation not in generations for generation in placed),
        lacking=short[-1].reason,
        since=min(r.short_since or 0.0 for r in short),
        retry_at=min(r.retry_at for r in short),
    )


def _seconds(window: timedelta | None) -> float:
    return window.total_seconds() if window else 0.0
