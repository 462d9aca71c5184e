"""The floor under all who wait in the fair line, and parties that come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.replica.shares import Shares


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "charge"]), st.integers(0, 5)), max_size=60))
def test_nobody_who_waits_is_behind_the_floor_and_the_floor_never_falls(steps) -> None:
    shares: Shares[int] = Shares()
    for what, party in steps:
        before = shares._floor if shares else 0.0
        if what != "leave" or party in shares._waiting:
            getattr(shares, what)(party, *([7.0] if what == "charge" else []))
        assert shares._floor >= before
        assert all(shares._times[waiting] >= shares._floor for waiting in shares.order())


def test_parties_that_come_and_go_are_forgotten_when_the_others_have_caught_up() -> None:
    shares: Shares[int] = Shares()
    shares.join(-1)
    for party in range(1000):
        shares.join(party)
        shares.charge(party, 10.0)
        shares.leave(party)
        shares.charge(party, 10.0)
        shares.charge(-1, 5.0)
    shares.charge(-1, 1e6)
    shares.join(0)
    assert len(shares._times) == 2
