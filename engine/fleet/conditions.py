"""What keeps a deployment from being as declared, as conditions on the wire. No decisions, no side effects.

A condition stands beside the state and lasts as long as its cause: a READY deployment may have several.
"""

from __future__ import annotations

from collections.abc import Callable

from client.conditions import CAPACITY_LIMITED, ROLLOUT_STOPPED, ROLLOUT_STOPPED_REASON, STOCKOUT_REASON
from client.fleet_types import Condition
from client.types import Deployment
from engine.clock import Clock, wall_at
from engine.control.stockout import Shortage
from engine.fleet.keeper import Keeper
from engine.fleet.record import MESSAGE_CHARS
from engine.fleet.scaling import shortage_of

QuotasOf = Callable[[Deployment], list[Condition]]  # those that are used up and hold a deployment up


def conditions(keeper: Keeper, clock: Clock, quotas_of: QuotasOf) -> list[Condition]:
    """All that hold, what must be put right by somebody before what goes by itself; none of a deleted deployment."""
    if keeper.deleted:
        return []
    stopped = rollout_stopped(keeper, clock)
    limited = capacity_limited(keeper.deployment, shortage_of(keeper.replicas), clock)
    found = (stopped, *quotas_of(keeper.deployment), limited)
    return [condition for condition in found if condition is not None]


def rollout_stopped(keeper: Keeper, clock: Clock) -> Condition | None:
    """The condition to show while the declared settings are given up."""
    since = keeper.rollout.stopped_since
    if since is None:
        return None
    return Condition(
        type=ROLLOUT_STOPPED,
        reason=ROLLOUT_STOPPED_REASON,
        message=keeper.rollout.stopped_because(keeper.replicas)[:MESSAGE_CHARS],
        since=wall_at(clock, since),
    )


def capacity_limited(deployment: Deployment, short: Shortage | None, clock: Clock) -> Condition | None:
    """The condition to show while there is no room for all that is wanted."""
    if short is None:
        return None
    return Condition(
        type=CAPACITY_LIMITED,
        reason=STOCKOUT_REASON,
        message=short.reason,
        wanted=deployment.desired_replica_count or 0,
        placed=short.placed,
        accelerator_type=deployment.accelerator_type,
        placement=deployment.placement,
        since=wall_at(clock, short.since),
        retry_at=wall_at(clock, short.retry_at),
    )
