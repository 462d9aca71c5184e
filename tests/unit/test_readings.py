"""Rates over the last minutes: differences of totals, bounded, unknown before there are two, as Prometheus has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import FakeClock
from engine.telemetry import readings
from engine.telemetry.meter import Meter, Usage
from engine.telemetry.readings import READ_EVERY_S, Minutes, Reading, Readings, read
from engine.telemetry.replica_figures import ReplicaFigures
from tests.unit.test_replica_figures import report

INFINITE = float("inf")


def reading(at: float, requests: float = 0.0, **histograms: tuple[tuple[float, float], ...]) -> Reading:
    return Reading(at, {"requests": requests}, {}, histograms)


def of(*some: Reading) -> Readings:
    kept = Readings()
    for one in some:
        kept.add(one)
    return kept


def test_before_the_second_reading_nothing_is_known():
    assert of().over(60) is None
    assert of(reading(0, 5)).over(60) is None


def test_a_rate_is_over_the_time_asked_for_or_over_what_there_is():
    kept = of(*[reading(30.0 * i, 10.0 * i * i) for i in range(6)])
    minute, all_of_it = kept.over(60), kept.over(600)
    assert (minute.seconds, minute.rate("requests")) == (60, (250 - 90) / 60)
    assert (all_of_it.seconds, all_of_it.rate("requests")) == (150, 250 / 150)


def test_a_reading_that_came_a_moment_too_early_counts_as_on_time():
    assert of(reading(0), reading(30.2), reading(59.9)).over(60).seconds == 59.9


def test_readings_are_bounded_and_reach_ten_minutes_back():
    kept = of(*[reading(READ_EVERY_S * i) for i in range(100)])
    assert kept.over(readings.LONGEST_S).seconds == readings.LONGEST_S
    assert len(kept._kept) == 21


def test_totals_that_begin_anew_are_no_negative_rate():
    assert of(reading(0, 100), reading(60, 3)).over(60).rate("requests") == 0


def test_what_nobody_had_counted_before_counts_from_zero():
    minute = of(reading(0), reading(60, 0, x=((1.0, 2.0), (INFINITE, 3.0)))).over(60)
    assert minute.histograms["x"] == ((1.0, 2.0), (INFINITE, 3.0))
    assert minute.rate("nonsense") == 0


def minutes(*buckets: tuple[float, float]) -> Minutes:
    return Minutes(60, {}, {}, {"x": buckets})


@pytest.mark.parametrize(
    ("buckets", "q", "value"),
    [
        (((0.1, 5.0), (0.2, 10.0), (INFINITE, 10.0)), 0.5, 0.1),
        (((0.1, 5.0), (0.2, 10.0), (INFINITE, 10.0)), 0.75, 0.15),
        (((0.1, 10.0), (INFINITE, 10.0)), 0.99, 0.099),  # linear from 0
        (((0.1, 5.0), (INFINITE, 10.0)), 0.99, 0.1),  # above the last bound: the last bound
        (((0.1, 0.0), (INFINITE, 0.0)), 0.99, None),
        ((), 0.99, None),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_histogram_quantile(buckets, q, value):
    found = minutes(*buckets).quantile("x", q)
    assert found == (None if value is None else pytest.approx(value))


@given(st.lists(st.floats(0.001, 9.9), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_nearest_rank(values, q):
    bounds = [0.5, 1, 2, 5, 10]
    buckets = [*((float(b), float(sum(v <= b for v in values))) for b in bounds), (INFINITE, float(len(values)))]
    found = minutes(*buckets).quantile("x", q)
    nearest = sorted(values)[max(0, -int(-q * len(values) // 1) - 1)]
    high = min(b for b in bounds if nearest <= b)
    low = max([b for b in bounds if b < high], default=0)
    assert low <= found <= high * (1 + 1e-9)


def test_a_share_of_nothing_is_unknown():
    some = Minutes(60, {"part": 3.0, "whole": 4.0, "none": 0.0}, {}, {})
    assert (some.share("part", "whole"), some.share("part", "none")) == (0.75, None)


def test_a_reading_has_what_gateway_and_replicas_counted(request):
    meter, figures = Meter(f"accounts/local/deployments/{request.node.name}", FakeClock()), ReplicaFigures()
    empty = read(0, meter, figures)
    meter.began(synthetic=False)
    meter.first_token(0.03)
    meter.ended(code=502, failed=True, seconds=0.7, usage=Usage(5, 2, 3))
    figures.take("a", report(4, 1.5, (1, 0, 2, 1), 3), from_birth=True)
    minute = of(empty, read(60, meter, figures)).over(60)
    totals = {"requests": 1, "requests_failed": 1, "requests_ended": 1, "prompt_tokens": 5, "cached_prompt_tokens": 2}
    assert totals.items() <= minute.totals.items()
    assert (minute.totals["replica_decode_steps"], minute.totals["replica_decode_seconds"]) == (4, 1.5)
    assert minute.share(readings.ACCEPTED, readings.DRAFTED) == 0.5
    assert minute.codes == {"502": 1}
    assert 0.02 < minute.quantile(readings.TTFT, 0.5) <= 0.04
    assert 0.5 < minute.quantile(readings.OVERALL, 0.5) <= 0.8
    assert minute.histograms["replica_ttft_seconds"][-1] == (INFINITE, 4)
