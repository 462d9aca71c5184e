"""Which replica takes the next request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.control.route import PREFETCH, Candidate, choose

CANDIDATES = st.lists(
    st.builds(Candidate, st.integers(0, 9).map(str), st.integers(0, 6), st.integers(1, 4)),
    max_size=6, unique_by=lambda c: c.id,
)  # fmt: skip
AVOID = st.frozensets(st.integers(0, 9).map(str), max_size=5)


def test_the_least_loaded_for_its_size_is_chosen():
    assert choose([Candidate("a", 2, 2), Candidate("b", 3, 8), Candidate("c", 1, 2)]) == "b"


def test_equal_load_goes_to_the_same_replica_every_time():
    assert choose([Candidate("b", 1, 2), Candidate("a", 1, 2)]) == "a"


def test_a_full_replica_is_not_chosen_and_holds_one_request_beyond_its_slots():
    assert PREFETCH == 1
    assert choose([Candidate("a", 2, 2)]) == "a"
    assert choose([Candidate("a", 3, 2)]) is None


def test_a_replica_that_failed_this_request_is_taken_only_when_there_is_no_other():
    both = [Candidate("a", 0, 2), Candidate("b", 2, 2)]
    assert choose(both, frozenset({"a"})) == "b"
    assert choose([Candidate("a", 0, 2), Candidate("b", 3, 2)], frozenset({"a"})) == "a"


@given(CANDIDATES, AVOID)
def test_whoever_is_chosen_has_room_and_nobody_eligible_has_less_load(candidates, avoid):
    chosen = choose(candidates, avoid)
    room = [c for c in candidates if c.in_flight < c.slots + PREFETCH]
    assert (chosen is None) == (not room)
    if chosen is None:
        return
    by_id = {c.id: c for c in room}
    eligible = [c for c in room if c.id not in avoid] or room
    assert by_id[chosen] in eligible
    assert all(by_id[chosen].in_flight * c.slots <= c.in_flight * by_id[chosen].slots for c in eligible)


@given(CANDIDATES, AVOID, st.randoms())
def test_the_order_of_the_candidates_does_not_matter(candidates, avoid, random):
    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert choose(shuffled, avoid) == choose(candidates, avoid)
