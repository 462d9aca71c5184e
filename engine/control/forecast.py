"""What the load will be a little later: forecasters that are judged by their own past. Off unless asked for.

The demand (in replicas' worth) is noted per step of ten seconds. Each forecaster says what its mean over the next
`horizon_s` will be, and what it said is compared with what came. The one with the least mean absolute error over the
last hour speaks, its forecast moved by the median of its own errors. Nothing is said before `WARM_UP_STEPS` such
comparisons: no forecaster is trusted that has not been tested on this very deployment.

Holt's damped trend: Gardner and McKenzie, "Forecasting trends in time series", Management Science 31 (1985).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean, median

STEP_S = 10.0
HORIZON_S = 60.0  # about what it takes to see a rise, wait out the scale-up window and start a replica
SEASON_S = 24 * 3600.0  # what happened a day ago tends to happen again
ERRORS_KEPT = 360  # an hour of steps
WARM_UP_STEPS = 30  # five minutes of comparisons


@dataclass(slots=True)
class Holt:
    """Level and damped trend. `alpha`, `beta`: how fast they follow; `phi`: what is left of a trend a step later."""

    alpha: float
    beta: float
    phi: float = 0.95
    level: float | None = None
    trend: float = 0.0

    def take(self, value: float) -> None:
        if self.level is None:
            self.level = value
            return
        before = self.level
        self.level = self.alpha * value + (1 - self.alpha) * (before + self.phi * self.trend)
        self.trend = self.beta * (self.level - before) + (1 - self.beta) * self.phi * self.trend

    def mean_of_next(self, steps: int) -> float:
        """The mean over the next `steps`: each step adds what is left of the trend."""
        remains = weighted = 0.0
        for step in range(1, steps + 1):
            remains += self.phi**step
            weighted += remains
        return (self.level or 0.0) + self.trend * weighted / steps


@dataclass(slots=True)
class _Judged:
    """A forecaster's open forecasts, oldest first, and its past errors: what came less what it had said."""

    said: deque[float | None]
    errors: deque[float] = field(default_factory=lambda: deque(maxlen=ERRORS_KEPT))

    def loss(self) -> float:
        return fmean(abs(error) for error in self.errors)


class Forecast:
    """One deployment's. `put` the demand at any spacing and read `demand`. One writer, its caller."""

    def __init__(self, horizon_s: float = HORIZON_S, season_s: float = SEASON_S) -> None:
        self.demand: float | None = None  # the mean demand to come, in replicas' worth; None while too little is known
        self._steps = max(1, round(horizon_s / STEP_S))
        self._season = round(season_s / STEP_S)
        self._values: deque[float] = deque(maxlen=self._season)
        self._holts = (Holt(0.1, 0.05), Holt(0.3, 0.1), Holt(0.6, 0.2), Holt(0.2, 0.0))
        self._judged = [_Judged(deque(maxlen=self._steps)) for _ in (*self._holts, "season")]
        self._step_began: float | None = None
        self._put_at = self._sum = 0.0

    def put(self, demand: float, now: float) -> None:
        """The mean demand since the former call."""
        if self._step_began is None:
            self._step_began = self._put_at = now
            return
        self._sum += demand * (now - self._put_at)
        self._put_at = now
        elapsed = now - self._step_began
        if elapsed >= STEP_S - 1e-6:
            self._end_step(self._sum / elapsed)
            self._step_began, self._sum = now, 0.0

    def _end_step(self, value: float) -> None:
        self._values.append(value)
        came = fmean(islice(reversed(self._values), self._steps))
        for judged, says in zip(self._judged, self._say(value), strict=True):
            if len(judged.said) == self._steps and judged.said[0] is not None:
                judged.errors.append(came - judged.said[0])
            judged.said.append(says)
        self.demand = self._best()

    def _say(self, value: float) -> list[float | None]:
        for holt in self._holts:
            holt.take(value)
        a_season_ago = islice(self._values, self._steps)  # what followed then: the oldest, next to be forgotten
        season = fmean(a_season_ago) if len(self._values) == self._season else None
        return [*(holt.mean_of_next(self._steps) for holt in self._holts), season]

    def _best(self) -> float | None:
        known = [j for j in self._judged if len(j.errors) >= WARM_UP_STEPS and j.said[-1] is not None]
        if not known:
            return None
        best = min(known, key=_Judged.loss)
        return max(0.0, (best.said[-1] or 0.0) + median(best.errors))
