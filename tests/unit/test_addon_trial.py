"""When an adapter that took another version's place gives it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.addon_trial import ERROR_RATE, MIN_REQUESTS, Outcomes, goes_back


@st.composite
def outcomes(draw: st.DrawFn) -> Outcomes:
    requests = draw(st.one_of(st.integers(0, 2 * MIN_REQUESTS), st.integers(0, 10**9)))
    few = draw(st.integers(0, min(requests, 12)))
    return Outcomes(requests, draw(st.sampled_from([few, requests // 1000, requests // 999, requests])))


@given(outcomes(), outcomes())
def test_only_a_rate_above_the_limit_of_enough_requests_goes_back_and_only_to_one_that_fails_less(now, former):
    if goes_back(now, former):
        assert now.requests >= MIN_REQUESTS
        assert now.failed > now.requests / 1000
        assert former.rate < now.rate
        assert former.requests < MIN_REQUESTS or former.rate <= ERROR_RATE


@given(outcomes(), outcomes())
def test_one_more_failure_never_keeps_it_and_one_more_of_the_former_never_takes_it_away(now, former):
    if goes_back(now, former) and now.failed < now.requests:
        assert goes_back(Outcomes(now.requests, now.failed + 1), former)
    if not goes_back(now, former):
        worse = Outcomes(former.requests, min(former.requests, former.failed + 1))
        assert not goes_back(now, worse)


@given(outcomes())
def test_one_without_a_failure_stays_and_so_does_one_that_is_as_good_as_the_former(one):
    assert not goes_back(Outcomes(one.requests), one)
    assert not goes_back(one, one)


@pytest.mark.parametrize(
    ("now", "former", "back"),
    [
        ((1_000, 2), (5_000, 5), True),  # 0.2 % after 0.1 %
        ((1_000, 1), (5_000, 0), False),  # 0.1 % is not above it
        ((999, 999), (5_000, 0), False),  # too few
        ((1_000, 1_000), (5_000, 6), False),  # the former was above it too
        ((1_000, 2), (10, 0), True),
        ((1_000, 2), (10, 1), False),  # of ten requests one: more than 0.2 %
        ((1_000, 900), (10, 1), True),
        ((1_000, 2), (0, 0), True),
    ],
)
def test_the_rule_at_its_edges(now, former, back):
    assert bool(goes_back(Outcomes(*now), Outcomes(*former))) is back


def test_the_reason_has_the_numbers():
    assert goes_back(Outcomes(1_500, 3), Outcomes(20_000, 2)) == (
        "3 of 1,500 requests failed (0.2 %), above 0.1 %; before, 2 of 20,000 requests failed (0.01 %)"
    )
