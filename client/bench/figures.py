"""Figures of a run, from its samples alone: throughput, percentiles, goodput. Pure.

Percentiles interpolate linearly between the two nearest order statistics (type 7 of Hyndman and Fan, "Sample
quantiles in statistical packages", 1996; the default of numpy and R). Goodput counts requests that meet every
objective, after DistServe (arXiv 2401.09670).

Every figure is of one population, the requests that a run started, and every rate is over one span, from the first
start to the last end. So the tail in which the last answers end lowers the rates; the longer the run, the less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from client.bench.sample import Sample

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Objective:
    """What a good answer is: seconds to the first text, mean seconds per later token. None: anything will do."""

    ttft_s: float | None = None
    token_time_s: float | None = None

    def met_by(self, sample: Sample) -> bool:
        if sample.error is not None:
            return False
        return _within(sample.ttft_s, self.ttft_s) and _within(sample.token_time_s, self.token_time_s)

    def __bool__(self) -> bool:
        return self.ttft_s is not None or self.token_time_s is not None


def _within(value: float | None, limit: float | None) -> bool:
    return limit is None or value is None or value <= limit


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of one quantity, in seconds; all None when nothing was observed."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        mean = sum(ordered) / len(ordered) if ordered else None
        return cls(len(ordered), mean, *(percentile(ordered, p) for p in PERCENTILES))


@dataclass(frozen=True, slots=True)
class Figures:
    """One setting, measured. Rates are per second of `span_s`; goodput is None without an objective.

    `errors` counts failures by kind; `messages` holds the first message of each kind that came with one.
    """

    requests: int
    succeeded: int
    errors: Mapping[str, int]
    messages: Mapping[str, str]
    span_s: float
    requests_per_s: float
    output_tokens_per_s: float
    input_tokens_per_s: float
    prompt_tokens: float | None
    output_tokens: float | None
    cached_share: float | None
    counted_by_server: bool
    ttft: Spread
    inter_token: Spread
    token_time: Spread
    end_to_end: Spread
    goodput_per_s: float | None
    good_share: float | None

    @property
    def all_failed(self) -> bool:
        """Whether there were requests and none was answered."""
        return self.requests > 0 and self.succeeded == 0


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of the ascending values lie, interpolated; None when there are none."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    part = place - below
    # In this form the result never leaves [ordered[below], ordered[above]], whatever is rounded.
    return min(ordered[above], ordered[below] + (ordered[above] - ordered[below]) * part)


def span_of(samples: Sequence[Sample]) -> float:
    """Seconds from the first start to the last end; 0 when there are none."""
    return max((s.end_s for s in samples), default=0.0) - min((s.due_s for s in samples), default=0.0)


def figures(samples: Sequence[Sample], span_s: float, objective: Objective | None = None) -> Figures:
    """The figures of all `samples`; their rates are per second of `span_s`, see `span_of`."""
    good = [s for s in samples if s.error is None]
    met = sum(objective.met_by(s) for s in samples) if objective else None
    prompt = sum(s.prompt_tokens for s in good)
    output = sum(s.output_tokens for s in good)
    seconds = max(span_s, 1e-9)
    return Figures(
        requests=len(samples),
        succeeded=len(good),
        errors=dict(sorted(Counter(s.error for s in samples if s.error is not None).items())),
        messages=_first_messages(samples),
        span_s=span_s,
        requests_per_s=len(good) / seconds,
        output_tokens_per_s=output / seconds,
        input_tokens_per_s=prompt / seconds,
        prompt_tokens=prompt / len(good) if good else None,
        output_tokens=output / len(good) if good else None,
        cached_share=sum(s.cached_tokens for s in good) / prompt if prompt else None,
        counted_by_server=all(s.counted_by_server for s in good),
        ttft=Spread.of(s.ttft_s for s in good if s.ttft_s is not None),
        inter_token=Spread.of(gap for s in good for gap in s.gaps_s),
        token_time=Spread.of(s.token_time_s for s in good if s.token_time_s is not None),
        end_to_end=Spread.of(s.duration_s for s in good),
        goodput_per_s=None if met is None else met / seconds,
        good_share=None if met is None or not samples else met / len(samples),
    )


def _first_messages(samples: Sequence[Sample]) -> dict[str, str]:
    first: dict[str, str] = {}
    for sample in samples:
        if sample.error is not None and sample.message:
            first.setdefault(sample.error, sample.message)
    return dict(sorted(first.items()))
