"""The memory of requests: bounded, the oldest out, the telling ones kept longer, to each account its own."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from engine.clock import SystemClock
from engine.control.route import Choice
from engine.telemetry import tracing
from engine.telemetry.spans import spans_of
from engine.telemetry.trace import Attempt, Trace
from engine.telemetry.traces import BYTES_MAX, KEPT_MAX, RECENT_MAX, SLOW_S, Traces, size_of, slow

CLOCK = SystemClock()


def request(traces: Traces, account: str = "local", status: int = 200, ttft_s: float = 0.1, tries: int = 1) -> Trace:
    trace = tracing.begin(CLOCK, "POST", "/v1/completions", "")
    traces.begin(trace)
    trace.account, trace.user, trace.status, trace.ttft_s = account, "u", status, ttft_s
    trace.deployment, trace.model = "accounts/local/deployments/chat", "accounts/fireworks/models/m"
    trace.routed_in, trace.looked_up_in = (CLOCK.monotonic() + 0.1, 0.2), (CLOCK.monotonic() + 0.3, 0.4)
    for _ in range(tries):
        now = CLOCK.monotonic
        one = Attempt(now(), 0, 1, now(), Choice(f"chat-{trace.request_id}", 0, 1, 1, 1, 1), now(), now(), status=200)
        one.numbers = {
            name: float(n) + 0.5 for n, name in enumerate(("queue_s", "prefill_s", "tokenizer_s", "decode_s"))
        }
        trace.attempts.append(one)
    traces.end(trace)
    return trace


def has(traces: Traces, trace: Trace) -> bool:
    return traces.get(trace.account, trace.request_id) is trace


def test_the_oldest_goes_and_failed_slow_and_retried_ones_stay_longer() -> None:
    traces = Traces(CLOCK, recent=10, kept=5)
    plain = request(traces)
    telling = [
        request(traces, status=502), request(traces, ttft_s=SLOW_S + 1), request(traces, tries=2),
    ]  # fmt: skip
    refused = request(traces, status=429)
    later = [request(traces) for _ in range(10)]
    assert [has(traces, one) for one in (plain, refused)] == [False, False]
    assert all(has(traces, one) for one in (*telling, *later))
    for _ in range(20):
        request(traces, status=500)
    assert not any(has(traces, one) for one in telling), "they are bounded too"
    assert len(traces) == 15


def test_slow_is_late_at_its_first_token_or_at_its_end_where_it_has_none() -> None:
    trace = request(Traces(CLOCK), ttft_s=SLOW_S)
    assert not slow(trace)
    trace.ttft_s, trace.ended_at = None, trace.began_at + SLOW_S + 0.1
    assert slow(trace)


def test_bytes_are_bounded_as_well_as_numbers() -> None:
    traces = Traces(CLOCK, recent=10_000, kept=10_000, bytes_max=200_000)
    for n in range(500):
        request(traces, tries=1 + n % 4)
    assert traces.bytes <= 200_000
    assert 20 < len(traces) < 200
    assert traces.bytes == sum([size_of(one) for one in traces.newest("local")])


def test_what_is_stated_is_what_it_takes() -> None:
    traces = Traces(CLOCK)
    request(traces)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(600):
        request(traces, tries=1 + n % 3)
    gc.collect()
    really = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    stated = traces.bytes
    most = (RECENT_MAX + KEPT_MAX) * size_of(request(traces)) / 2**20
    print(f"{really / 600:.0f} bytes a request, {stated / 600:.0f} stated; as many as may be take {most:.1f} MiB")
    assert really <= stated <= 3 * really
    assert most * 2**20 <= BYTES_MAX


def test_no_account_and_no_stranger_pushes_out_what_others_have() -> None:
    traces = Traces(CLOCK, recent=20, kept=5)
    mine = [request(traces, "ada") for _ in range(5)]
    for _ in range(200):
        request(traces, "loud")
        request(traces, "", status=401)
    assert all(has(traces, one) for one in mine)


def test_an_account_sees_its_own_alone_and_the_engines_own_also_those_of_nobody() -> None:
    traces = Traces(CLOCK)
    mine, theirs, nobodys = request(traces, "ada"), request(traces, "bob"), request(traces, "", status=401)
    assert traces.get("ada", mine.request_id) is mine
    assert traces.get("ada", theirs.request_id) is None
    assert traces.get("ada", nobodys.request_id) is None
    assert traces.get("local", nobodys.request_id) is nobodys
    assert traces.get("ada", "canary") is None
    assert list(traces.newest("ada")) == [mine]


def test_the_newest_come_first_and_pages_go_on_where_they_were() -> None:
    traces = Traces(CLOCK)
    made = [request(traces) for _ in range(6)][::-1]
    assert list(traces.newest("local")) == made
    request(traces)
    assert list(traces.newest("local", made[2].seq)) == made[3:]


def test_those_under_way_are_there_until_they_are_over_and_then_told_of() -> None:
    traces, told = Traces(CLOCK), list[Trace]()
    traces.over = told.append
    trace = tracing.begin(CLOCK, "POST", "/v1/completions", "")
    traces.begin(trace)
    assert list(traces.newest("local")) == [trace]
    assert told == []
    assert spans_of(trace)[0].end is None
    traces.end(trace)
    assert told == [trace]
    traces.begin(trace)
    traces.forget(trace)
    assert list(traces.newest("local")) == []


@pytest.mark.parametrize("tries", [1, 4])
def test_a_store_that_is_full_costs_no_more_than_one_that_is_not(tries: int) -> None:
    traces = Traces(CLOCK, recent=50, kept=10)
    for account in range(5):
        for _ in range(100):
            request(traces, f"a{account}", tries=tries)
    assert len(traces) <= 60
