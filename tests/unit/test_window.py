"""Sums and percentiles over the last seconds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.telemetry.window import Rate, Window, percentile

GAPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30)


def filled(gaps, seconds=10.0) -> tuple[Window, list[tuple[float, float]], float]:
    window, added, now = Window(seconds), [], 0.0
    for gap, value in gaps:
        now += gap
        window.add(now, float(value))
        added.append((now, float(value)))
    return window, added, now


@given(GAPS, st.integers(0, 20), st.integers(1, 10))
def test_just_the_values_of_the_last_seconds_are_there_oldest_first(gaps, later, span):
    window, added, last = filled(gaps)
    now = last + later
    assert window.values(now, float(span)) == [value for at, value in added if at > now - span]


def test_a_value_leaves_exactly_when_its_seconds_are_over():
    window = Window(10)
    window.add(0.0, 5)
    assert window.values(9.999) == [5]
    assert window.values(10.0) == []


def test_a_window_keeps_the_newest_of_too_many():
    window = Window(10, most=3)
    for value in range(9):
        window.add(1.0, value)
    assert window.values(1.0) == [6, 7, 8]


def test_the_percentile_of_nothing_is_unknown_not_zero():
    assert percentile([], 50) is None


@pytest.mark.parametrize(("p", "value"), [(0, 1), (1, 1), (7, 7), (50, 50), (55, 55), (95, 95), (99, 99), (100, 100)])
def test_the_nearest_rank_of_a_hundred_values_is_the_percentile_itself(p, value):
    assert percentile(range(100, 0, -1), p) == value


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(0, 100))
def test_a_percentile_is_the_smallest_value_that_p_percent_do_not_exceed(values, p):
    found = percentile(values, p)
    needed = max(1, math.ceil(p * len(values) / 100))
    assert sum(v <= found for v in values) >= needed
    assert sum(v < found for v in values) < needed


@given(GAPS, st.integers(0, 20), st.integers(1, 10))
def test_a_rate_is_the_sum_of_the_last_seconds_over_those_seconds(gaps, later, span):
    rate, added, now = Rate(10.0), [], 0.0
    for gap, value in gaps:
        now += gap
        rate.add(now, float(value))
        added.append((now, float(value)))
    now += later
    expected = sum(value for at, value in added if at > now - span)
    assert rate.total(now, float(span)) == pytest.approx(expected)
    assert rate.per_second(now, float(span)) == pytest.approx(expected / span)


def test_a_rate_stays_exact_and_small_at_a_hundred_thousand_a_second():
    rate = Rate(30)
    for i in range(200_000):
        rate.add(i / 100_000)
    assert rate.total(2.0) == 200_000
    assert len(rate._sums) <= 30 * Rate.PER_SECOND


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.integers(1, 5), st.integers(0, 30))
def test_a_rate_is_below_its_limit_when_it_said_so_and_not_a_tenth_before(gaps, limit, later):
    rate, now = Rate(10), 0.0
    for gap in gaps:
        now += gap
        rate.add(now)
    now += later
    wait_s = rate.below_in(limit, now)
    assert rate.total(now + wait_s) < limit
    assert wait_s == 0 or rate.total(now + wait_s - 0.1) >= limit


def test_a_limit_of_nothing_is_as_far_as_the_window():
    assert Rate(60).below_in(0, 5.0) == 60
