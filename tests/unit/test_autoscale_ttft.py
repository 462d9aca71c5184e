"""The TTFT target: this project's own, by name, beside the product's five."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.types import LOAD_TARGETS
from engine.control.autoscale import LoadHistory, LoadSample, Observed, begin, decide
from engine.control.autoscale_state import TARGET_METRICS, TTFT_TARGET
from tests.unit.test_autoscale_traces import policy

SPEC = policy(targets={TTFT_TARGET: 500.0}, max_replicas=50, slots_per_replica=4)
TWO = Observed(ready=2, running=6, idle_since=0.0)


def load(level: float, until: float = 0.0) -> LoadHistory:
    history = LoadHistory(60)
    for i in range(61):
        history.add(LoadSample(until - 60 + i, level))
    return history


def wanted(observed: Observed, level: float, spec=SPEC):
    decision, _ = decide(spec, begin(spec, 2, 0), load(level), observed, 0)
    [reading] = [r for r in decision.targets if r.name == TTFT_TARGET]
    return reading.wanted


def test_the_engine_knows_every_target_that_the_wire_names():
    assert {*TARGET_METRICS, TTFT_TARGET} == set(LOAD_TARGETS)


@pytest.mark.parametrize(
    ("p99_ms", "level", "count"),
    [
        (100, 6, 2),  # far below: still a slot for each
        (100, 3, 1),
        (250, 3, 1),  # in proportion to what is ready ...
        (251, 3, 2),
        (500, 3, 2),
        (501, 3, 3),
        (740, 3, 3),
        (760, 3, 4),
        (50_000, 3, 4),  # ... and at most twice
        (501, 30, 8),  # a slot for each is more
        (None, 3, 2),  # long answers, no new request: unknown is not fast
        (None, 0, 0),
    ],
)
def test_what_a_latency_wants(p99_ms, level, count):
    assert wanted(replace(TWO, ttft_p99_ms=p99_ms), level) == count


def test_a_request_that_is_held_has_waited_too_though_it_has_no_first_token():
    assert wanted(replace(TWO, ttft_p99_ms=100, held=1, oldest_held_s=0.9), 6) == 4
    assert wanted(replace(TWO, held=1, oldest_held_s=0.9), 6) == 4


def test_it_goes_up_after_the_scale_up_window_and_says_why():
    memory, desired = begin(SPEC, 2, 0), []
    for now in range(32):
        observed = replace(TWO, ttft_p99_ms=800.0)
        decision, memory = decide(SPEC, memory, load(6, now), observed, now)
        desired.append(decision.desired)
    assert desired == [2] * 30 + [4, 4]
    decision, _ = decide(SPEC, begin(SPEC, 2, 0), load(6), replace(TWO, ttft_p99_ms=800.0), 0)
    assert decision.text.startswith("p99 TTFT 800 ms over 15s, target 500 ms: 4 wanted; waits until")


def test_with_others_beside_it_the_largest_wins():
    spec = replace(SPEC, targets={TTFT_TARGET: 500.0, "concurrent_requests": 2.0})
    decision, _ = decide(spec, begin(spec, 2, 0), load(6), replace(TWO, ttft_p99_ms=100.0), 0)
    assert {r.name: r.wanted for r in decision.targets} == {"concurrent_requests": 3, TTFT_TARGET: 2}


def test_a_request_held_for_longer_than_the_target_is_reason_to_panic():
    held = Observed(ready=1, running=4, held=3, oldest_held_s=0.6)
    decision, _ = decide(SPEC, begin(SPEC, 1, 0), load(7), held, 0)
    assert decision.desired == 2
    assert "PANIC" in {r.code for r in decision.reasons}
    patient = replace(SPEC, targets={TTFT_TARGET: 900.0})
    assert decide(patient, begin(patient, 1, 0), load(7), held, 0)[0].desired == 1


def test_idle_deployments_still_go_to_zero():
    decision, _ = decide(SPEC, begin(SPEC, 2, 0), load(0, 3600), Observed(ready=2, idle_since=0.0), 3600)
    assert decision.desired == 0


@given(
    st.floats(0, 5000), st.floats(0, 5000), st.floats(0, 60), st.floats(0, 60), st.integers(0, 20),
    st.floats(1, 3000),
)  # fmt: skip
def test_a_longer_wait_or_more_requests_never_want_fewer(ttft, more_ttft, level, more_level, ready, target):
    spec = replace(SPEC, targets={TTFT_TARGET: target})
    light = Observed(ready=ready, running=1, ttft_p99_ms=ttft)
    heavy = replace(light, ttft_p99_ms=ttft + more_ttft)
    assert wanted(light, level, spec) <= wanted(heavy, level + more_level, spec)
    assert wanted(heavy, level, spec) <= max(-(-level // 4), 2 * ready)
