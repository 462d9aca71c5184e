"""What a deployment did: totals only grow, unknown is not zero, Prometheus says the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.clock import FakeClock
from engine.telemetry import metrics
from engine.telemetry.meter import RATE_WINDOW_S, STATS_WINDOW_S, Meter, Usage


def fresh(name: str = "accounts/local/deployments/meter") -> tuple[Meter, FakeClock]:
    clock = FakeClock()
    return Meter(name, clock), clock


def stats(meter: Meter, *, serving: bool = True):
    return meter.stats(queue=0, running=0, serving=serving)


def test_before_any_request_speeds_are_unknown_where_nothing_serves_and_zero_where_something_does():
    meter, _ = fresh()
    cold, warm = stats(meter, serving=False), stats(meter)
    assert (cold.requests_per_second, cold.tokens_per_second, cold.prompt_tokens_per_second) == (None, None, None)
    assert (warm.requests_per_second, warm.tokens_per_second, warm.prompt_tokens_per_second) == (0, 0, 0)
    assert (warm.error_rate, warm.ttft_p50_ms, warm.ttft_p95_ms, warm.last_request_at) == (None, None, None, None)


def test_rates_are_over_their_windows_and_fall_back_when_these_are_over():
    meter, clock = fresh()
    clock.advance(100)
    meter.began(synthetic=False)
    meter.produced(30, 60)
    now = stats(meter)
    assert now.requests_per_second == 1 / STATS_WINDOW_S
    assert (now.prompt_tokens_per_second, now.tokens_per_second) == (30 / RATE_WINDOW_S, 60 / RATE_WINDOW_S)
    clock.advance(STATS_WINDOW_S)
    later = stats(meter)
    assert (later.requests_per_second, later.tokens_per_second, later.requests_total) == (0, 0, 1)


def test_the_error_rate_is_failures_of_all_that_ended_and_leaving_clients_are_no_failure():
    meter, _ = fresh()
    for code in (200, 200, 404, 429, 499, 500, 503, 502):
        meter.ended(code=code, failed=code >= 500, seconds=1, usage=Usage())
    now = stats(meter)
    assert (now.error_rate, now.errors_total) == (3 / 8, 3)


def test_ttft_percentiles_are_nearest_rank_in_milliseconds():
    meter, _ = fresh()
    for tenths in range(1, 11):
        meter.first_token(tenths / 10)
    now = stats(meter)
    assert (now.ttft_p50_ms, now.ttft_p95_ms) == (500, 1000)


def test_synthetic_requests_are_counted_apart_and_among_all():
    meter, clock = fresh()
    meter.began(synthetic=False)
    assert meter.last_synthetic_at is None
    clock.advance(5)
    meter.began(synthetic=True)
    now = stats(meter)
    assert (now.requests_total, now.synthetic_requests_total, meter.last_synthetic_at) == (2, 1, 5)
    assert now.last_request_at == clock.wall()


USAGES = st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


@given(st.lists(st.tuples(st.sampled_from([200, 499, 500]), USAGES, st.integers(0, 40)), max_size=20))
def test_totals_only_grow_and_are_the_sums_of_what_ended(ends):
    meter, clock = fresh()
    before = 0
    for code, usage, gap in ends:
        meter.ended(code=code, failed=code >= 500, seconds=0.1, usage=usage)
        clock.advance(gap)
        assert stats(meter).generated_tokens_total >= before
        before = stats(meter).generated_tokens_total
    now = stats(meter)
    assert now.prompt_tokens_total == sum(u.prompt for _, u, _ in ends)
    assert now.cached_tokens_total == sum(u.cached for _, u, _ in ends)
    assert now.generated_tokens_total == sum(u.generated for _, u, _ in ends)
    assert now.error_rate is None or 0 <= now.error_rate <= 1


def test_prometheus_counts_the_same_by_deployment_and_code():
    name = "accounts/local/deployments/prometheus-test"
    meter, _ = fresh(name)
    meter.ended(code=200, failed=False, seconds=1, usage=Usage(7, 2, 3))
    meter.ended(code=503, failed=True, seconds=1, usage=Usage())
    text = metrics.exposition().decode()
    assert f'firedeck_requests_total{{code="200",deployment="{name}"}} 1.0' in text
    assert f'firedeck_requests_total{{code="503",deployment="{name}"}} 1.0' in text
    assert f'firedeck_prompt_tokens_total{{deployment="{name}"}} 7.0' in text
    assert f'firedeck_cached_prompt_tokens_total{{deployment="{name}"}} 2.0' in text


def test_a_deployment_that_is_gone_keeps_its_totals_and_loses_its_gauges():
    name = "accounts/local/deployments/gone-test"
    meter, _ = fresh(name)
    meter.ended(code=200, failed=False, seconds=1, usage=Usage(1))
    metrics.HELD.labels(name).set(3)
    metrics.REPLICAS.labels(name, "READY").set(1)
    metrics.forget(name)
    metrics.forget(name)
    left = [line for line in metrics.exposition().decode().splitlines() if name in line]
    assert not any(line.startswith(("firedeck_requests_held", "firedeck_replicas")) for line in left)
    assert any(line.startswith("firedeck_requests_total") for line in left)
