"""What is read of a request's prompt, in every form that a body may have it in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import request_text
from engine.control.prefix import BLOCK_CHARACTERS, BLOCK_TOKENS, BLOCKS_MAX
from engine.control.request_text import Opening
from tests.arbitrary import JSON

FIELDS = st.sampled_from(["messages", "prompt", "input", "query", "documents", "max_tokens", "tools", "content", "n"])
SCHEMA = {"type": "object", "properties": {"colour of gulls": {"type": "string", "enum": ["grey"]}}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("body", "characters"),
    [
        ({"prompt": "four"}, 4), ({"prompt": ["four", "fi"]}, 6), ({"prompt": [1, 2, 3]}, 12),
        ({"prompt": [[1, 2], [3]]}, 12), ({"messages": [user("four"), user([{"type": "text", "text": "five!"}])]}, 9),
        ({"messages": [{"role": "system", "content": "sys"}, user("u")]}, 4), ({"input": ["a", "bc"]}, 3),
        ({"query": "q", "documents": ["dd", {"text": "ddd"}]}, 6), ({}, 0),
    ],
)  # fmt: skip
def test_the_characters_of_every_form_of_a_prompt_are_counted(body: dict[str, Any], characters: int) -> None:
    assert request_text.characters(body) == characters


@pytest.mark.parametrize(
    ("body", "opening"),
    [
        ({"messages": [user("a"), {"role": "tool", "content": "b"}]}, Opening("chat", "user\na\0tool\nb\0", 14)),
        ({"messages": [user(["a"])]}, Opening("chat", '{"role": "user", "content": ["a"]}\0', 35)),
        ({"messages": [user("a")], "tools": [1], "prompt": "x"}, Opening("chat", "[1]user\na\0", 10)),
        ({"prompt": "text"}, Opening("text", "text", 4)), ({"prompt": ["one", "two"]}, Opening("text", "one", 3)),
        ({"prompt": [1, 2]}, Opening("tokens", (1, 2), 8)), ({"prompt": [[1, 2], [3]]}, Opening("tokens", (1, 2), 8)),
        ({"input": "text"}, Opening("text", "", 0)), ({"messages": "no list"}, Opening("text", "", 0)),
    ],
)  # fmt: skip
def test_the_opening_is_what_a_template_begins_with(body: dict[str, Any], opening: Opening) -> None:
    assert request_text.opening(body) == opening


def test_of_an_endless_prompt_the_opening_has_as_much_as_is_hashed_and_the_length_of_all() -> None:
    form, content, characters = request_text.opening({"messages": [user("x" * 100_000)] * 40})
    assert (form, characters) == ("chat", 40 * 100_006)
    assert BLOCK_CHARACTERS * BLOCKS_MAX <= len(content) < BLOCK_CHARACTERS * BLOCKS_MAX + 100_006
    tokens = request_text.opening({"prompt": [7] * 1_000_000})
    assert (len(tokens.content), tokens.characters) == (BLOCK_TOKENS * BLOCKS_MAX, 4_000_000)


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"prompt": "a", "stop": ["b"], "model": "m", "user": "u", "metadata": {"k": "v"}}, ["a", "b"]),
        ({"messages": [user("a"), {"role": "pirate", "content": "b"}]}, ["a", "pirate", "b"]),
        ({"messages": [user([{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}])]}, ["abcd", "ab", "cd"]),
        ({"tools": [{"type": "function", "function": {"parameters": SCHEMA}}]}, ["colour of gulls", "grey"]),
        ({"a field of tomorrow": {"inner": "word"}}, ["inner", "word"]), ({"prompt": [1, 2]}, []),
    ],
)  # fmt: skip
def test_every_text_that_a_model_may_see_is_read(body: dict[str, Any], texts: list[str]) -> None:
    assert request_text.texts(body) == texts


def test_a_word_of_the_protocol_is_a_text_where_it_is_not_the_protocols() -> None:
    assert request_text.texts({"messages": [user("system")]}) == ["system"]
    assert request_text.is_protocol("role", "system")
    assert not request_text.is_protocol("content", "system")
    assert not request_text.is_protocol("role", "pirate")


@pytest.mark.parametrize(
    ("prompt", "has_some", "count"),
    [([1, 2], True, 2), ([[1], [2]], True, None), (["a", 1], True, None), (["a"], False, None), ("a", False, None),
     ([], False, None), ([True], True, None), (7, False, None)],
)  # fmt: skip
def test_token_ids_are_seen_at_any_depth_and_counted_where_they_are_the_prompt(
    prompt: Any, has_some: bool, count: int | None
) -> None:
    assert request_text.has_token_ids(prompt) is has_some
    assert request_text.token_count(prompt) == count


def test_a_part_that_is_no_text_is_media() -> None:
    assert request_text.has_media({"messages": [user("a"), user([{"type": "image_url"}])]})
    assert not request_text.has_media({"messages": [user([{"type": "text"}, {}, "a"]), "x"]})


def test_the_limit_of_an_answer_is_the_first_that_is_one() -> None:
    assert request_text.answer_limit({"max_tokens": 5, "max_completion_tokens": 9}) == 5
    assert request_text.answer_limit({"max_tokens": None, "max_completion_tokens": 0}) == 0
    assert request_text.answer_limit({"max_tokens": -1, "max_completion_tokens": 9}) == 9
    assert request_text.answer_limit({"max_tokens": True}) is None
    assert request_text.answer_limit({}) is None


@given(st.dictionaries(FIELDS, JSON | st.lists(JSON), max_size=5))
def test_whatever_a_client_sends_is_read_without_an_error(body: dict[str, Any]) -> None:
    found = request_text.opening(body)
    assert found.characters >= 0
    assert all(isinstance(text, str) for text in request_text.texts(body))
    assert request_text.characters(body) >= 0
    assert request_text.has_media(body) in (True, False)
