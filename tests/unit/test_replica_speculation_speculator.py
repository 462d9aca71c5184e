"""One request's speculation: who drafts, what is counted, what the settings exclude."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.job import DraftCounts
from engine.replica.speculation import (
    MAX_DRAFT_TOKENS,
    NOTHING,
    POSITIONS,
    SharedSpeculation,
    Source,
    SpeculationSettings,
    Speculator,
    begin,
)
from tests.unit.speculation_simulation import MEASURED, OracleDrafter, Workload, agreeing, table

BF16 = table(MEASURED["BF16"])
PLAIN_MS = BF16(1)
PREDICTION = list(range(100, 160))
NGRAMS = SpeculationSettings(ngram_length=3, draft_token_count=8)
DRAFT = SpeculationSettings("draft.gguf", 0, 4)


def flat(_tokens: int) -> float:
    """A GPU's cost: a call takes as long whatever it carries."""
    return 5.0


def started(
    settings_: SpeculationSettings,
    *,
    prompt: list[int] | None = None,
    prediction: list[int] | None = None,
    shared: SharedSpeculation | None = None,
    counts: DraftCounts | None = None,
) -> Speculator:
    speculator = begin(
        shared or SharedSpeculation(BF16),
        settings_,
        prompt=prompt or [1],
        prediction=prediction or [],
        counts=counts or DraftCounts(),
    )
    assert speculator is not None
    return speculator


# Who drafts


def test_without_prediction_n_grams_or_draft_model_there_is_no_speculator() -> None:
    shared = SharedSpeculation(BF16)
    for nothing in (SpeculationSettings(), SpeculationSettings(ngram_length=3, draft_token_count=0)):
        assert begin(shared, nothing, prompt=[1, 2], prediction=[], counts=DraftCounts()) is None


def test_a_prediction_needs_no_settings_and_drafts_from_its_start() -> None:
    proposal = started(SpeculationSettings(), prediction=PREDICTION).propose(31, PLAIN_MS, 100)
    assert proposal.source is Source.PREDICTION
    assert list(proposal.tokens) == PREDICTION[: len(proposal.tokens)] != []


def test_a_prediction_goes_before_n_grams_and_n_grams_draft_when_it_is_lost() -> None:
    prompt = [1, 2, 3, 4, 5, 6, 7, 8] * 4
    speculator = started(NGRAMS, prompt=prompt, prediction=PREDICTION, shared=SharedSpeculation(flat))
    assert speculator.propose(8, 5.0, 100).source is Source.PREDICTION
    for token in (1, 2, 3):
        speculator.advance(token)
    proposal = speculator.propose(8, 5.0, 100)
    assert proposal.source is Source.NGRAM
    assert list(proposal.tokens)[:3] == [4, 5, 6]


def test_n_grams_draft_no_more_than_the_draft_token_count() -> None:
    speculator = started(NGRAMS, prompt=[1, 2, 3] * 30, shared=SharedSpeculation(flat))
    assert len(speculator.propose(31, 5.0, 100).tokens) == 8


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.0, 20.0), st.booleans())
def test_a_proposal_never_exceeds_limit_room_or_what_can_be_counted(limit, room, plain_ms, on_gpu) -> None:
    shared = SharedSpeculation(flat if on_gpu else BF16)
    speculator = started(NGRAMS, prompt=[1, 2, 3] * 9, prediction=PREDICTION, shared=shared)
    proposal = speculator.propose(limit, plain_ms, room)
    assert len(proposal.tokens) <= max(0, min(limit, room - 1, MAX_DRAFT_TOKENS))
    assert (proposal.source is None) == (not proposal.tokens)


def test_beside_a_plain_step_that_costs_nothing_more_nothing_is_drafted() -> None:
    assert started(SpeculationSettings(), prediction=PREDICTION).propose(31, 0.0, 100) is NOTHING


# What is counted


def test_drafted_and_accepted_tokens_are_counted_by_source_and_position() -> None:
    shared, counts = SharedSpeculation(flat), DraftCounts()
    speculator = started(SpeculationSettings(), prediction=PREDICTION, shared=shared, counts=counts)
    proposal = speculator.propose(4, 5.0, 100)
    speculator.verified(proposal, 2)
    totals = shared.totals[Source.PREDICTION]
    assert (totals.drafts, totals.drafted, totals.accepted) == (1, 4, 2)
    assert totals.drafted_at[:5] == [1, 1, 1, 1, 0]
    assert totals.accepted_at[:5] == [1, 1, 0, 0, 0]
    assert len(totals.drafted_at) == POSITIONS > MAX_DRAFT_TOKENS
    assert counts == DraftCounts(drafted=4, accepted=2, predicted=4, predicted_accepted=2)


def test_n_gram_drafts_are_not_counted_as_predicted() -> None:
    counts = DraftCounts()
    speculator = started(NGRAMS, prompt=[1, 2, 3] * 9, shared=SharedSpeculation(flat), counts=counts)
    speculator.verified(speculator.propose(4, 5.0, 100), 4)
    assert counts == DraftCounts(drafted=4, accepted=4)


