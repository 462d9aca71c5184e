"""What a deployment has to do, over time: samples of any spacing in, means over seconds out.

A sample speaks for the stretch since the former one, so a mean weighs samples by the time they cover and comes out the
same whether they arrive every 0.1 s or every 7 s. Times are seconds on the caller's monotonic axis.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

Metric = Literal["concurrency", "requests", "prompt_tokens", "generated_tokens"]

_VALUES: Mapping[Metric, Callable[[LoadSample], float]] = {
    "concurrency": attrgetter("concurrency"), "requests": attrgetter("requests"),
    "prompt_tokens": attrgetter("prompt_tokens"), "generated_tokens": attrgetter("generated_tokens"),
}  # fmt: skip
HOLD_S = 15.0  # how long a last sample still stands for the present
_MIN_RATE_S = 1.0  # a rate over less than this is noise: one request in 10 ms is not 100 requests per second
_MAX_SAMPLES = 8192  # the longest mean (a fifth of an hour) at ten samples a second, and some more


@dataclass(frozen=True, slots=True)
class LoadSample:
    """The load of one deployment at `at`; the counts are those since the former sample."""

    at: float
    concurrency: float  # requests running and waiting in replicas, and held at the gateway
    requests: float = 0.0  # started
    prompt_tokens: float = 0.0  # evaluated
    generated_tokens: float = 0.0

    def __post_init__(self) -> None:
        held = (
            0 <= self.concurrency < math.inf
            and 0 <= self.requests < math.inf
            and 0 <= self.prompt_tokens < math.inf
            and 0 <= self.generated_tokens < math.inf
        )
        if not (held and math.isfinite(self.at)):
            raise ValueError(f"a load sample holds finite figures of zero or more: {self}")

    def continues(self, later: LoadSample) -> bool:
        """Whether a later sample says the same: as many requests at once, and nothing counted in either."""
        return self.concurrency == later.concurrency and not (self._counted() or later._counted())

    def _counted(self) -> float:
        return self.requests + self.prompt_tokens + self.generated_tokens


class _Stretch(NamedTuple):
    """(began_at, sample.at], and the sample that speaks for it. The first of a history has no length."""

    began_at: float
    sample: LoadSample


class LoadHistory:
    """The samples of the last `keep_s` seconds (at most 8192 of them), those that say the same as one: a deployment at
    rest has one stretch to look at. One writer, its caller."""

    def __init__(self, keep_s: float) -> None:
        self.keep_s = keep_s
        self._stretches: deque[_Stretch] = deque(maxlen=_MAX_SAMPLES)

    def __len__(self) -> int:
        return len(self._stretches)

    def add(self, sample: LoadSample) -> None:
        """Append; a sample no later than the newest is folded into it, so that no count is lost."""
        began_at = sample.at
        if self._stretches:
            newest = self._stretches[-1]
            if sample.at <= newest.sample.at:
                self._stretches[-1] = _Stretch(newest.began_at, _fold(newest.sample, sample))
                return
            if newest.sample.continues(sample):
                self._stretches[-1] = _Stretch(newest.began_at, sample)
                return
            began_at = newest.sample.at
        self._stretches.append(_Stretch(began_at, sample))
        while self._stretches[0].sample.at < sample.at - self.keep_s:
            self._stretches.popleft()

    def mean(self, metric: Metric, seconds: float, now: float) -> float | None:
        """Time-weighted mean of `metric` (rates per second) over the `seconds` that end at the newest sample.

        Where the history is shorter, over what it covers. None when nothing is known: no sample yet, none in the
        last 15 s, or for a rate less than a second covered. Unknown is not zero.
        """
        if not self._stretches or now - self._stretches[-1].sample.at > HOLD_S:
            return None
        newest = self._stretches[-1].sample
        start = max(newest.at - seconds, self._stretches[0].began_at)
        covered = newest.at - start  # stretches follow each other without a gap
        total, value, weighed = 0.0, _VALUES[metric], metric == "concurrency"
        for began_at, sample in reversed(self._stretches):
            if began_at <= start:  # the last that counts: the part of it that lies behind `start`
                length, whole = sample.at - start, sample.at - began_at
                if length > 0:  # the first of a history has no length
                    total += value(sample) * (length if weighed else length / whole)
                break
            total += value(sample) * (sample.at - began_at) if weighed else value(sample)
        if weighed:
            return total / covered if covered > 0 else newest.concurrency
        return total / covered if covered >= min(seconds, _MIN_RATE_S) - 1e-9 else None


def _fold(newest: LoadSample, late: LoadSample) -> LoadSample:
    return LoadSample(
        at=newest.at,
        concurrency=late.concurrency,
        requests=newest.requests + late.requests,
        prompt_tokens=newest.prompt_tokens + late.prompt_tokens,
        generated_tokens=newest.generated_tokens + late.generated_tokens,
    )
