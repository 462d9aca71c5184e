"""How many replicas a load needs: the search for one replica's capacity, and the division."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.bench.sizing import FAILURES_ALLOWED, FEW_ANSWERS, MOST_PROBES, TOLERANCE, Probe, next_rate, size

TTFT_S = 0.5
rates = st.floats(0.05, 1e3)


def probe(rate: float, *, holds: bool) -> Probe:
    return Probe(rate, 100, 100, TTFT_S / 2 if holds else 2 * TTFT_S)


def search(capacity: float, start: float) -> list[Probe]:
    """What the search asks of a server that holds up to `capacity` exactly."""
    probes: list[Probe] = []
    while (rate := next_rate(probes, TTFT_S, start)) is not None:
        probes.append(probe(rate, holds=rate <= capacity))
    return probes


@given(rates, rates)
def test_the_search_ends(capacity: float, start: float) -> None:
    assert 1 <= len(search(capacity, start)) <= MOST_PROBES


@given(rates, st.floats(0.25, 4.0))
def test_a_start_near_the_truth_finds_the_capacity_within_the_tolerance(capacity: float, offset: float) -> None:
    found = size(1.0, search(capacity, capacity * offset), TTFT_S)
    assert found.capacity is not None
    assert found.capacity <= capacity < found.capacity * TOLERANCE * (1 + 1e-9)


@given(rates, rates, st.integers(1, 8))
def test_the_replicas_carry_the_target_and_one_less_would_not(target: float, good: float, measured: int) -> None:
    found = size(target, [probe(good, holds=True)], TTFT_S, measured)
    assert found.replicas is not None
    assert found.capacity == pytest.approx(good / measured)
    assert found.replicas * found.capacity >= target * (1 - 1e-6)
    assert found.replicas == 1 or (found.replicas - 1) * found.capacity < target * (1 + 1e-6)


@given(rates, rates, rates)
def test_more_load_never_needs_fewer_replicas(one: float, other: float, capacity: float) -> None:
    less, more = (size(t, [probe(capacity, holds=True)], TTFT_S).replicas for t in sorted((one, other)))
    assert less is not None
    assert more is not None
    assert less <= more


def test_an_objective_that_no_rate_meets_has_no_number_of_replicas() -> None:
    probes = search(capacity=0.0, start=4.0)
    found = size(10.0, probes, TTFT_S)
    assert found.replicas is None
    assert "faster replicas" in found.reasons[-1]


def test_a_rate_that_held_above_one_that_failed_is_not_believed() -> None:
    lucky = [probe(1.0, holds=True), probe(2.0, holds=False), probe(3.0, holds=True)]
    found = size(4.0, lucky, TTFT_S)
    assert found.replicas == 4
    assert "not monotonic: 2 req/s failed but 3 held: the lower is used" in found.reasons


def test_a_rate_that_held_above_failures_only_is_told_and_not_used() -> None:
    found = size(4.0, [probe(2.0, holds=False), probe(3.0, holds=True)], TTFT_S)
    assert found.replicas is None
    assert "measure again" in found.reasons[-1]


def test_a_probe_with_few_answers_is_marked_weak() -> None:
    few = Probe(1.0, FEW_ANSWERS, FEW_ANSWERS - 1, 0.1)
    found = size(1.0, [few, probe(2.0, holds=True)], TTFT_S)
    assert f"weak: {FEW_ANSWERS - 1} answered" in found.reasons[0]
    assert "weak" not in found.reasons[1]
    assert any("1 of 2 probes are weak" in reason for reason in found.reasons)
    assert not any("weak" in reason for reason in size(1.0, [probe(2.0, holds=True)], TTFT_S).reasons)


def test_probes_without_an_answer_say_nothing_about_the_objective() -> None:
    assert "nothing is known" in size(1.0, [Probe(0.1, 0, 0, None)], TTFT_S).reasons[-1]


def test_the_next_rate_halves_the_ratio_of_the_bracket() -> None:
    assert next_rate([probe(2.0, holds=True), probe(8.0, holds=False)], TTFT_S, 2.0) == pytest.approx(4.0)


def test_failures_beyond_the_allowance_fail_a_rate() -> None:
    enough = math.ceil(1000 * (1 - FAILURES_ALLOWED))
    assert Probe(1.0, 1000, enough, 0.1).holds(TTFT_S)
    assert not Probe(1.0, 1000, enough - 1, 0.1).holds(TTFT_S)
    assert not Probe(1.0, 0, 0, None).holds(TTFT_S)


def test_the_reasons_tell_every_probe_the_division_and_the_margin() -> None:
    found = size(10.0, [probe(4.0, holds=True), probe(5.0, holds=False)], TTFT_S)
    told = "\n".join(found.reasons)
    assert "4 req/s: holds" in told
    assert "5 req/s: fails" in told
    assert "ceil(10 / 4) = 3" in told
    assert "20% above the target" in told