def test_a_proposal_that_was_not_verified_counts_nothing_and_gives_its_reserve_back() -> None:
    shared, counts = SharedSpeculation(BF16), DraftCounts()
    speculator = started(SpeculationSettings(), prediction=PREDICTION, shared=shared, counts=counts)
    lengths = {len(speculator.propose(31, PLAIN_MS, 100).tokens) for _ in range(50)}
    assert len(lengths) == 1
    assert counts == DraftCounts()
    old = speculator.propose(31, PLAIN_MS, 100)
    speculator.propose(31, PLAIN_MS, 100)
    speculator.verified(old, 1)
    assert counts == DraftCounts()


# The draft model


def test_the_draft_model_drafts_once_it_has_caught_up() -> None:
    output = list(range(200, 260))
    work = Workload([1] * 50, [], output)
    oracle = OracleDrafter(work, [True] * len(output), 1.0)
    shared = SharedSpeculation(flat, oracle)
    speculator = started(DRAFT, prompt=work.prompt, shared=shared)
    assert speculator.propose(8, 5.0, 60) is NOTHING
    assert speculator.needs_catch_up
    left = [speculator.catch_up(20), speculator.catch_up(20), speculator.catch_up(20)]
    assert left == [28, 8, 0]
    assert not speculator.needs_catch_up
    proposal = speculator.propose(8, 5.0, 60)
    assert proposal.source is Source.DRAFT_MODEL
    assert agreeing(proposal.tokens, output) == len(proposal.tokens) <= 4


def test_the_draft_models_slots_are_given_back_and_never_keep_tokens_for_another_scope() -> None:
    work = Workload([1] * 9, [], [2] * 9)
    oracle = OracleDrafter(work, [True] * 9)
    shared = SharedSpeculation(BF16, oracle)
    first = shared.acquire(work.prompt, "a", 4)
    assert first is not None
    assert shared.acquire(work.prompt, "a", 4) is None
    oracle.catch_up(0, work.prompt, 64)
    shared.release(first)
    again = shared.acquire(work.prompt, "a", 4)
    assert again is not None
    assert oracle.missing(0, work.prompt) == 1
    shared.release(again)
    assert shared.acquire(work.prompt, "b", 4) is not None
    assert oracle.missing(0, work.prompt) == len(work.prompt)


def test_a_draft_model_that_gets_no_further_is_left_alone_for_the_rest_of_the_request() -> None:
    class Stuck(OracleDrafter):
        def catch_up(self, slot, tokens, budget_tokens) -> int:
            return len(tokens)

    work = Workload([1] * 50, [], list(range(200, 260)))
    speculator = started(DRAFT, prompt=work.prompt, shared=SharedSpeculation(flat, Stuck(work, [True] * 60, 1.0)))
    speculator.propose(8, 5.0, 60)
    assert speculator.needs_catch_up
    assert speculator.catch_up(64) == 0
    speculator.propose(8, 5.0, 60)
    assert not speculator.needs_catch_up


def test_without_a_free_slot_a_request_goes_undrafted() -> None:
    work = Workload([1] * 9, [], [2] * 9)
    shared = SharedSpeculation(BF16, OracleDrafter(work, [True] * 9))
    first = started(DRAFT, prompt=work.prompt, shared=shared)
    assert begin(shared, DRAFT, prompt=work.prompt, prediction=[], counts=DraftCounts()) is None
    first.close()
    first.close()
    assert begin(shared, DRAFT, prompt=work.prompt, prediction=[], counts=DraftCounts()) is not None


# Settings


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (SpeculationSettings("draft.gguf", 3, 4), "cannot be used together"),
        (SpeculationSettings("draft.gguf"), "draft-token-count must be set when draft-model is used"),
        (SpeculationSettings(None, 3), "draft-token-count must be set when ngram-speculation-length is used"),
        (SpeculationSettings(None, 0, -1), "must not be negative"),
        (SpeculationSettings(None, 99, 4), "from 0 to 16"),
        (SpeculationSettings(None, -1, 4), "from 0 to 16"),
    ],
)
def test_settings_that_exclude_each_other_are_refused_with_the_flag_to_change(wrong, why) -> None:
    with pytest.raises(ValueError, match=why):
        wrong.check()


@pytest.mark.parametrize(
    "right",
    [SpeculationSettings(), SpeculationSettings(None, 0, 0), DRAFT, NGRAMS, SpeculationSettings("draft.gguf", 0, 0)],
)
def test_settings_that_go_together_pass(right) -> None:
    right.check()


def test_a_draft_token_count_of_nought_turns_both_off() -> None:
    assert not SpeculationSettings("draft.gguf", 0, 0).uses_draft_model
    assert not SpeculationSettings(None, 3, 0).uses_ngrams
    assert SpeculationSettings(None, 3, 500).drafted_tokens == MAX_DRAFT_TOKENS
