"""No room for a replica that is wanted: what is told of it, when to ask again. What is wanted stays so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from engine.control.backoff import doubling

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Shortage:
    """Of one deployment: `unplaced` replicas have no room, `placed` of the same settings stand. `reason`: what there
    was too little of. On the monotonic axis: `since` when, and when there is the next try."""

    unplaced: int
    placed: int
    reason: str
    since: float
    retry_at: float

    def text(self, wanted: int) -> str:
        """A sentence for the status of a deployment that wants so many."""
        return f"STOCKOUT: {self.placed} of {wanted} replicas placed; {self.reason}"


def retry_s(attempts: int, dice: float) -> float:
    """How long to wait after `attempts` refusals in a row (1 or more): 5, 10, 20, 40, 60 seconds, less up to a quarter.

    `dice` is a random number from 0 to 1: replicas that were refused together must not ask together for ever.
    """
    most = doubling(RETRY_FIRST_S, attempts, RETRY_MAX_S)
    return max(RETRY_FIRST_S, most * (1 - dice / 4))
