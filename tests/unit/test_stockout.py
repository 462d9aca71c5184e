"""When to ask for room again: doubling up to a minute, and never all at the same instant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.control.stockout import Shortage, retry_s


def test_the_wait_doubles_from_five_seconds_to_a_minute():
    assert [retry_s(tries, 0.5) for tries in (1, 2, 3, 4, 5, 100, 10**6)] == [5, 10, 20, 40, 60, 60, 60]


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_chance_moves_it_by_a_quarter_at_most(tries, chance):
    assert 0.75 * retry_s(tries, 0.5) <= retry_s(tries, chance) <= 1.25 * retry_s(tries, 0.5)


def test_a_shortage_says_how_many_stand_and_what_is_short():
    assert Shortage(3, 1, "out of stock", 0, 5).text == "STOCKOUT: 1 of 3 replicas placed; out of stock"
