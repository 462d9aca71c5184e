"""A blue-green shift's decisions, on a clock and with figures of the test's own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.shift import Decision, Figures, Plan, Progress, Verdict, decide

PLAN = Plan(start=0.0, step=0.1, over_s=600, max_error_rate=0.05, max_ttft_p95_s=0.5, min_requests=20)
GOOD = Figures(requests=50, failed=1, timed=49, ttft_p95_s=0.1)
PLANS = st.builds(
    Plan, start=st.floats(0, 0.95), step=st.floats(0.01, 1), over_s=st.floats(1, 1e5),
    max_error_rate=st.floats(0, 1), max_ttft_p95_s=st.none() | st.floats(0.001, 60), min_requests=st.integers(0, 100),
)  # fmt: skip


@st.composite
def some_figures(draw) -> Figures:
    requests = draw(st.integers(0, 200))
    timed = draw(st.integers(0, requests))
    return Figures(requests, draw(st.integers(0, requests)), timed, draw(st.floats(0, 100)) if timed else None)


def test_ten_steps_in_ten_minutes_each_watched_for_one() -> None:
    now, progress, taken = 0.0, Progress(1, 0.0), [(0.0, 0.1)]
    while True:
        now += 0.5
        found = decide(PLAN, progress, GOOD, now)
        progress = found.progress
        if found.verdict is not Verdict.WAIT:
            taken.append((now, round(found.share, 6)))
        if found.verdict is Verdict.COMPLETE:
            break
    assert taken == [(60.0 * n, round(0.1 * (n + 1), 6)) for n in range(10)] + [(600.0, 1.0)]


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        (Figures(20, 2, 18, 0.1), "10 % of 20 requests failed, more than 5 %"),
        (Figures(20, 20, 0, None), "100 % of 20 requests failed, more than 5 %"),
        (Figures(40, 0, 40, 0.812), "TTFT p95 of 40 requests is 812 ms, more than 500 ms"),
        (Figures(40, 40, 40, 9.0), "100 % of 40 requests failed, more than 5 %"),
    ],
)
def test_bad_figures_take_it_back_at_once_and_say_which(figures, why) -> None:
    found = decide(PLAN, Progress(3, 100.0), figures, 100.5)
    assert found == Decision(Verdict.ROLL_BACK, Progress(3, 100.0), 0.0, why)


@pytest.mark.parametrize(
    "figures", [Figures(19, 19, 0, None), Figures(20, 1, 19, 99.0), Figures(200, 10, 19, 99.0), Figures()]
)
def test_too_few_requests_or_first_tokens_condemn_nobody(figures) -> None:
    assert decide(PLAN, Progress(1, 0.0), figures, 1.0).verdict is Verdict.WAIT


def test_a_step_without_enough_requests_goes_on_past_its_time_and_says_so() -> None:
    found = decide(PLAN, Progress(2, 0.0), Figures(3, 0, 3, 0.1), 1e6)
    assert (found.verdict, found.share) == (Verdict.WAIT, 0.2)
    assert found.why == "waits for 20 requests to judge by: 3 requests, 0 % failed, TTFT p95 100 ms"


def test_first_tokens_are_not_judged_where_nobody_said_how_late_they_may_be() -> None:
    plan = Plan(0.0, 0.5, 10, 0.05, None, 1)
    assert decide(plan, Progress(1, 0.0), Figures(10, 0, 10, 1e9), 1.0).verdict is Verdict.WAIT


def test_a_step_that_was_looked_at_late_does_not_push_the_others_back_nor_hurry_them() -> None:
    assert decide(PLAN, Progress(1, 0.0), GOOD, 60.4).progress == Progress(2, 60.0)
    assert decide(PLAN, Progress(1, 0.0), GOOD, 5_000.0).progress == Progress(2, 5_000.0), "an engine was away"


@given(PLANS)
def test_shares_grow_by_no_more_than_a_step_and_end_with_all(plan) -> None:
    shares = [plan.share(n) for n in range(plan.steps + 1)]
    assert shares[0] == plan.start or plan.steps == 0
    assert shares[-1] == 1.0
    assert all(0 < after - before <= plan.step + 1e-6 for before, after in itertools.pairwise(shares))
    assert plan.interval_s * plan.steps == pytest.approx(plan.over_s)


@given(PLANS, st.integers(1, 100), st.floats(0, 1e6), st.floats(0, 1e6), some_figures())
def test_every_decision_keeps_its_promises(plan, number, since, passed, figures) -> None:
    progress = Progress(min(number, plan.steps), since)
    found = decide(plan, progress, figures, since + passed)
    assert found.why
    enough = max(1, plan.min_requests)
    failing = figures.requests >= enough and figures.failed / figures.requests > plan.max_error_rate
    limit = plan.max_ttft_p95_s
    late = limit is not None and figures.timed >= enough and (figures.ttft_p95_s or 0) > limit
    assert (found.verdict is Verdict.ROLL_BACK) == (failing or late)
    if found.verdict is Verdict.ROLL_BACK:
        assert found.share == plan.start
    elif found.verdict is Verdict.WAIT:
        assert (found.progress, found.share) == (progress, plan.share(progress.number))
    else:
        assert figures.requests >= plan.min_requests
        assert passed >= plan.interval_s * (1 - 1e-9) - 1e-6
    if found.verdict is Verdict.STEP:
        assert found.progress.number == progress.number + 1 <= plan.steps
        assert since <= found.progress.since <= since + passed + 1e-6
    assert (found.verdict is Verdict.COMPLETE) <= (progress.number == plan.steps)


@given(PLANS, st.lists(some_figures(), min_size=1, max_size=60), st.integers(1, 50))
def test_whatever_comes_the_share_only_grows_until_it_ends_and_then_is_all_or_what_it_was(plan, seen, parts) -> None:
    now, progress, share = 0.0, Progress(1, 0.0), plan.share(1)
    for figures in seen:
        now += plan.interval_s / parts * 3
        found = decide(plan, progress, figures, now)
        if found.verdict is Verdict.ROLL_BACK:
            assert found.share == plan.start
            return
        assert share <= found.share <= 1
        progress, share = found.progress, found.share
        if found.verdict is Verdict.COMPLETE:
            assert share == 1
            return
