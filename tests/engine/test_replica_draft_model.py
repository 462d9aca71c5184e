"""The draft model on real weights: it proposes what its target would say, and foreign vocabularies are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.replica.job import DraftCounts
from engine.replica.llama import Context, LoadError, Model, Shape, start_backend
from engine.replica.speculation import DraftModel, SharedSpeculation, SpeculationSettings, begin, check_vocabulary

SHAPE = Shape(slots=2, context=256, threads=1, batch=64, rows=8)
PROMPT = "The capital of France is Paris. The capital of Italy is"


def loaded(path: Path) -> Model:
    start_backend()
    return Model(str(path), gpu_layers=0, progress=lambda _fraction: True)


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Iterator[Model]:
    model = loaded(smollm2)
    yield model
    model.close()


@pytest.fixture
def draft(model: Model) -> Iterator[DraftModel]:
    draft = DraftModel(model, model.vocabulary, shape=SHAPE)
    yield draft
    draft.close()


@pytest.fixture
def prompt(model: Model) -> list[int]:
    return model.vocabulary.tokenize(PROMPT, add_special=True, parse_special=False)


@pytest.fixture(scope="module")
def greedy(model: Model) -> list[int]:
    """The 24 most probable tokens after PROMPT, one decode step each."""
    context = Context(model, SHAPE)
    tokens = model.vocabulary.tokenize(PROMPT, add_special=True, parse_special=False)
    assert context.prefill(0, np.asarray(tokens, np.int32), 0, rows="last") == 0
    said = [int(context.logits(1)[0].argmax())]
    while len(said) < 24:
        assert context.decode_step([0], [said[-1]], [len(tokens) + len(said) - 1]) == 0
        said.append(int(context.logits(1)[0].argmax()))
    context.close()
    return said


def test_it_proposes_the_greedy_continuation(draft: DraftModel, prompt: list[int], greedy: list[int]) -> None:
    assert draft.catch_up(0, prompt, 1000) == 0
    assert draft.propose(0, prompt, 12, min_probability=0.0) == greedy[:12]


def test_after_rejected_drafts_it_goes_on_from_what_was_said(
    draft: DraftModel, prompt: list[int], greedy: list[int]
) -> None:
    draft.catch_up(0, prompt, 1000)
    draft.propose(0, prompt, 8, min_probability=0.0)
    other = [*prompt, *greedy[:3], greedy[0]]  # three of the drafts, then something else
    after = draft.propose(0, other, 6, min_probability=0.0)
    draft.catch_up(1, other, 1000)
    assert len(after) == 6
    assert after == draft.propose(1, other, 6, min_probability=0.0)
    assert draft.propose(0, [*prompt, *greedy[:3]], 6, min_probability=0.0) == greedy[3:9]


def test_a_slot_that_follows_a_run_of_accepted_drafts_misses_two_tokens_at_most(
    draft: DraftModel, prompt: list[int], greedy: list[int]
) -> None:
    draft.catch_up(0, prompt, 1000)
    tokens = list(prompt)
    for _ in range(4):
        assert draft.missing(0, tokens) <= 2
        drafted = draft.propose(0, tokens, 4, min_probability=0.0)
        tokens += [*drafted, greedy[len(tokens) - len(prompt) + 4]]
    assert tokens == [*prompt, *greedy[:20]]


def test_it_stops_before_a_token_it_is_unsure_of(draft: DraftModel, prompt: list[int], greedy: list[int]) -> None:
    draft.catch_up(0, prompt, 1000)
    sure = draft.propose(0, prompt, 24, min_probability=0.5)
    assert 0 < len(sure) < 24
    assert sure == greedy[: len(sure)]
    assert draft.propose(0, prompt, 24, min_probability=1.1) == []


def test_catching_up_keeps_to_its_budget_and_says_what_is_missing(draft: DraftModel, prompt: list[int]) -> None:
    long = prompt * 8
    assert draft.catch_up(0, long, 10) == len(long) - 11
    assert draft.propose(0, long, 4) == []
    assert draft.catch_up(0, long, len(long)) == 0
    assert draft.missing(0, long) == 1


def test_a_forgotten_slot_holds_nothing(draft: DraftModel, prompt: list[int], greedy: list[int]) -> None:
    draft.catch_up(0, prompt, 1000)
    draft.forget(0)
    assert draft.missing(0, prompt) == len(prompt)
    draft.catch_up(0, prompt, 1000)
    assert draft.propose(0, prompt, 4, min_probability=0.0) == greedy[:4]


def test_nothing_is_proposed_past_its_context(draft: DraftModel, prompt: list[int]) -> None:
    full = (prompt * 40)[: draft.context_length]
    assert draft.catch_up(0, full, 10_000) == 0
    assert draft.propose(0, full, 4) == []
    assert len(draft.propose(0, full[:-2], 8, min_probability=0.0)) == 2
    assert draft.catch_up(0, [*full, 1], 10_000) > 0


def test_a_request_that_its_own_model_drafts_for_accepts_what_it_drafts(
    draft: DraftModel, prompt: list[int], greedy: list[int]
) -> None:
    draft.step_ms = draft.prefill_token_ms = 0.1  # as if it were small: one's own model never pays
    shared, counts = SharedSpeculation(lambda _tokens: 10.0, draft), DraftCounts()
    settings = SpeculationSettings("draft.gguf", 0, 4)
    speculator = begin(shared, settings, prompt=prompt, prediction=[], counts=counts)
    assert speculator is not None
    said: list[int] = []
    while len(said) < len(greedy):
        proposal = speculator.propose(8, 10.0, len(greedy) - len(said))
        if speculator.needs_catch_up:
            speculator.catch_up(16)
        new = greedy[len(said) : len(said) + len(proposal.tokens) + 1]
        assert list(proposal.tokens) == new[:-1]
        speculator.verified(proposal, len(new) - 1)
        for token in new:
            speculator.advance(token)
        said += new
    speculator.close()
    assert counts.accepted == counts.drafted > 8


def test_its_costs_are_measured(draft: DraftModel) -> None:
    assert draft.step_ms > 0
    assert draft.prefill_token_ms > 0


def test_a_draft_with_another_vocabulary_is_refused_with_what_differs(model: Model, gemma: Path) -> None:
    other = loaded(gemma)
    try:
        with pytest.raises(
            LoadError, match="the draft model cannot draft for this model: its vocabulary is SPM, the model's BPE"
        ):
            DraftModel(other, model.vocabulary, shape=SHAPE)
    finally:
        other.close()


def test_a_vocabulary_of_the_same_size_that_spells_one_token_differently_is_refused(model: Model) -> None:
    class Changed(type(model.vocabulary)):  # type: ignore[misc]
        def spelling(self, token: int) -> bytes:
            return b"changed" if token == 777 else super().spelling(token)

    with pytest.raises(LoadError, match="its token 777 is 'changed', the model's"):
        check_vocabulary(Changed(model.pointer), model.vocabulary)
