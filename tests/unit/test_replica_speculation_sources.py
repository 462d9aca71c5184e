"""Free sources of drafts: the client's prediction and the request's own n-grams."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.replica.speculation.grams import keys_at_end, keys_by_size
from engine.replica.speculation.ngram import NgramIndex
from engine.replica.speculation.predicted import PredictedText
from tests.unit.speculation_simulation import edited, natural

TOKENS = st.lists(st.integers(0, 5), max_size=60)
VARIED = st.lists(st.integers(0, 49_151), min_size=1, max_size=60)
LIMITS = st.integers(0, 40)


def hits(text: PredictedText, output: list[int]) -> int:
    """How many tokens of the output were expected before they came."""
    right = 0
    for token in output:
        right += text.expected == token
        text.advance(token)
    return right


# The prediction


@given(TOKENS, TOKENS, LIMITS)
def test_a_proposal_is_a_stretch_of_the_prediction_and_within_its_limit(prediction, output, limit) -> None:
    text = PredictedText(prediction)
    for token in output:
        text.advance(token)
        proposed = text.propose(limit)
        assert len(proposed) <= limit
        starts = range(len(prediction) + 1)
        assert any(prediction[start : start + len(proposed)] == proposed for start in starts)
        assert text.propose(1) == ([] if text.expected is None else [text.expected])


@given(VARIED, LIMITS)
def test_an_output_as_predicted_is_followed_token_by_token_and_nothing_remains(prediction, limit) -> None:
    text = PredictedText(prediction)
    for at, token in enumerate(prediction):
        assert text.propose(limit) == prediction[at : at + limit]
        text.advance(token)
    assert text.propose(limit) == []
    assert text.run == len(prediction)


@given(st.integers(4, 40), st.integers(0, 3), st.integers(0, 6), st.integers(2, 12))
def test_after_an_edit_it_is_back_within_four_tokens(at, inserted, deleted, rest) -> None:
    prediction = list(range(100, 160))
    after = prediction[at + deleted :]
    text = PredictedText(prediction)
    for token in [*prediction[:at], *range(inserted), *after[:rest]]:
        text.advance(token)
    needed = 1 if inserted + deleted <= 1 or (inserted, deleted) == (1, 1) else 2
    if rest >= needed:
        assert text.propose(3) == after[rest : rest + 3]


def test_one_replaced_token_costs_one_guess() -> None:
    assert hits(PredictedText([1, 2, 3, 4, 5, 6]), [1, 2, 9, 4, 5, 6]) == 5


def test_an_inserted_token_costs_two_guesses() -> None:
    assert hits(PredictedText([1, 2, 3, 4, 5, 6]), [1, 2, 9, 3, 4, 5, 6]) == 5


def test_a_missing_token_costs_one_guess() -> None:
    assert hits(PredictedText([1, 2, 3, 4, 5, 6]), [1, 2, 4, 5, 6]) == 4


def test_it_is_silent_while_lost() -> None:
    text = PredictedText([1, 2, 3, 4, 5, 6])
    for token in (90, 91, 92, 93):
        text.advance(token)
    assert text.expected is None
    assert text.propose(8) == []


def test_two_tokens_that_stand_in_several_places_ahead_do_not_bring_it_back_three_do() -> None:
    prediction = [1, 2, 3, 7, 8, 4, 5, 7, 8, 6, 9]
    text = PredictedText(prediction)
    for token in (50, 51, 7, 8):
        text.advance(token)
    assert text.expected is None
    text.advance(6)
    assert text.propose(1) == [9]


@given(st.integers(5, 30))
def test_an_output_that_starts_in_the_middle_is_found_after_two_tokens(start) -> None:
    prediction = list(range(100, 140))
    text = PredictedText(prediction)
    assert hits(text, prediction[start:]) == len(prediction) - start - 2


def test_an_output_that_says_the_prediction_again_is_followed_again() -> None:
    prediction = list(range(100, 140))
    assert hits(PredictedText(prediction), prediction * 2) == 2 * len(prediction) - 3


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_with_one_token_in_twenty_edited_nearly_all_others_are_expected(seed) -> None:
    rng = random.Random(seed)
    prediction = natural(rng, 400)
    output = edited(rng, prediction, 0.05)
    assert hits(PredictedText(prediction), output) >= 0.82 * len(output)


# N-grams


def latest_match(length: int, tokens: list[int]) -> int | None:
    """Where the text after the latest earlier match begins, by looking everywhere."""
    for n in range(min(length, len(tokens) - 1), min(2, length) - 1, -1):
        for place in range(len(tokens) - 1, n - 1, -1):
            if tokens[place - n : place] == tokens[-n:]:
                return place
    return None


@settings(deadline=None)
@given(st.integers(1, 6), TOKENS, TOKENS, LIMITS)
@example(3, [], [1], 4)
def test_an_index_proposes_what_a_search_everywhere_finds(length, prompt, output, limit) -> None:
    index = NgramIndex(length, prompt)
    tokens = list(prompt)
    for token in [None, *output]:
        if token is not None:
            index.advance(token)
            tokens.append(token)
        place = latest_match(length, tokens)
        if place is None:
            assert index.propose(limit) == []
            assert index.run == 0
        else:
            period = len(tokens) - place
            assert index.propose(limit) == [tokens[place + i % period] for i in range(limit)]
            assert index.expected == tokens[place]
            assert index.run >= min(2, length)


@given(st.integers(1, 4), TOKENS)
def test_one_token_at_a_time_or_all_at_once_is_the_same(length, tokens) -> None:
    at_once, one_by_one = NgramIndex(length, tokens), NgramIndex(length, [])
    for token in tokens:
        one_by_one.advance(token)
    assert at_once.propose(9) == one_by_one.propose(9)


@given(TOKENS, st.integers(8, 20))
def test_a_full_index_forgets_old_text_and_never_proposes_what_did_not_follow(tokens, max_grams) -> None:
    index = NgramIndex(3, tokens, max_grams=max_grams)
    for token in tokens:
        index.advance(token)
        assert len(index._young) + len(index._old) <= 2 * max_grams + 2
    seen = tokens * 2
    if index.expected is not None:
        assert [*seen[-2:], index.expected] in [seen[i : i + 3] for i in range(len(seen) - 2)]


def test_a_repeated_line_repeats_on() -> None:
    assert NgramIndex(3, [7, 1, 2, 7, 1, 2]).propose(7) == [7, 1, 2, 7, 1, 2, 7]


def test_an_n_gram_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        NgramIndex(0, [1, 2, 3])


@given(VARIED, st.integers(1, 6))
def test_a_gram_hashes_alike_in_bulk_and_at_the_end_of_a_text(tokens, longest) -> None:
    sizes = range(1, longest + 1)
    bulk = keys_by_size(tokens, sizes)
    assert {n: int(keys[-1]) for n, keys in bulk.items()} == keys_at_end(tokens, sizes)
