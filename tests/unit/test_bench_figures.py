"""Figures of a run from its samples: percentiles, rates, goodput."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.bench.figures import Objective, Spread, figures, percentile, span_of
from client.bench.sample import Sample

seconds = st.floats(0, 1e4, allow_nan=False)
lists = st.lists(seconds, min_size=1, max_size=50)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A request that succeeded or failed, with ascending arrivals."""
    due = draw(st.floats(0, 100))
    error = draw(st.sampled_from([None, None, None, "timeout", "HTTP 429"]))
    if error:
        return Sample(due, due + draw(st.floats(0, 10)), error=error)
    gaps = draw(st.lists(st.floats(0, 1), min_size=1, max_size=20))
    arrivals = tuple(due + sum(gaps[: i + 1]) for i in range(len(gaps)))
    output = draw(st.integers(len(gaps), 3 * len(gaps)))
    return Sample(due, arrivals[-1], arrivals, prompt_tokens=10, cached_tokens=4, output_tokens=output)


@given(lists, st.floats(0, 100))
def test_a_percentile_is_numpys_default_one(values: list[float], percent: float) -> None:
    found = percentile(sorted(values), percent)
    assert found is not None
    assert math.isclose(found, float(np.percentile(values, percent)), rel_tol=1e-9, abs_tol=1e-9)


@given(lists)
def test_percentiles_ascend_and_stay_among_the_values(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.p50 is not None
    assert spread.p95 is not None
    assert spread.p99 is not None
    assert min(values) <= spread.p50 <= spread.p95 <= spread.p99 <= max(values)


def test_percentiles_of_nothing_are_unknown_not_zero() -> None:
    spread = Spread.of([])
    assert (spread.count, spread.mean, spread.p50, spread.p99) == (0, None, None, None)


@given(st.lists(samples(), max_size=20), st.floats(0.1, 200))
def test_every_request_is_counted_once_as_success_or_by_its_error(run: list[Sample], span_s: float) -> None:
    found = figures(run, span_s)
    assert found.succeeded + sum(found.errors.values()) == found.requests == len(run)


@given(st.lists(samples(), max_size=20), st.floats(0.1, 200))
def test_every_token_of_a_success_counts(run: list[Sample], span_s: float) -> None:
    found = figures(run, span_s)
    tokens = sum(s.output_tokens for s in run if s.error is None)
    assert found.output_tokens_per_s * span_s == pytest.approx(tokens)
    assert found.requests_per_s * span_s == pytest.approx(found.succeeded)


@given(st.lists(samples(), max_size=20), seconds)
def test_goodput_never_exceeds_throughput(run: list[Sample], limit: float) -> None:
    found = figures(run, span_of(run), Objective(ttft_s=limit))
    assert found.goodput_per_s is not None
    assert found.goodput_per_s <= found.requests_per_s


@given(st.lists(samples(), min_size=1, max_size=20))
def test_the_span_is_from_the_first_start_to_the_last_end(run: list[Sample]) -> None:
    assert all(s.duration_s <= span_of(run) for s in run)
    assert span_of(run) == max(s.end_s for s in run) - min(s.due_s for s in run)
    assert span_of([]) == 0.0


def test_each_error_kind_keeps_its_first_message() -> None:
    failed = [("HTTP 429", "busy"), ("HTTP 429", "later"), ("timeout", None), ("HTTP 404", "no such model")]
    found = figures([Sample(0, 1, error=kind, message=message) for kind, message in failed], 1.0)
    assert found.errors == {"HTTP 404": 1, "HTTP 429": 2, "timeout": 1}
    assert found.messages == {"HTTP 404": "no such model", "HTTP 429": "busy"}
    assert found.all_failed
    assert not figures([], 1.0).all_failed


@given(st.lists(samples(), max_size=20), seconds, seconds)
def test_a_looser_objective_never_lowers_goodput(run: list[Sample], one: float, other: float) -> None:
    tight, loose = (figures(run, 10, Objective(ttft_s=limit)).goodput_per_s for limit in sorted((one, other)))
    assert tight is not None
    assert loose is not None
    assert tight <= loose


def test_goodput_needs_both_objectives_met_and_no_error() -> None:
    quick = Sample(0, 1.0, (0.1, 0.2, 0.3), output_tokens=3)
    late = Sample(0, 1.0, (0.9, 1.0), output_tokens=2)
    slow = Sample(0, 5.0, (0.1, 5.0), output_tokens=2)
    failed = Sample(0, 0.1, error="timeout")
    found = figures([quick, late, slow, failed], 10.0, Objective(ttft_s=0.5, token_time_s=1.0))
    assert found.goodput_per_s == pytest.approx(0.1)
    assert found.good_share == 0.25


def test_without_an_objective_goodput_is_unknown() -> None:
    assert figures([Sample(0, 1, (0.5,), output_tokens=1)], 1.0, Objective()).goodput_per_s is None


def test_latency_counts_from_when_the_request_was_due() -> None:
    assert Sample(due_s=1.0, end_s=4.0, arrivals_s=(3.0, 4.0), output_tokens=2).ttft_s == 2.0


def test_several_tokens_in_one_event_share_its_time() -> None:
    sample = Sample(0, 2.0, (1.0, 2.0), output_tokens=11)
    assert sample.gaps_s == (1.0,)
    assert sample.token_time_s == 0.1


def test_the_cached_share_is_of_prompt_tokens() -> None:
    run = [Sample(0, 1, (1.0,), prompt_tokens=100, cached_tokens=c, output_tokens=1) for c in (0, 50)]
    assert figures(run, 1.0).cached_share == 0.25
