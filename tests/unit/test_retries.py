"""How many requests may be tried again: a fifth of those asked lately, and a floor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.control.retries import FLOOR_MIN, SHARE, WINDOW_S, RetryBudget

EVENTS = st.lists(st.tuples(st.sampled_from(["ask", "retry", "retry"]), st.floats(0, 3)), max_size=300)


@given(EVENTS, st.integers(0, 30), st.floats(0, 1e6))
def test_no_window_has_more_retries_than_its_share_and_the_floor(events, floor, now):
    budget, asked, retried = RetryBudget(), list[float](), list[float]()
    for what, gap_s in events:
        now += gap_s
        if what == "ask":
            budget.asked(now)
            asked.append(now)
        elif budget.allows(now, floor):
            retried.append(now)
            lately = sum(at > now - WINDOW_S for at in asked)
            within = sum(at > now - (WINDOW_S - 1) for at in retried)  # whole seconds are counted together
            assert within <= SHARE * lately + max(floor, FLOOR_MIN)


@given(st.integers(0, 200), st.integers(0, 40))
def test_as_many_as_are_allowed_are_had(asked, floor):
    budget = RetryBudget()
    for _ in range(asked):
        budget.asked(1.5)
    allowed = 0
    while budget.allows(1.5, floor):
        allowed += 1
    assert allowed == int(SHARE * asked + max(floor, FLOOR_MIN))


def test_a_budget_that_is_used_up_is_there_again_when_its_window_is_over():
    budget = RetryBudget()
    while budget.allows(0.0, 0):
        pass
    assert not budget.allows(WINDOW_S - 0.5, 0)
    assert budget.allows(float(WINDOW_S), 0)
