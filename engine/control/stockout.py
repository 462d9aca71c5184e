"""When a replica for which there was no room is tried again. Pure: the random part is the caller's."""

from __future__ import annotations

from dataclasses import dataclass

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0
JITTER = 0.25  # of the wait, either way: a thousand waiting replicas must not ask at the same instant


@dataclass(frozen=True, slots=True)
class Shortage:
    """Of one deployment: `wanted` replicas, `placed` of them stand; the next try is at `retry_at` (monotonic)."""

    wanted: int
    placed: int
    reason: str
    since: float
    retry_at: float

    @property
    def text(self) -> str:
        return f"STOCKOUT: {self.placed} of {self.wanted} replicas placed; {self.reason}"


def retry_s(tries: int, chance: float) -> float:
    """Seconds until the next try after `tries` (1 or more) in vain: 5, 10, 20 ... 60, give or take a quarter.

    `chance` is uniform in [0, 1).
    """
    whole = min(RETRY_FIRST_S * 2.0 ** min(tries - 1, 10), RETRY_MAX_S)
    return whole * (1 + JITTER * (2 * chance - 1))
