"""The load history: time-weighted, bounded, and honest about what it does not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.load import LoadHistory, LoadSample


def history(*samples: LoadSample, keep_s: float = 60.0) -> LoadHistory:
    ring = LoadHistory(keep_s)
    for sample in samples:
        ring.add(sample)
    return ring


def test_an_empty_history_knows_nothing():
    assert history().mean("concurrency", 15, 0) is None


def test_one_sample_tells_the_concurrency_but_no_rate():
    ring = history(LoadSample(0, 3, requests=5))
    assert ring.mean("concurrency", 15, 0) == 3
    assert ring.mean("requests", 15, 0) is None


def test_a_sample_speaks_for_the_time_since_the_former_one():
    ring = history(LoadSample(0, 0), LoadSample(9, 10, requests=18), LoadSample(10, 0, requests=2))
    assert ring.mean("concurrency", 10, 10) == pytest.approx(9)
    assert ring.mean("requests", 10, 10) == pytest.approx(2)
    assert ring.mean("requests", 5, 10) == pytest.approx((4 * 2 + 2) / 5)


def test_prompt_and_generated_tokens_are_rates_too():
    ring = history(LoadSample(0, 0), LoadSample(10, 0, prompt_tokens=500, generated_tokens=70))
    assert ring.mean("prompt_tokens", 10, 10) == pytest.approx(50)
    assert ring.mean("generated_tokens", 10, 10) == pytest.approx(7)


def test_a_request_right_after_the_first_sample_is_not_a_hundred_per_second():
    ring = history(LoadSample(0, 0), LoadSample(0.01, 1, requests=1))
    assert ring.mean("requests", 15, 0.01) is None
    ring.add(LoadSample(1, 1, requests=0))
    assert ring.mean("requests", 15, 1) == pytest.approx(1)


def test_a_tiny_stretch_weighs_little_however_dense_its_events():
    ring = history(LoadSample(0, 0), LoadSample(10, 0), LoadSample(10.000001, 1, requests=1))
    assert ring.mean("requests", 5, 10.5) == pytest.approx(0.2, rel=1e-3)


def test_the_last_sample_stands_for_15_s_and_not_longer():
    ring = history(LoadSample(0, 3), LoadSample(1, 3))
    assert ring.mean("concurrency", 5, 16) == 3
    assert ring.mean("concurrency", 5, 16.1) is None


def test_a_late_sample_is_folded_into_the_newest_so_that_no_count_is_lost():
    ring = history(LoadSample(0, 0), LoadSample(10, 4, requests=10), LoadSample(9, 6, requests=10))
    assert len(ring) == 2
    assert ring.mean("requests", 10, 10) == pytest.approx(2)
    assert ring.mean("concurrency", 10, 10) == 6


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1])
def test_figures_that_would_poison_a_mean_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        LoadSample(0, bad)
    with pytest.raises(ValueError, match="finite"):
        LoadSample(0, 0, generated_tokens=bad)


def test_the_history_is_bounded_in_time_and_in_number():
    ring = history(*(LoadSample(float(i), 1, requests=1) for i in range(1000)), keep_s=60)
    assert len(ring) <= 62
    assert ring.mean("concurrency", 60, 999) == 1
    assert len(history(*(LoadSample(i / 1000, i % 2) for i in range(10_000)), keep_s=3600)) == 8192


def test_a_deployment_at_rest_is_one_sample_however_long_it_rests():
    ring = history(LoadSample(0, 2, requests=3), LoadSample(1, 2, requests=1))
    for second in range(2, 5000):
        ring.add(LoadSample(second, 2))
    assert len(ring) == 3
    assert (ring.mean("concurrency", 60, 4999), ring.mean("requests", 60, 4999)) == (2, 0)
    ring.add(LoadSample(5000, 8, requests=6))
    assert ring.mean("concurrency", 10, 5000) == pytest.approx(2.6)
    assert ring.mean("requests", 10, 5000) == pytest.approx(0.6)


@given(
    gaps=st.lists(st.floats(0.05, 9), min_size=1, max_size=40),
    seconds=st.floats(1, 30),
    level=st.floats(0, 500),
    rate=st.floats(0, 1e5),
)
def test_a_constant_load_reads_the_same_at_any_spacing(gaps, seconds, level, rate):
    ring, now = history(LoadSample(0, level)), 0.0
    for gap in gaps:
        now += gap
        ring.add(LoadSample(now, level, generated_tokens=rate * gap))
    assert ring.mean("concurrency", seconds, now) == pytest.approx(level)
    measured = ring.mean("generated_tokens", seconds, now)
    assert measured is None if now < 0.99 else measured in (None, pytest.approx(rate))


@given(st.lists(st.tuples(st.floats(0.05, 9), st.integers(0, 50)), min_size=1, max_size=40))
def test_a_mean_over_everything_loses_no_request(steps):
    ring, now = history(LoadSample(0, 0), keep_s=1e6), 0.0
    for gap, count in steps:
        now += gap
        ring.add(LoadSample(now, 0, requests=count))
    measured = ring.mean("requests", now, now)
    assert measured is None or measured * now == pytest.approx(sum(count for _, count in steps))
