"""The last day of a deployment, for charts: every second for 15 minutes, every ten seconds for 24 hours.

Bounded: 900 + 8640 rows of a time and a number for each series, in typed arrays that grow as they fill: 0.60 MB a
deployment once a day is over, as measured. Values have seven digits, more than any chart shows. Of ten seconds the
coarse ring has the worst: the longest latency, the longest queue, the fewest ready replicas; of rates and shares, which
are averages already, the average. None stays None unless some sample of the ten was known. Where nobody looked (a
restart, a laptop that slept) there are rows of None: nothing is drawn across what is not known.

    Recorder.add() every second -> coarse records -> telemetry.archive, on disk
    Recorder.restore()  <- what an earlier engine left there
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence

from client.fleet_types import HISTORY_SERIES, History
from engine.telemetry.window import mean

FINE_STEP_S = 1.0
FINE_POINTS = 900
COARSE_EVERY = 10  # fine points
COARSE_STEP_S = FINE_STEP_S * COARSE_EVERY
COARSE_POINTS = 8640
FINE_GAP_S, COARSE_GAP_S = 5.0, 20.0  # between two rows: less is a loop that was late, more is time that nobody saw

Values = Sequence[float | None]  # in the order of HISTORY_SERIES
SERIES = tuple(HISTORY_SERIES)
RECORD = struct.Struct(f"<d{len(SERIES)}f")  # a coarse row: epoch seconds, values; NaN is None
_RATES = frozenset({"tokens_per_second", "requests_per_second", "draft_acceptance"})
_LOWEST = frozenset({"ready"})
_WIDTH = len(SERIES)  # values of a row, NaN where it is not known


class Ring:
    """The last `most` rows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0  # the row to write: the end of what there is, or the oldest
        self._times = array("d")
        self._values = array("f")

    def add(self, at: float, values: Values) -> None:
        row, known = self._next, [math.nan if value is None else value for value in values]
        if row == len(self._times):
            self._times.append(at)
            self._values.extend(known)
        else:
            self._times[row] = at
            self._values[row * _WIDTH : (row + 1) * _WIDTH] = array("f", known)
        self._next = (row + 1) % self._most

    @property
    def full(self) -> bool:
        return len(self._times) == self._most

    def times(self) -> array[float]:
        """Of all rows, oldest first."""
        oldest = self._oldest
        return self._times[oldest:] + self._times[:oldest]

    def rows(self) -> Iterator[tuple[float, list[float | None]]]:
        """All of them, oldest first."""
        values = self._ordered()
        for number, at in enumerate(self.times()):
            yield at, _known(values[number * _WIDTH : (number + 1) * _WIDTH])

    def read(self, seconds: float) -> tuple[list[float], list[list[float | None]]]:
        """The times of the rows of the last `seconds`, oldest first, and the values of each series at them: all that
        were added after the last older one, wherever the clock was set meanwhile."""
        times, values = self.times().tolist(), self._ordered()
        since = times[-1] - seconds if times else 0.0
        first = next((i + 1 for i in range(len(times) - 1, -1, -1) if times[i] < since), 0)
        columns = (values[first * _WIDTH + number :: _WIDTH] for number in range(_WIDTH))
        return times[first:], [_known(column) for column in columns]

    def newest(self, count: int) -> Iterator[tuple[float, ...]]:
        """The time and the values of the last `count` rows, oldest first; fewer where there are no more. NaN is
        None."""
        times, values = self.times(), self._ordered()
        for number in range(max(0, len(times) - count), len(times)):
            yield (times[number], *values[number * _WIDTH : (number + 1) * _WIDTH])

    @property
    def _oldest(self) -> int:
        return self._next if self.full else 0

    def _ordered(self) -> array[float]:
        oldest = self._oldest * _WIDTH
        return self._values[oldest:] + self._values[:oldest]


