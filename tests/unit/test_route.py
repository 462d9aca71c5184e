"""Which replica takes the next request: load, what was read there, where a session belongs."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.control.route import CROWD, PREFETCH, RULES, Candidate, Costs, Prompt, choose, home

CANDIDATES = st.lists(
    st.tuples(st.integers(0, 9).map(str), st.integers(0, 6), st.integers(1, 4)).map(lambda of: Candidate(*of)),
    max_size=6, unique_by=lambda c: c.id,
)  # fmt: skip
KNOWING = st.lists(
    st.builds(
        Candidate, st.integers(0, 9).map(str), st.integers(0, 6), st.integers(1, 4), cached=st.integers(0, 4000),
        ahead=st.integers(0, 4000), held=st.integers(0, 9), full=st.floats(0, 1),
    ),
    max_size=6, unique_by=lambda c: c.id,
)  # fmt: skip
AVOID = st.frozensets(st.integers(0, 9).map(str), max_size=5)
SESSIONS = st.sampled_from(["", "s1", "s2", "s3"])
IDS = st.sets(st.integers(0, 99).map(lambda n: f"chat-{n}"), min_size=1, max_size=12)


def taken(candidates, *more, **known) -> str | None:
    choice = choose(candidates, *more, **known)
    return choice.id if choice else None


def test_the_least_loaded_for_its_size_is_chosen():
    assert taken([Candidate("a", 2, 2), Candidate("b", 3, 8), Candidate("c", 1, 2)]) == "b"


def test_equal_load_goes_to_the_one_that_has_read_least_and_else_to_the_same_every_time():
    assert taken([Candidate("b", 1, 2), Candidate("a", 1, 2)]) == "a"
    assert taken([Candidate("b", 1, 2), Candidate("a", 1, 2, held=1)]) == "b"


def test_a_full_replica_is_not_chosen_and_holds_one_request_beyond_its_slots():
    assert PREFETCH == 1
    assert taken([Candidate("a", 2, 2)]) == "a"
    assert taken([Candidate("a", 3, 2)]) is None


def test_a_replica_that_failed_this_request_is_taken_only_when_there_is_no_other():
    both = [Candidate("a", 0, 2), Candidate("b", 2, 2)]
    assert taken(both, frozenset({"a"})) == "b"
    assert taken([Candidate("a", 0, 2), Candidate("b", 3, 2)], frozenset({"a"})) == "a"


@given(CANDIDATES, AVOID)
def test_whoever_is_chosen_has_room_and_nobody_eligible_has_less_load(candidates, avoid):
    chosen = taken(candidates, avoid)
    room = [c for c in candidates if c.in_flight < c.slots + PREFETCH]
    assert (chosen is None) == (not room)
    if chosen is None:
        return
    by_id = {c.id: c for c in room}
    eligible = [c for c in room if c.id not in avoid] or room
    assert by_id[chosen] in eligible
    assert all(by_id[chosen].in_flight * c.slots <= c.in_flight * by_id[chosen].slots for c in eligible)


@given(KNOWING, AVOID, SESSIONS, st.integers(4000, 9000), st.floats(0.01, 100), st.randoms())
def test_the_order_of_the_candidates_does_not_matter(candidates, avoid, session, characters, request_s, random):
    shuffled, prompt = list(candidates), Prompt((), characters, session)
    random.shuffle(shuffled)
    assert choose(shuffled, avoid, prompt, Costs(request_s)) == choose(candidates, avoid, prompt, Costs(request_s))


@given(KNOWING, AVOID, SESSIONS, st.integers(4000, 9000), st.floats(0.01, 100))
def test_whatever_is_known_a_choice_has_room_and_says_what_is_true_of_it(
    candidates, avoid, session, characters, request_s
):
    choice = choose(candidates, avoid, Prompt((), characters, session), Costs(request_s))
    room = {c.id: c for c in candidates if c.room > 0}
    assert (choice is None) == (not room)
    if choice is None:
        return
    fresh = {name: c for name, c in room.items() if name not in avoid}
    eligible, one = fresh or room, room[choice.id]
    assert choice.id in eligible
    assert (choice.ready, choice.with_room, choice.fresh) == (len(candidates), len(room), len(fresh))
    assert (choice.in_flight, choice.slots, choice.cached) == (one.in_flight, one.slots, one.cached)
    assert choice.rule in RULES
    assert choice.why
    assert choice.expected_s >= 0
    if choice.rule == "affinity":
        assert choice.id == home(session, eligible)
    if choice.rule == "prefix":
        assert one.cached == max(c.cached for c in eligible.values()) > 0
    if session and len(eligible) > 1:
        assert (choice.elsewhere == "home") <= (choice.id != home(session, eligible))


@given(KNOWING, st.integers(4000, 9000), st.floats(0.01, 100))
def test_who_has_read_more_of_the_prompt_is_not_less_likely_to_get_it(candidates, characters, request_s):
    """To the chosen one, and to nobody else, more of it may be known: it is chosen all the same."""
    prompt = Prompt((), characters)
    choice = choose(candidates, frozenset(), prompt, Costs(request_s))
    if choice is None:
        return
    more = [c._replace(cached=characters) if c.id == choice.id else c for c in candidates]
    assert taken(more, frozenset(), prompt, Costs(request_s)) == choice.id


def test_a_prefix_is_worth_what_reading_it_would_take_and_not_more():
    prompt, second = Prompt((), 4000), 1 / 4000  # it takes a second to be read
    reader = Candidate("reader", 2, 4, cached=3840)
    idle = Candidate("idle", 0, 4)
    assert choose([reader, idle], prompt=prompt, costs=Costs(1.0, second)).rule == "prefix"
    choice = choose([reader, idle], prompt=prompt, costs=Costs(100.0, second))  # what runs there slows it by more
    assert (choice.id, choice.rule, choice.elsewhere) == ("idle", "load", "prefix")
    behind = reader._replace(ahead=8000)
    assert taken([behind, idle], prompt=prompt, costs=Costs(1.0, second)) == "idle"
    waits = reader._replace(in_flight=4)
    assert taken([waits, idle], prompt=prompt, costs=Costs(10.0, second)) == "idle"


def test_a_prefix_that_all_requests_share_makes_no_hot_spot():
    """400 requests with one long system prompt, that nobody has read at first: they come to lie evenly enough."""
    replicas = {name: Candidate(name, 0, 8) for name in "abcd"}
    prompt = Prompt((), 8000)
    running: list[str] = []
    given_to: Counter[str] = Counter()
    for number in range(400):
        choice = choose(list(replicas.values()), prompt=prompt, costs=Costs(2.0))
        assert choice is not None
        given_to[choice.id] += 1
        running.append(choice.id)
        one = replicas[choice.id]
        replicas[choice.id] = one._replace(in_flight=one.in_flight + 1, cached=7936)
        if len(running) > 20:  # as many as run at once, on 32 slots
            left = replicas[running.pop(0)]
            replicas[left.id] = left._replace(in_flight=left.in_flight - 1)
        most = max(c.in_flight for c in replicas.values())
        assert number < 100 or most <= 8, "nobody waits for a slot while others have some free"
    assert min(given_to.values()) > 50, given_to


@given(IDS, SESSIONS)
def test_a_session_stays_where_it_is_but_for_those_whose_home_goes_or_comes(ids, session):
    at = home(session, ids)
    assert at in ids
    for gone in ids - {at}:
        assert home(session, ids - {gone}) == at
    assert home(session, ids | {"new"}) in {at, "new"}


def test_sessions_are_spread_evenly_and_one_replica_more_moves_its_share():
    ids = [f"chat-{n}" for n in range(4)]
    before = {f"s{n}": home(f"s{n}", ids) for n in range(4000)}
    assert all(abs(count - 1000) < 150 for count in Counter(before.values()).values())
    after = {session: home(session, [*ids, "chat-new"]) for session in before}
    moved = [session for session in before if before[session] != after[session]]
    assert {after[session] for session in moved} == {"chat-new"}
    assert abs(len(moved) - 800) < 130


@given(st.integers(0, 3), st.integers(1, 40_000), SESSIONS.filter(bool), st.floats(0.01, 100))
def test_a_session_stays_at_its_home_until_that_is_full(in_flight, characters, session, request_s):
    at = home(session, ["a", "b"])
    other = "b" if at == "a" else "a"
    prompt = Prompt((), characters, session)
    choice = choose([Candidate(at, in_flight, 4), Candidate(other, 0, 4)], prompt=prompt, costs=Costs(request_s))
    assert (choice.id, choice.rule) == (at, "affinity")
    left = choose([Candidate(at, 5, 4), Candidate(other, 0, 4)], prompt=prompt, costs=Costs(request_s))
    assert (left.id, left.rule) == (other, "only")


def test_a_home_that_is_full_or_behind_is_left_and_the_choice_says_so():
    at = home("s1", ["a", "b"])
    other = "b" if at == "a" else "a"
    prompt = Prompt((), 100, "s1")
    full, behind = Candidate(at, 4, 4), Candidate(at, 1, 4, ahead=400_000)
    for busy in (full, behind):
        choice = choose([busy, Candidate(other, 0, 4)], prompt=prompt, costs=Costs(10.0))
        assert (choice.id, choice.rule, choice.elsewhere) == (other, "load", "home")
    assert CROWD < 1


def test_where_the_cache_is_full_what_was_never_read_goes_where_there_is_room():
    prompt = Prompt((), 4000)
    both = [Candidate("a", 0, 4, full=1.0), Candidate("b", 0, 4, held=9)]
    assert taken(both, prompt=prompt) == "b"
    returned = [Candidate("a", 0, 4, cached=1024, full=1.0), Candidate("b", 0, 4)]
    assert taken(returned, prompt=prompt) == "b", "what is left of it there is worth less than what it would push out"
