"""Anthropic's requests as the chat completions that they stand for, and what is refused by its field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.gateway.messages_request import CountRequest, MessagesRequest, chat_of
from engine.replica.fields import ChatRequest
from engine.replica.request_body import parse
from engine.replica.wire_types import validated
from tests.arbitrary import JSON

WEATHER = {
    "name": "weather",
    "description": "of a city",
    "input_schema": {"type": "object", "properties": {"city": {}}},
}
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}


def chat(**fields: Any) -> dict[str, Any]:
    return chat_of(validated(MessagesRequest, ASKED | fields))


def test_the_least_that_can_be_asked() -> None:
    assert chat() == {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}


def test_every_setting_has_its_name_there() -> None:
    found = chat(
        system=[{"type": "text", "text": "Be "}, {"type": "text", "text": "terse.", "cache_control": {}}],
        temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["END"], stream=True, metadata={"user_id": "ada"},
        thinking={"type": "enabled", "budget_tokens": 2048}, service_tier="auto", tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )  # fmt: skip
    assert found.pop("messages")[0] == {"role": "system", "content": "Be terse."}
    assert found == {
        "model": "m", "max_tokens": 8, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END"], "stream": True,
        "return_stop_reason": True, "user": "ada", "thinking": {"type": "enabled", "budget_tokens": 2048},
        "tools": [{"type": "function", "function": {"name": "weather", "description": "of a city",
                                                    "parameters": WEATHER["input_schema"]}}],
        "tool_choice": "required", "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"type": "object"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "there"),
    [
        ({"type": "auto"}, "auto"), ({"type": "none"}, "none"), ({"type": "any"}, "required"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)  # fmt: skip
def test_choices_of_tools(choice: dict, there: Any) -> None:
    assert chat(tools=[WEATHER], tool_choice=choice)["tool_choice"] == there


def test_a_conversation_with_calls_thoughts_and_results() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Rain?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bonn"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no such", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
    ]  # fmt: skip
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    assert chat(messages=turns)["messages"] == [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no such"},
        {"role": "user", "content": "And?"},
    ]


def turn(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}, {"role": "user", "content": "?"}]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": None}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences.0"), ({"stop_sequences": ["a"] * 5}, "stop_sequences"),
        ({"messages": []}, "messages"), ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "I"}]}, "messages.0.role"),
        (turn({"type": "image", "source": {}}), "messages.0.content"),
        (turn({"type": "tool_use", "id": "t"}, role="assistant"), "messages.0.content.0.name"),
        (turn({"type": "tool_result"}), "messages.0.content.0.tool_use_id"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"), ({"tool_choice": {"type": "all"}}, "tool_choice.type"),
        ({"system": [{"type": "image"}]}, "system"), ({"thinking": {"type": "on"}}, "thinking.type"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_its_field(fields: dict, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        chat(**fields)
    assert refused.value.field == field
    assert field in refused.value.message or refused.value.hint


def test_counting_needs_no_max_tokens() -> None:
    asked = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    assert chat_of(validated(CountRequest, asked)) == asked


@given(st.dictionaries(st.sampled_from([*MessagesRequest.model_fields, "anything"]), JSON))
def test_whatever_is_sent_is_refused_or_a_chat_completion_that_replicas_read_or_refuse(body: dict[str, Any]) -> None:
    try:
        parse(ChatRequest, chat_of(validated(MessagesRequest, ASKED | body)))
    except InvalidArgument as error:
        assert error.message  # noqa: PT017 - either outcome is fine
