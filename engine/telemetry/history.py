"""The last day of a deployment, for charts: every second for 15 minutes, every ten seconds for 24 hours.

In memory and bounded: 900 + 8640 points of eight numbers a deployment. Averages fill the coarse ring, so that a spike
of one second still shows a tenth of itself; None stays None unless some sample of the ten was known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from client.fleet_types import HISTORY_SERIES, History

FINE_STEP_S = 1.0
FINE_POINTS = 900
COARSE_EVERY = 10  # fine points
COARSE_POINTS = 8640

Values = tuple[float | None, ...]  # in the order of HISTORY_SERIES
SERIES = tuple(HISTORY_SERIES)


@dataclass(frozen=True, slots=True)
class Point:
    """One sample: epoch seconds and a value for each series."""

    at: float
    values: Values


class Recorder:
    """Two rings of points, fine and coarse."""

    def __init__(self) -> None:
        self._fine: deque[Point] = deque(maxlen=FINE_POINTS)
        self._coarse: deque[Point] = deque(maxlen=COARSE_POINTS)
        self._pending: list[Point] = []

    def add(self, at: float, values: dict[str, float | None]) -> None:
        point = Point(at, tuple(values.get(name) for name in SERIES))
        self._fine.append(point)
        self._pending.append(point)
        if len(self._pending) == COARSE_EVERY:
            self._coarse.append(_mean(self._pending))
            self._pending = []

    def read(self, deployment: str, seconds: float) -> History:
        """The last `seconds`, at the finest step that reaches so far back."""
        fine = seconds <= FINE_POINTS * FINE_STEP_S
        points = list(self._fine if fine else self._coarse)
        if points:
            points = [p for p in points if p.at >= points[-1].at - seconds]
        return History(
            deployment=deployment,
            step_s=FINE_STEP_S if fine else FINE_STEP_S * COARSE_EVERY,
            times=[p.at for p in points],
            series={name: [p.values[i] for p in points] for i, name in enumerate(SERIES)},
        )


def _mean(points: Sequence[Point]) -> Point:
    columns = zip(*(p.values for p in points), strict=True)
    return Point(points[-1].at, tuple(_mean_of([v for v in column if v is not None]) for column in columns))


def _mean_of(known: list[float]) -> float | None:
    return sum(known) / len(known) if known else None
