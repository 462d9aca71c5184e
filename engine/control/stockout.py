"""No room for a replica that is wanted: when to ask again. What is wanted stays wanted. Pure."""

from __future__ import annotations

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0


def retry_s(attempts: int, dice: float) -> float:
    """How long to wait after `attempts` refusals in a row (1 or more): 5, 10, 20, 40, 60 seconds, less up to a quarter.

    `dice` is a random number from 0 to 1: replicas that were refused together must not ask together for ever.
    """
    most: float = min(RETRY_FIRST_S * 2 ** min(attempts - 1, 10), RETRY_MAX_S)
    return max(RETRY_FIRST_S, most * (1 - dice / 4))
