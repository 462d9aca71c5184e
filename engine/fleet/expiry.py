"""When a deployment goes by itself: after a week that nobody used it, and when a deleted one can be undeleted no more.

Both need time that really went by (`engine.fleet.lived`): nothing goes because a clock was set.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from client.types import UNDELETE_WITHIN
from engine.control import idle
from engine.fleet.keeper import Keeper
from engine.serverless import is_shared


def auto_delete_in_s(keeper: Keeper) -> float | None:
    """Until it is deleted for idleness if nobody asks it before; None where it is not: a serverless one is offered,
    whether anybody asks or not."""
    if keeper.deleted or is_shared(keeper.name) or keeper.running() or keeper.lobby.held:
        return None
    return idle.left_s(keeper.deployment.min_replica_count or 0, keeper.idle_s())


def auto_delete_at(keeper: Keeper, now: datetime) -> datetime | None:
    """The same as an instant, to the second."""
    left_s = auto_delete_in_s(keeper)
    if left_s is None:
        return None
    at = now + timedelta(seconds=left_s + 0.5)
    return at.replace(microsecond=0)


def is_gone(keeper: Keeper, now: datetime) -> bool:
    """Whether a deleted deployment can be undeleted no longer: by its purge time, and by time that really went by."""
    deleted, due = keeper.deployment.delete_time, keeper.deployment.purge_time
    if deleted is None or due is None:
        return False
    hard = due <= deleted
    return hard or (due <= now and keeper.idle_s() >= UNDELETE_WITHIN.total_seconds())
