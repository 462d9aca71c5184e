"""Text is bounded before llama.cpp tokenises it: by the context, and by runs where the vocabulary needs that."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import InvalidArgument
from engine.replica.conversation import Conversation
from engine.replica.prompt import PromptMaker, longest_run


class FakeVocabulary:
    """Every byte is a token; counts what reaches the tokeniser."""

    bos = eos = -1
    adds_bos = False
    longest_piece_bytes = 4
    max_run_chars: int | None = None
    special_tokens: dict[str, int] = {}
    asked = 0

    def tokenize(self, text: str, **_options: bool) -> list[int]:
        self.asked += 1
        return list(text.encode())


class FakeModel:
    chat_template = "{{ messages[0].content }}"

    def __init__(self) -> None:
        self.vocabulary = FakeVocabulary()


def maker(max_run_chars: int | None = None) -> tuple[PromptMaker, FakeVocabulary]:
    model: Any = FakeModel()
    model.vocabulary.max_run_chars = max_run_chars
    return PromptMaker(model, 100), model.vocabulary


@pytest.mark.parametrize("text", ["x" * 401, "é" * 201, "word " * 10**6])
def test_text_that_no_tokenisation_could_fit_is_refused_before_it_is_tokenised(text: str) -> None:
    prompts, vocabulary = maker()
    with pytest.raises(InvalidArgument, match="context") as caught:
        prompts.text(text, parse_special=False)
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidArgument, match="context") as caught:
        prompts.chat(Conversation([{"role": "user", "content": text}]))
    assert caught.value.field == "messages"
    assert vocabulary.asked == 0


def test_text_that_could_fit_is_tokenised() -> None:
    prompts, vocabulary = maker()
    assert len(prompts.text("x" * 400, parse_special=False)) == 400
    assert len(prompts.chat(Conversation([{"role": "user", "content": "x" * 400}]))) == 400
    assert vocabulary.asked == 2


@pytest.mark.parametrize("text", ["x" * 51, " " * 51, "a b" + "!" * 60 + " c"])
def test_long_runs_are_refused_where_the_vocabulary_splits_by_regular_expression(text: str) -> None:
    prompts, vocabulary = maker(max_run_chars=50)
    for field, ask in (
        ("prompt", lambda: prompts.text(text, parse_special=False)),
        ("messages", lambda: prompts.chat(Conversation([{"role": "user", "content": text}]))),
    ):
        with pytest.raises(InvalidArgument) as caught:
            ask()
        assert caught.value.field == field
    assert vocabulary.asked == 0
    assert prompts.text("many short words " * 20, parse_special=False)


def test_the_longest_run_counts_words_and_spaces() -> None:
    assert [longest_run(text) for text in ("", "abc", "ab   c", " \n\t ", "a b cd")] == [0, 3, 3, 4, 2]
