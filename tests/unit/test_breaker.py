"""Breakers of guards: so many hits within a window, a refusal for a while, and in again by time or by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.control.breaker import Breaker, Limit

steps = st.lists(
    st.tuples(st.sampled_from(["hit", "release", "look"]), st.sampled_from("abc"), st.integers(0, 8)), max_size=80
)


@given(steps, st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
def test_it_opens_and_closes_as_counting_by_hand_says(
    script: list[tuple[str, str, int]], hits: int, window: int, refused: int
) -> None:
    breaker, now = Breaker(Limit(hits, window, refused)), 0
    counted: dict[str, list[int]] = {key: [] for key in "abc"}
    until = dict.fromkeys("abc", 0)
    for verb, key, later in script:
        now += later
        if verb == "hit":
            opened = False
            if until[key] <= now:
                counted[key] = [at for at in counted[key] if at > now - window] + [now]
                if opened := len(counted[key]) == hits:
                    counted[key], until[key] = [], now + refused
            assert breaker.hit(key, now) == opened
        elif verb == "release":
            assert breaker.release(key, now) == (until[key] > now)
            counted[key], until[key] = [], 0
        for each in "abc":
            assert breaker.until(each, now) == (until[each] if until[each] > now else None)
        assert breaker.refused(now) == {each: until[each] for each in "abc" if until[each] > now}


def test_keys_that_have_nothing_against_them_any_more_are_forgotten() -> None:
    breaker = Breaker(Limit(3, 10.0, 10.0))
    for number in range(1000):
        breaker.hit(f"key-{number}", float(number))
    assert len(breaker) < 40
