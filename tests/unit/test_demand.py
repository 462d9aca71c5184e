"""How much a request may take: what it names, what a limit leaves, and never more than that in any minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.limits import WINDOW_S, Kind, Tally
from engine.gateway.demand import ANSWER_TOKENS, ANSWER_TOKENS_MAX, Answers, answers_of
from engine.replica.fields import DEFAULT_MAX_TOKENS


def test_without_max_tokens_a_replica_generates_what_is_set_aside() -> None:
    assert ANSWER_TOKENS_MAX == DEFAULT_MAX_TOKENS


@pytest.mark.parametrize(
    ("fields", "context", "expected"),
    [
        ({}, None, Answers(1, ANSWER_TOKENS_MAX, named=False)),
        ({}, 1000, Answers(1, 1000, named=False)),
        ({"max_tokens": 7}, 1000, Answers(1, 7, named=True)),
        ({"max_tokens": 7000}, 1000, Answers(1, 1000, named=True)),
        ({"max_tokens": 0, "echo": True}, 1000, Answers(1, 0, named=True)),
        ({"max_tokens": -1}, 1000, Answers(1, 1000, named=False)),
        ({"max_tokens": None, "max_completion_tokens": 9}, None, Answers(1, 9, named=True)),
        ({"n": 3, "max_tokens": 7}, None, Answers(3, 7, named=True)),
        ({"best_of": 4, "n": 2}, None, Answers(4, ANSWER_TOKENS_MAX, named=False)),
        ({"prompt": ["a", "b", "c"], "n": 2, "max_tokens": 5}, None, Answers(6, 5, named=True)),
        ({"prompt": [[1, 2], [3]], "max_tokens": 5}, None, Answers(2, 5, named=True)),
        ({"prompt": [1, 2, 3], "max_tokens": 5}, None, Answers(1, 5, named=True)),
        ({"prompt": ["a"] * 1000, "n": 1000, "max_tokens": 5}, None, Answers(128, 5, named=True)),
    ],
)
def test_what_a_body_asks_for(fields: dict[str, object], context: int | None, expected: Answers) -> None:
    assert answers_of(fields, context) == expected


@pytest.mark.parametrize(
    ("named", "limit", "left", "most"),
    [
        (0, 10_000, 10_000, ANSWER_TOKENS_MAX),
        (0, 10_000, 900, 900),
        (0, 10_000, 100, ANSWER_TOKENS),  # which is more than is left: it has to wait
        (0, 100, 100, 100),
        (0, 100, 40, 40),
        (0, 100, 20, 25),
        (0, 100, 0, 25),
        (0, 3, 0, 1),
        (50, 10_000, 40, 50),
        (5000, 100, 100, 100),
    ],
)
def test_what_of_it_a_limit_lets_in(named: int, limit: int, left: int, most: int) -> None:
    asked = answers_of({"max_tokens": named} if named else {}, None)
    assert asked.within(limit, left).most == most


asking = st.tuples(st.integers(0, 90), st.none() | st.integers(0, 5000), st.integers(1, 4))


@given(st.lists(asking, min_size=1, max_size=40), st.integers(4, 6000))
def test_no_minute_has_more_than_the_limit_however_long_the_answers_are(
    script: list[tuple[int, int | None, int]], limit: int
) -> None:
    """Every answer is as long as its replica lets it be, and none is settled: the worst that can come."""
    tally, now, generated = Tally(), 0.0, list[tuple[float, int]]()
    for gap_s, named, choices in script:
        now += gap_s
        answers = answers_of({"max_tokens": named, "n": choices}, None)
        left = limit - tally.used(Kind.GENERATED, now)
        given = answers.within(limit, left)
        demand = {Kind.GENERATED: given.tokens}
        if tally.refusal({Kind.GENERATED: limit}, demand, now) is None:
            tally.charge(demand, now)
            generated.append((now, given.tokens))
        else:
            assert left < given.tokens, "it would have fitted"
            assert named is not None or given.most <= ANSWER_TOKENS, "who names no length takes what there is"
    for at, _ in generated:
        assert sum(tokens for when, tokens in generated if at - WINDOW_S < when <= at) <= limit
