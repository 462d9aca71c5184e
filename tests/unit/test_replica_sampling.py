"""Choosing tokens: bounds of each limit, and draws that depend on (seed, choice, position) alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.replica.sampling import Sampler, SamplingOptions, candidates, log_softmax

ROWS = arrays.arrays(np.float32, st.integers(2, 200), elements=st.floats(-30, 30, width=32))
OPTIONS = st.builds(
    SamplingOptions,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    top_k=st.integers(0, 100),
    min_p=st.floats(0, 1),
    typical_p=st.floats(0, 1),
    repetition_penalty=st.floats(0, 2),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    mirostat_target=st.none() | st.floats(0, 100),
    mirostat_lr=st.floats(0, 1),
    seed=st.integers(-(2**63), 2**63 - 1),
    top_logprobs=st.none() | st.integers(0, 5),
)


@settings(deadline=None)
@given(ROWS, OPTIONS)
def test_any_options_in_range_choose_a_token_of_the_vocabulary_without_touching_the_logits(row, options) -> None:
    before = row.copy()
    sampler = Sampler(options, prompt=[0, 1])
    for _ in range(3):
        choice = sampler.choose(row)
        assert 0 <= choice.token < len(row)
        sampler.accept(choice.token)
        if options.top_logprobs is not None:
            assert choice.logprob is not None
            assert choice.logprob <= 1e-3
            assert len(choice.top) == min(options.top_logprobs, len(row))
    assert (row == before).all()


@settings(deadline=None)
@given(ROWS, OPTIONS.filter(lambda o: not o.greedy))
def test_candidates_are_a_distribution_that_respects_top_k(row, options) -> None:
    tokens, probabilities = candidates(row, options)
    assert len(tokens) >= 1
    assert len(set(tokens.tolist())) == len(tokens)
    assert probabilities.sum() == pytest.approx(1)
    assert options.top_k == 0 or len(tokens) <= options.top_k


@settings(deadline=None)
@given(ROWS, st.integers(0, 2**32), st.integers(0, 200))
def test_the_same_seed_gives_the_same_tokens_and_looks_at_no_other_sequence(row, seed, other_draws) -> None:
    def text(noise: int) -> list[int]:
        sampler, other = Sampler(SamplingOptions(seed=seed)), Sampler(SamplingOptions(seed=seed + 1))
        tokens = []
        for _ in range(5):
            for _ in range(noise):
                other.accept(other.choose(row).token)
            tokens.append(sampler.choose(row).token)
            sampler.accept(tokens[-1])
        return tokens

    assert text(0) == text(other_draws % 3)


def test_choices_of_one_request_draw_differently() -> None:
    row = np.zeros(1000, np.float32)
    tokens = {Sampler(SamplingOptions(seed=7, choice=c)).choose(row).token for c in range(8)}
    assert len(tokens) > 4


def test_a_draw_follows_the_distribution() -> None:
    row = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    sampler = Sampler(SamplingOptions(seed=1))
    counts = np.zeros(3)
    for _ in range(4000):
        token = sampler.choose(row).token
        counts[token] += 1
        sampler.accept(token)
    assert np.abs(counts / 4000 - [0.5, 0.3, 0.2]).max() < 0.03


@settings(deadline=None)
@given(st.floats(0.01, 0.99))
def test_the_shortlist_of_a_large_vocabulary_gives_exact_top_p(top_p) -> None:
    row = np.random.default_rng(0).normal(0, 4, 20_000).astype(np.float32)
    tokens, _ = candidates(row, SamplingOptions(top_p=top_p))
    order = np.argsort(-row, kind="stable")
    cumulative = np.cumsum(np.exp(log_softmax(row)[order].astype(np.float64)))
    expected = int(np.searchsorted(cumulative, top_p)) + 1
    assert abs(len(tokens) - expected) <= max(1, expected // 1000)


def test_penalties_act_on_what_they_say() -> None:
    row = np.array([2.0, 1.9, 0.0], np.float32)
    repetition = Sampler(SamplingOptions(temperature=0, repetition_penalty=1.5), prompt=[0])
    presence = Sampler(SamplingOptions(temperature=0, presence_penalty=1.0), prompt=[0])
    assert repetition.choose(row).token == 1
    assert presence.choose(row).token == 0
    presence.accept(0)
    assert presence.choose(row).token == 1


def test_banned_tokens_are_never_chosen() -> None:
    sampler = Sampler(SamplingOptions(temperature=0), banned=[2])
    assert sampler.choose(np.array([0.0, 1.0, 9.0], np.float32)).token == 1


@settings(deadline=None)
@given(ROWS, OPTIONS, st.sets(st.integers(0, 199), max_size=4), st.booleans())
def test_what_is_settled_is_what_would_be_chosen_and_nothing_else_is(row, options, banned, cold) -> None:
    options = replace(options, temperature=0.0) if cold else options
    banned = {token for token in banned if token < len(row)}
    best = int(row.argmax())
    settled = Sampler(options, prompt=[0, 1], banned=banned).settled(row, best)
    free = options.greedy and not options.shapes_logits and best not in banned
    assert settled == (Sampler(options, prompt=[0, 1], banned=banned).choose(row) if free else None)


@pytest.mark.parametrize("target", [1.0, 3.0, 5.0])
def test_mirostat_keeps_the_mean_surprise_near_its_target(target) -> None:
    row = (-np.log(np.arange(1, 5001)) * 1.1).astype(np.float32)  # Zipf's law, as in the paper: 6.6 bits
    sampler = Sampler(SamplingOptions(mirostat_target=target, mirostat_lr=0.1, top_logprobs=0, seed=3))
    seen = []
    for _ in range(3000):
        choice = sampler.choose(row)
        seen.append(-choice.sampling_logprob / np.log(2))
        sampler.accept(choice.token)
    assert np.mean(seen[200:]) == pytest.approx(target, abs=0.2)


@settings(deadline=None)
@given(ROWS, st.floats(0, 10), st.floats(0, 1), st.integers(0, 2**32), st.lists(st.booleans(), max_size=12))
def test_drafts_that_are_looked_at_and_rejected_never_move_mirostat(row, target, rate, seed, looks) -> None:
    options = SamplingOptions(mirostat_target=target, mirostat_lr=rate, seed=seed)
    plain, watched = Sampler(options), Sampler(options)
    rejected = row[::-1].copy()
    for look in looks:
        if look:
            watched.choose(rejected)
        token = plain.choose(row).token
        assert watched.choose(row).token == token
        plain.accept(token)
        watched.accept(token)


def test_mirostat_leaves_the_draws_to_seed_choice_and_position() -> None:
    row = np.zeros(1000, np.float32)
    free, held = (Sampler(SamplingOptions(seed=9, mirostat_target=t)) for t in (None, 100.0))
    for _ in range(70):  # a flat row is never cut by so high a limit: the same draws give the same tokens
        token = free.choose(row).token
        assert held.choose(row).token == token
        free.accept(token)
        held.accept(token)


def test_mirostat_with_a_limit_below_every_token_takes_the_likeliest_and_banned_ones_never() -> None:
    row = np.array([1.0, 1.0, 3.0, 9.0], np.float32)
    sampler = Sampler(SamplingOptions(mirostat_target=0.0, seed=1), banned=[3])
    assert {sampler.choose(row).token for _ in range(20)} == {2}
