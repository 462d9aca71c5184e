"""Limits by the minute, on a clock that tests turn: never more than the limit, nothing refused that fits, exact waits.

Instants are multiples of 1/64 s: sums and differences of them are exact in floating point.
"""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import limits as room
from engine.control.limits import WINDOW_S, Kind, Refusal, Tally, Window, longest

TICK_S = 1 / 64
gaps = st.one_of(st.integers(0, 64), st.integers(0, 64 * 90)).map(lambda ticks: ticks * TICK_S)
asked = st.lists(st.tuples(gaps, st.integers(1, 12)), min_size=1, max_size=60)
limit_of = st.integers(12, 40)


def within_a_window_of(at: float, charged: list[tuple[float, int]]) -> int:
    """What was charged in the last 60 s before `at`, and at it."""
    return sum(amount for when, amount in charged if at - WINDOW_S < when <= at)


@given(asked, limit_of)
def test_no_window_has_more_than_the_limit_and_nothing_that_fits_is_refused(script, limit):
    window, now, admitted = Window(), 0.0, []
    for gap, amount in script:
        now += gap
        if window.admits_at(limit, amount, now) <= now:
            window.charge(amount, now)
            admitted.append((now, amount))
        else:
            assert within_a_window_of(now, admitted) + amount > limit, "it would have fitted"
    assert all(within_a_window_of(at, admitted) <= limit for at, _ in admitted)


@given(asked, limit_of)
def test_the_time_to_wait_is_the_first_instant_at_which_it_is_admitted(script, limit):
    window, now = Window(), 0.0
    for gap, amount in script:
        now += gap
        at = window.admits_at(limit, amount, now)
        if at <= now:
            assert at == now
            window.charge(amount, now)
            continue
        for early in (now, (now + at) / 2, at - TICK_S):
            assert early < now or deepcopy(window).admits_at(limit, amount, early) == at
        assert deepcopy(window).admits_at(limit, amount, at) == at


@given(asked, st.integers(1, 8), limit_of)
def test_charges_that_are_lumped_together_never_let_more_in_and_keep_the_log_small(script, exact_max, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "EXACT_MAX", exact_max)
        patch.setattr(room, "GRAIN_S", WINDOW_S / exact_max)
        window, now, admitted = Window(), 0.0, []
        for gap, amount in script:
            now += gap
            if window.admits_at(limit, amount, now) <= now:
                window.charge(amount, now)
                admitted.append((now, amount))
            else:
                lately = sum(amount for when, amount in admitted if when > now - WINDOW_S - room.GRAIN_S)
                assert lately + amount > limit, "refused for longer than one grain"
            assert len(window._entries) <= 2 * exact_max + 1
        assert all(within_a_window_of(at, admitted) <= limit for at, _ in admitted)


@given(st.lists(st.tuples(gaps, st.integers(0, 12), st.integers(0, 24), st.booleans()), min_size=1, max_size=40))
def test_a_settled_charge_counts_as_what_it_was_and_what_is_more_counts_from_its_settling_on(script):
    window, now, counted = Window(), 0.0, []
    open_charges = []
    for gap, estimate, true, end_one in script:
        now += gap
        open_charges.append((window.charge(estimate, now), len(counted), true))
        counted.append([now, estimate])
        if end_one:
            charge, place, amount = open_charges.pop(0)
            charge.settle(amount, now)
            if amount > counted[place][1]:
                counted.append([now, amount - counted[place][1]])
            else:
                counted[place][1] = amount
        assert window.used(now) == within_a_window_of(now, counted)
    assert window.used(now + WINDOW_S) == 0


@given(asked)
def test_settling_twice_is_settling_at_last(script):
    once, twice, now = Window(), Window(), 0.0
    for gap, amount in script:
        now += gap
        first, second = once.charge(amount, now), twice.charge(amount, now)
        first.settle(amount // 2, now)
        second.settle(amount // 3, now)
        second.settle(amount // 2, now)
    assert once.used(now) == twice.used(now)


def test_more_than_the_whole_limit_is_admitted_when_nothing_else_is_there():
    window = Window()
    assert window.admits_at(10, 50, 0.0) == 0.0
    window.charge(50, 0.0)
    assert window.admits_at(10, 1, 1.0) == window.admits_at(10, 50, 1.0) == 60.0


def test_a_limit_of_nothing_is_never_over():
    tally = Tally()
    assert tally.refusal({Kind.REQUESTS: 0}, {Kind.REQUESTS: 1}, 5.0) == Refusal(Kind.REQUESTS, 0, math.inf)
    assert tally.refusal({Kind.CONCURRENT: 0}, {Kind.CONCURRENT: 1}, 5.0) == Refusal(Kind.CONCURRENT, 0, math.inf)


def test_of_several_limits_the_one_that_holds_longest_is_told():
    tally = Tally()
    tally.charge({Kind.REQUESTS: 1}, 0.0)
    tally.charge({Kind.PROMPT: 100}, 10.0)
    limits = {Kind.REQUESTS: 1, Kind.PROMPT: 100}
    assert tally.refusal(limits, {Kind.REQUESTS: 1, Kind.PROMPT: 1}, 20.0) == Refusal(Kind.PROMPT, 100, 70.0)
    assert tally.refusal(limits, {Kind.REQUESTS: 1}, 20.0) == Refusal(Kind.REQUESTS, 1, 60.0)
    assert tally.refusal(limits, {Kind.GENERATED: 10**9}, 20.0) is None, "that is not limited"
    unknown, known, never = (Refusal(Kind.REQUESTS, 1, at) for at in (None, 60.0, math.inf))
    assert longest([unknown, known]) is known
    assert longest([unknown, never, known]) is never
    assert longest([]) is None


def test_requests_under_way_are_refused_until_one_ends():
    tally = Tally()
    tally.concurrent = 2
    one = {Kind.CONCURRENT: 1}
    assert tally.refusal({Kind.CONCURRENT: 2}, one, 0.0) == Refusal(Kind.CONCURRENT, 2, None)
    assert not tally.idle(1e9)
    tally.concurrent = 1
    assert tally.refusal({Kind.CONCURRENT: 2}, one, 0.0) is None


def test_a_tally_is_idle_when_its_last_charge_is_a_minute_old():
    tally = Tally()
    tally.charge({Kind.PROMPT: 3}, 1.0)
    assert (tally.idle(60.9), tally.idle(61.0)) == (False, True)
