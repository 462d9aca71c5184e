"""Which requests are simple: by the limits that a rule names, and by nothing of what was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.complexity import Facts, Rule, facts, judge
from tests.arbitrary import JSON

RULE = Rule(prompt_chars=100, max_tokens=64, turns=2)
SIMPLE = Facts(prompt_chars=100, max_tokens=64, turns=2)
FIELDS = st.sampled_from(["messages", "prompt", "input", "query", "documents", "max_tokens", "tools", "content", "n"])


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


def test_what_is_at_every_limit_is_simple_and_says_by_what() -> None:
    found = judge(RULE, SIMPLE)
    assert found.simple
    assert found.why == (
        "100 of at most 100 characters of prompt, max_tokens 64 of at most 64, 2 of at most 2 turns, no tools, "
        "no response_format"
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"prompt_chars": 101}, "101 characters of prompt are more than 100"),
        ({"max_tokens": 65}, "max_tokens 65 is more than 64"),
        ({"max_tokens": None}, "it sets no max_tokens, which may be at most 64"),
        ({"turns": 3}, "3 turns are more than 2"),
        ({"tools": True}, "it has tools"),
        ({"response_format": True}, "it has a response_format"),
        ({"media": True}, "it has content that is no text"),
    ],
)
def test_one_thing_beyond_the_rule_is_enough_not_to_be_simple(more, why) -> None:
    fields = {"prompt_chars": 1, "max_tokens": 1, "turns": 1} | more
    found = judge(RULE, Facts(**fields))
    assert (found.simple, found.why) == (False, why)


@pytest.mark.parametrize("more", [{"tools": True}, {"response_format": True}])
def test_what_is_allowed_does_not_count(more) -> None:
    assert judge(Rule(tools=True, response_format=True), Facts(**more)).simple


def test_what_a_rule_does_not_name_does_not_count() -> None:
    assert judge(Rule(), Facts(prompt_chars=10**9, max_tokens=None, turns=10**6)).simple


def test_the_facts_of_a_chat() -> None:
    body = {
        "messages": [{"role": "system", "content": "s"}, user("a"), {"role": "assistant", "content": None}, user("b")],
        "max_completion_tokens": 9, "tools": [{}], "response_format": {"type": "json_object"},
    }  # fmt: skip
    assert facts(body) == Facts(3, 9, turns=2, tools=True, response_format=True)
    assert facts({"messages": [user([{"type": "image_url"}])]}).media
    assert not facts({"response_format": {"type": "text"}}).response_format
    assert facts({"functions": [{}]}).tools


@given(st.dictionaries(FIELDS, JSON, max_size=5))
def test_no_body_can_break_it_and_each_has_a_verdict_with_a_reason(body) -> None:
    found = judge(RULE, facts(body))
    assert found.why
    assert judge(RULE, facts(body)) == found


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 5))
def test_a_request_with_less_of_everything_is_at_least_as_simple(chars, more, turns) -> None:
    larger = judge(RULE, Facts(chars + more, 10, turns)).simple
    assert judge(RULE, Facts(chars, 10, turns)).simple or not larger
