"""How long to wait before a broken connection is tried again."""

from __future__ import annotations

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0


def wait_s(attempt: int) -> float:
    """The pause after the `attempt`-th failure in a row: 1, 2, 4, 8, 15, 15, … seconds."""
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt - 1, 10)))
