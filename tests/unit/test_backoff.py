"""When replicas are taken to crash again and again: how failures are counted, and what ends the row of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.backoff import (
    BACKOFF_MAX_S,
    CALM,
    FAILURES_UNTIL_FAILED,
    STANDING_AFTER_S,
    STEADY_AFTER_S,
    Backoff,
    Starts,
)

G = "settings"


def lives(starts: Starts, at: float, seconds: float, *, own_fault: bool = True, step_s: float = 0.5) -> float:
    """One replica becomes ready and dies so many seconds later; when."""
    now = at
    while now < at + seconds:
        starts.forgive(lambda _generation: [at], now)
        now += step_s
    starts.died(G, at, at + seconds, "it died", own_fault=own_fault)
    return at + seconds


@pytest.mark.parametrize("seconds", [0.0, 59.0, 61.0, 120.0, 300.0, STEADY_AFTER_S - 1])
def test_replicas_that_die_within_ten_minutes_again_and_again_are_hopeless_after_five(seconds):
    starts, now = Starts(), 1000.0
    for failures in range(1, FAILURES_UNTIL_FAILED + 1):
        assert not starts.of(G).hopeless
        now = lives(starts, now, seconds)
        assert starts.of(G).failures == failures
        now = starts.of(G).holds_until()
    assert starts.of(G).hopeless
    assert now - starts.of(G).last_failure_at == 16


def test_those_that_die_later_are_replaced_at_once_and_never_hopeless():
    starts, now = Starts(), 1000.0
    for _ in range(20):
        now = lives(starts, now, STEADY_AFTER_S + 1)
        assert starts.of(G) == CALM


def test_the_wait_does_not_begin_anew_until_one_has_served_for_ten_minutes():
    starts = Starts()
    now = lives(starts, 0.0, 5)
    now = lives(starts, now, 5)
    now = lives(starts, now, STEADY_AFTER_S - 1, step_s=1)
    assert starts.of(G).wait_s == 4
    starts.forgive(lambda _generation: [now], now + STEADY_AFTER_S)
    assert starts.of(G) == CALM


@pytest.mark.parametrize(("seconds", "failures"), [(STANDING_AFTER_S - 1, 1), (STANDING_AFTER_S, 0)])
def test_one_that_was_taken_from_outside_has_failed_only_if_it_had_served_for_less_than_a_minute(seconds, failures):
    starts = Starts()
    lives(starts, 0.0, seconds, own_fault=False)
    assert starts.of(G).failures == failures


def test_while_one_that_came_after_the_last_failure_has_stood_for_a_minute_nothing_is_held_up():
    starts = Starts()
    for _ in range(FAILURES_UNTIL_FAILED):
        starts.failed(G, 100.0, "it broke")
    assert (starts.of(G).failing, starts.of(G).hopeless) == (True, True)
    starts.forgive(lambda _generation: [99.0], 10_000.0)
    assert starts.of(G).failing, "one that was there before proves nothing"
    starts.forgive(lambda _generation: [110.0], 110.0 + STANDING_AFTER_S)
    assert (starts.of(G).failing, starts.of(G).hopeless) == (False, False)
    assert starts.of(G).failures == FAILURES_UNTIL_FAILED, "the row goes on"
    starts.forgive(lambda _generation: [], 500.0)
    assert not starts.of(G).failing, "it went as it was told to"
    starts.failed(G, 700.0, "it broke")
    assert starts.of(G).hopeless
    assert starts.of(G).wait_s == 32


@given(st.integers(0, 10**6), st.lists(st.floats(0, 2000)), st.floats(0, 2000))
def test_serving_never_makes_it_worse(failures, ready_since, now):
    before = Backoff(failures, 500.0, "it broke" if failures else "")
    after = before.after(ready_since, now)
    assert after.failures in {0, failures}
    assert after.wait_s <= before.wait_s <= BACKOFF_MAX_S
    assert not (after.hopeless and not before.hopeless)
