"""Rates and percentiles over the last seconds, for what the dashboard shows now. No clock inside: callers pass it."""

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

    def _forget(self, now: float) -> None:
        while self._values and self._values[0][0] <= now - self.seconds:
            self._values.popleft()


class Rate:
    """How much was added in the last `seconds` seconds, summed in tenths of a second: exact at any rate, bounded."""

    PER_SECOND = 10

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._sums: deque[list[float]] = deque()  # [tenth, sum]

    def add(self, now: float, amount: float = 1.0) -> None:
        tenth = math.floor(now * self.PER_SECOND)
        if self._sums and self._sums[-1][0] == tenth:
            self._sums[-1][1] += amount
            return
        self._sums.append([tenth, amount])
        while self._sums[0][0] <= tenth - self.seconds * self.PER_SECOND:
            self._sums.popleft()

    def total(self, now: float, seconds: float | None = None) -> float:
        since = math.floor(now * self.PER_SECOND) - (self.seconds if seconds is None else seconds) * self.PER_SECOND
        total = 0.0
        for tenth, amount in reversed(self._sums):  # a short time of a long window is at its end
            if tenth <= since:
                break
            total += amount
        return total

    def below_in(self, limit: float, now: float) -> float:
        """In how many seconds the total is below `limit` if nothing is added: at most all of the window."""
        left, wait_s = self.total(now), 0.0
        since = math.floor(now * self.PER_SECOND) - self.seconds * self.PER_SECOND
        for tenth, amount in self._sums:
            if left < limit:
                break
            if tenth > since:
                left -= amount
                wait_s = tenth / self.PER_SECOND + self.seconds - now
        return wait_s if left < limit else self.seconds

    def per_second(self, now: float, seconds: float | None = None) -> float:
        return self.total(now, seconds) / (self.seconds if seconds is None else seconds)


def mean(values: Sequence[float]) -> float | None:
    """Their average, or None of nothing."""
    return sum(values) / len(values) if values else None


def percentile(values: Sequence[float], p: float) -> float | None:
    """Nearest-rank percentile (p from 0 to 100), or None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(p * len(ordered) / 100) - 1)]
