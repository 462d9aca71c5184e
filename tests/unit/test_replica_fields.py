"""Requests are rebuilt from validated fields: ranges hold at their edges, unknown fields vanish, errors name theirs."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.replica.fields import ChatRequest, CompletionRequest
from engine.replica.request_body import parse
from engine.replica.strict_json import parse_json
from tests.arbitrary import JSON

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT = {"messages": [{"role": "user", "content": "x"}]}
EDGES = [
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("top_k", 0, 100),
    ("min_p", 0, 1),
    ("typical_p", 0, 1),
    ("repetition_penalty", 0, 2),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("mirostat_target", 0, 100),
    ("mirostat_lr", 0, 1),
    ("top_logprobs", 0, 20),
    ("prompt_truncate_len", 1, 2**31 - 1),
    ("n", 1, 128),
    ("best_of", 1, 128),
    ("max_tokens", 0, 2**31 - 1),
]


@pytest.mark.parametrize(("field", "low", "high"), EDGES)
def test_ranges_hold_at_both_edges(field: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(parse(ChatRequest, CHAT | {"logprobs": True, field: value}), field) == value
    for value in (low - 1, high + 1, float("nan"), float("inf"), str(low), True, [low]):
        with pytest.raises(InvalidArgument) as caught:
            parse(ChatRequest, CHAT | {field: value})
        assert caught.value.field == field


def test_null_means_not_given() -> None:
    fields = {field: None for field, _, _ in EDGES} | {"tools": None, "stop": None, "logit_bias": None}
    assert parse(ChatRequest, CHAT | fields).token_limit is None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*ChatRequest.model_fields, "id_slot", "cache_prompt", "n_discard"]), JSON))
def test_any_json_gives_a_request_or_a_named_refusal_and_unknown_fields_never_pass(body: dict[str, Any]) -> None:
    try:
        request = parse(ChatRequest, body)
    except InvalidArgument as error:
        assert error.message  # noqa: PT017 - either outcome is fine
    else:
        assert not hasattr(request, "id_slot")
        assert not hasattr(request, "n_discard")


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_parse_or_are_refused(raw: bytes) -> None:
    try:
        parse_json(raw)
    except InvalidArgument as error:
        assert error.status == 400  # noqa: PT017


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2, 3]]])
def test_a_prompt_is_text_texts_ids_or_lists_of_ids(prompt: Any) -> None:
    assert parse(CompletionRequest, {"prompt": prompt}).prompt == prompt


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (CompletionRequest, {"prompt": [-1] * 300_000}, "prompt"),
        (CompletionRequest, {"prompt": [[-1]] * 300_000}, "prompt"),
        (CompletionRequest, {"prompt": [[1], [-1] * 300_000]}, "prompt"),
        (CompletionRequest, {"prompt": ["x", *[1] * 100]}, "prompt"),
        (CompletionRequest, {"prompt": [1, "x"]}, "prompt"),
        (CompletionRequest, {"prompt": {"x": 1}}, "prompt"),
        (CompletionRequest, {"prompt": [None] * 300_000}, "prompt"),
        (ChatRequest, {"messages": [1] * 300_000}, "messages"),
        (ChatRequest, {"messages": [1] * 4000}, "messages.0"),
        (ChatRequest, {"messages": [{"role": "user", "content": [1] * 300_000}]}, "messages.0.content"),
        (ChatRequest, CHAT | {"logit_bias": {str(i): 999 for i in range(100_000)}}, "logit_bias"),
        (ChatRequest, CHAT | {"stop": [1] * 300_000}, "stop"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_huge_bad_list_costs_one_error(kind: Any, body: dict[str, Any], field: str) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidArgument) as caught:
        parse(kind, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.field or "").startswith(field)
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(("prompts", "n"), [(128, 2), (2, 65), (64, 3)])
def test_prompts_times_n_are_bounded(prompts: int, n: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": ["x"] * prompts, "n": n})
    assert caught.value.field == "n"
    assert parse(CompletionRequest, {"prompt": [[1]] * 64, "n": 2}).prompts == [[1]] * 64


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "robot", "content": "x"}, "role"),
        ({"role": "tool", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "user", "content": "x", "tool_call_id": "c"}, "tool_call_id"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "user", "content": "x", "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "user", "content": "x", "reasoning_content": "hm"}, "reasoning_content"),
        ({"role": "user", "content": "x", "name": "bob"}, "name"),
    ],
)
def test_what_a_template_would_drop_from_a_message_is_refused_by_name(message: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, {"messages": [message]})
    assert caught.value.field == f"messages.0.{field}"


def test_empty_tool_fields_of_an_echoed_answer_are_harmless() -> None:
    echoed = {"role": "assistant", "content": "x", "tool_calls": [], "function_call": None, "name": "", "refusal": None}
    assert parse(ChatRequest, {"messages": [echoed]}).messages[0].text("f") == "x"


def test_logprobs_true_is_new_style_and_an_integer_legacy() -> None:
    new = parse(ChatRequest, CHAT | {"logprobs": True, "top_logprobs": 2})
    old = parse(ChatRequest, CHAT | {"logprobs": 0})
    assert (new.legacy_logprobs, new.top_count) == (False, 2)
    assert (old.legacy_logprobs, old.top_count) == (True, 0)
    assert parse(ChatRequest, CHAT | {"logprobs": False}).top_count is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prediction": "a b"}, "a b"),
        ({"prediction": {"type": "content", "content": "a"}}, "a"),
        ({"prediction": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ab"),
        ({"speculation": "a"}, "a"),
        ({"speculation": [1, 2]}, [1, 2]),
        ({"speculation": None, "prediction": None, "rewrite_speculation": True, "adaptive_speculation": None}, ""),
    ],
    ids=str,
)
def test_expected_output_comes_as_prediction_or_as_speculation(body: dict[str, Any], expected: Any) -> None:
    assert parse(ChatRequest, CHAT | body).expected == expected


def test_seeds_hold_at_both_edges() -> None:
    assert [parse(ChatRequest, CHAT | {"seed": seed}).seed for seed in (-(2**63), 2**63 - 1)] == [-(2**63), 2**63 - 1]


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_a_message_without_content_is_refused_by_place(role: str) -> None:
    for empty in ({"role": role}, {"role": role, "content": None}):
        with pytest.raises(InvalidArgument) as caught:
            parse(ChatRequest, {"messages": [*CHAT["messages"], empty]})
        assert (caught.value.field, caught.value.status) == ("messages.1.content", 400)
    assert parse(ChatRequest, {"messages": [{"role": role, "content": ""}]})


@pytest.mark.parametrize("instead", [{"tool_calls": [CALL]}, {"function_call": CALL["function"]}])
def test_an_assistant_that_calls_need_not_say_anything(instead: dict[str, Any]) -> None:
    assert parse(ChatRequest, {"messages": [{"role": "assistant"} | instead]})


@pytest.mark.parametrize(("tier", "priority"), [("priority", 1), ("default", 0), ("auto", 0), (None, 0), ("flex", -1)])
def test_the_service_tier_is_the_priority(tier: str | None, priority: int) -> None:
    assert parse(ChatRequest, CHAT | {"service_tier": tier}).priority == priority


@pytest.mark.parametrize("other", [{"echo": True}, {"echo_last": 1}, {"prompt_truncate_len": 9}, {"prompt": [1]}])
def test_a_suffix_stands_with_a_whole_text_prompt_only(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": "x", "suffix": "y"} | other)
    assert caught.value.field == "suffix"


def test_prompts_times_best_of_are_bounded() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": ["x", "y"], "best_of": 65})
    assert caught.value.field == "best_of"


def test_text_parts_are_joined_and_other_parts_refused_by_place() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse(ChatRequest, {"messages": [{"role": "user", "content": parts}]})
    assert request.messages[0].text("f") == "ab"
    image = parse(ChatRequest, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
    with pytest.raises(InvalidArgument) as caught:
        image.messages[0].text("messages.0.content")
    assert caught.value.field == "messages.0.content"
