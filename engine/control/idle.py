"""When a deployment that nobody uses is deleted: with a minimum of 0, after seven days without a request. Pure.

Source: https://docs.fireworks.ai/guides/ondemand-deployments. The deletion is soft: undelete brings it back.

The days are those of time that certainly went by, whatever is done to the wall clock: an engine's own by the monotonic
clock, and between two engines what `lived_until` can prove. Time for which the machine was off does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

DELETE_AFTER = timedelta(days=7)
MISSET_S = 3600.0  # by so much a wall clock may be wrong across a start of the machine


@dataclass(frozen=True, slots=True)
class Beat:
    """An engine was there when both clocks showed this, `lived_s` after the first one began; for `watched_s` of that
    time one was there. `boot` tells which start of the machine `monotonic_s` counts from."""

    boot: str
    monotonic_s: float
    wall_s: float
    lived_s: float
    watched_s: float = 0.0


def lived_until(last: Beat | None, now: Beat) -> float:
    """`lived_s` at the start of an engine (`now`, whose own is not read): never more than went by since the last beat.

    On the same start of the machine the monotonic clock knows. Else at least as much went by as the machine has been up
    since; but the folder may have been copied to it, so no more than the wall clock says, less what that may be off by.
    """
    if last is None:
        return 0.0
    if last.boot == now.boot:
        return last.lived_s + max(0.0, now.monotonic_s - last.monotonic_s)
    return last.lived_s + max(0.0, min(now.monotonic_s, now.wall_s - last.wall_s - MISSET_S))


def left_s(min_replicas: int, idle_s: float) -> float | None:
    """Seconds until the deletion if nothing happens before it; None for a deployment that keeps a minimum of replicas.

    `idle_s`: since it was made, changed, brought back or asked.
    """
    return None if min_replicas > 0 else max(0.0, DELETE_AFTER.total_seconds() - idle_s)
