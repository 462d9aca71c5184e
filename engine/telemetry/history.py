"""The last day of a deployment, for charts: every second for 15 minutes, every ten seconds for 24 hours.

In memory and bounded: 900 + 8640 rows of a time and eight numbers, in typed arrays that grow as they fill: 0.72 MB a
deployment once a day is over, as measured (lists of Python's own numbers took 3.1 MB at rest and 3.8 MB at work).
Averages fill the coarse ring, so that a spike of one second still shows a tenth of itself; None stays None unless some
sample of the ten was known.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from client.fleet_types import HISTORY_SERIES, History

FINE_STEP_S = 1.0
FINE_POINTS = 900
COARSE_EVERY = 10  # fine points
COARSE_POINTS = 8640

Values = Sequence[float | None]  # in the order of HISTORY_SERIES
SERIES = tuple(HISTORY_SERIES)
_WIDTH = 1 + len(SERIES)  # numbers of a row: epoch seconds, then a value for each series, NaN where it is not known


class Ring:
    """The last `most` rows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0  # the row to write
        self._numbers = array("d")

    def add(self, at: float, values: Values) -> None:
        start = self._next * _WIDTH  # the end of what there is, or the oldest row
        row = array("d", (at, *(math.nan if value is None else value for value in values)))
        self._numbers[start : start + _WIDTH] = row
        self._next = (self._next + 1) % self._most

    def read(self, seconds: float) -> tuple[list[float], list[list[float | None]]]:
        """The times of the rows of the last `seconds`, oldest first, and the values of each series at them."""
        full = len(self._numbers) == self._most * _WIDTH
        oldest = self._next * _WIDTH if full else 0
        ordered = self._numbers[oldest:] + self._numbers[:oldest]
        times = ordered[::_WIDTH]
        rows = [i for i, at in enumerate(times) if at >= times[-1] - seconds]
        columns = (ordered[number::_WIDTH] for number in range(1, _WIDTH))
        return [times[i] for i in rows], [[_known(column[i]) for i in rows] for column in columns]


class Recorder:
    """Two rings of samples, fine and coarse."""

    def __init__(self) -> None:
        self._fine = Ring(FINE_POINTS)
        self._coarse = Ring(COARSE_POINTS)
        self._pending: list[Values] = []

    def add(self, at: float, values: dict[str, float | None]) -> None:
        row = [values.get(name) for name in SERIES]
        self._fine.add(at, row)
        self._pending.append(row)
        if len(self._pending) == COARSE_EVERY:
            self._coarse.add(at, _mean(self._pending))
            self._pending = []

    def read(self, deployment: str, seconds: float) -> History:
        """The last `seconds`, at the finest step that reaches so far back."""
        fine = seconds <= FINE_POINTS * FINE_STEP_S
        times, columns = (self._fine if fine else self._coarse).read(seconds)
        return History(
            deployment=deployment,
            step_s=FINE_STEP_S if fine else FINE_STEP_S * COARSE_EVERY,
            times=times,
            series=dict(zip(SERIES, columns, strict=True)),
        )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean(rows: Sequence[Values]) -> Values:
    return [_mean_of([v for v in column if v is not None]) for column in zip(*rows, strict=True)]


def _mean_of(known: list[float]) -> float | None:
    return sum(known) / len(known) if known else None