class Recorder:
    """Two rings of samples, fine and coarse. `coarse_made` counts the coarse ones that were ever added here."""

    def __init__(self) -> None:
        self._fine = Ring(FINE_POINTS)
        self._coarse = Ring(COARSE_POINTS)
        self._pending: list[Values] = []
        self._pending_at = 0.0
        self.coarse_made = 0

    def add(self, at: float, values: dict[str, float | None]) -> None:
        if self._pending and not 0 <= at - self._pending_at <= FINE_GAP_S:
            self._close()  # nothing is told of a time that nobody saw
        row = [values.get(name) for name in SERIES]
        self._fine.add(at, row)
        self._pending.append(row)
        self._pending_at = at
        if len(self._pending) == COARSE_EVERY:
            self._close()

    def read(self, deployment: str, seconds: float) -> History:
        """The last `seconds`, at the finest step that reaches so far back."""
        fine = seconds <= FINE_POINTS * FINE_STEP_S and not self._knows_earlier(seconds)
        if fine:
            times, columns = _filled(*self._fine.read(seconds), FINE_STEP_S, FINE_GAP_S)
        else:
            times, columns = _filled(*self._read_coarse(seconds), COARSE_STEP_S, COARSE_GAP_S)
        return History(
            deployment=deployment,
            step_s=FINE_STEP_S if fine else COARSE_STEP_S,
            times=times,
            series=dict(zip(SERIES, columns, strict=True)),
        )

    def mean(self, series: str, seconds: float) -> float | None:
        """Of what is known of the last `seconds`, at most what the fine ring holds."""
        column = self._fine.read(seconds)[1][SERIES.index(series)]
        return mean([value for value in column if value is not None])

    def newest(self, count: int) -> list[bytes]:
        """The last `count` coarse rows as records, oldest first; fewer where there are no more."""
        return [RECORD.pack(*row) for row in self._coarse.newest(count)]

    def restore(self, records: Iterable[bytes]) -> None:
        """Put before what is there already what was recorded earlier, oldest first."""
        later, self._coarse = self._coarse, Ring(COARSE_POINTS)
        for record in records:
            at, *values = RECORD.unpack(record)
            self._coarse.add(at, values)
        for at, row in later.rows():
            self._coarse.add(at, row)

    def _knows_earlier(self, seconds: float) -> bool:
        """Whether the coarse ring reaches further back into the last `seconds`: the fine one begins with the engine."""
        fine = self._fine.times()
        if not fine:
            return bool(self._coarse.times())
        first, since = fine[0], fine[-1] - seconds
        if first <= since or self._fine.full:
            return False
        before = next((at for at in reversed(self._coarse.times()) if at < first), None)
        return before is not None and before >= since

    def _read_coarse(self, seconds: float) -> tuple[list[float], list[list[float | None]]]:
        """With what is not ten samples yet where the last ten are long ago: what an earlier engine saw last is not what
        is now."""
        times, columns = self._coarse.read(seconds)
        if not (times and self._pending and self._pending_at - times[-1] > COARSE_GAP_S):
            return times, columns
        since = self._pending_at - seconds
        kept = [i for i, at in enumerate(times) if at >= since]
        now = _worst(self._pending)
        return (
            [*(times[i] for i in kept), self._pending_at],
            [[*(column[i] for i in kept), value] for column, value in zip(columns, now, strict=True)],
        )

    def _close(self) -> None:
        self._coarse.add(self._pending_at, _worst(self._pending))
        self.coarse_made += 1
        self._pending = []


def at_of(record: bytes) -> float:
    """Epoch seconds of a coarse record."""
    at: float = RECORD.unpack(record)[0]
    return at


def _filled(
    times: list[float], columns: list[list[float | None]], step_s: float, gap_s: float
) -> tuple[list[float], list[list[float | None]]]:
    """With a row of None for each step in which nobody looked."""
    gaps = [i for i in range(1, len(times)) if times[i] - times[i - 1] > gap_s]
    for i in reversed(gaps):
        missing = round((times[i] - times[i - 1]) / step_s) - 1
        times[i:i] = [times[i - 1] + step_s * (number + 1) for number in range(missing)]
        for column in columns:
            column[i:i] = [None] * missing
    return times, columns


def _known(values: Iterable[float]) -> list[float | None]:
    return [None if value != value else value for value in values]  # NaN alone is not itself


def _worst(rows: Sequence[Values]) -> Values:
    columns = zip(SERIES, zip(*rows, strict=True), strict=True)
    return [_one(name, [value for value in column if value is not None]) for name, column in columns]


def _one(series: str, known: Sequence[float]) -> float | None:
    if series in _RATES:
        return mean(known)
    return (min if series in _LOWEST else max)(known, default=None)
