"""No room for a replica that is wanted: what is told of it, when to ask again. What is wanted stays so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from engine.control.backoff import doubling

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Shortage:
    """Of one deployment: `unplaced` replicas have no room, `placed` stand, `former` of them with former settings.
    `lacking`: what there was too little of. On the monotonic axis: `since` when, and when there is the next try."""

    unplaced: int
    placed: int
    former: int
    lacking: str
    since: float
    retry_at: float

    @property
    def reason(self) -> str:
        """What there was too little of, and where it is a roll-out that waits for it how far that is."""
        if not self.former:
            return self.lacking
        new = f"{self.placed - self.former} of {self.placed} replicas that are placed have the new settings"
        return f"the roll-out waits for room, {new}: {self.lacking}"

    def text(self, wanted: int) -> str:
        """A sentence for the status of a deployment that wants so many."""
        return f"STOCKOUT: {self.placed} of {wanted} replicas placed; {self.reason}"


def retry_s(attempts: int, dice: float) -> float:
    """How long to wait after `attempts` refusals in a row (1 or more): 5, 10, 20, 40, 60 seconds, less up to a quarter.

    `dice` is a random number from 0 to 1: replicas that were refused together must not ask together for ever.
    """
    most = doubling(RETRY_FIRST_S, attempts, RETRY_MAX_S)
    return max(RETRY_FIRST_S, most * (1 - dice / 4))
