"""Sums and percentiles over the last seconds, for what the dashboard shows now. No clock inside: callers pass it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class Window:
    """The values of the last `seconds` seconds, each with the instant at which it was added."""

    def __init__(self, seconds: float, most: int = 10_000) -> None:
        self.seconds = seconds
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, now: float, value: float = 1.0) -> None:
        self._values.append((now, value))

    def values(self, now: float, seconds: float | None = None) -> list[float]:
        """What was added in the last `seconds` (the whole window unless given), oldest first."""
        self._forget(now)
        since = now - (self.seconds if seconds is None else seconds)
        return [value for at, value in self._values if at > since]

    def rate(self, now: float, seconds: float | None = None) -> float:
        """Sum per second over the last `seconds`."""
        span = self.seconds if seconds is None else seconds
        return sum(self.values(now, span)) / span

    def _forget(self, now: float) -> None:
        while self._values and self._values[0][0] <= now - self.seconds:
            self._values.popleft()


def percentile(values: Sequence[float], p: float) -> float | None:
    """Nearest-rank percentile (p from 0 to 100), or None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)]
