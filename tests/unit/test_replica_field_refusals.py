"""Fields that are refused by name, with what to send instead."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import InvalidArgument
from engine.replica.fields import ChatRequest, CompletionRequest
from engine.replica.request_body import parse
from tests.unit.test_replica_fields import CHAT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: must not be empty"),
        ({"messages": None}, "messages: must be a list"),
        ({"messages": [{}]}, "messages.0.role: is required"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: must be text or a list"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages.0.content.0.text: must be text",
        ),
        ({"prediction": {"type": "content"}}, "prediction.content: is required"),
        ({"prediction": {"type": "z", "content": "a"}}, "prediction.type: must be 'content'"),
        ({"prediction": {"content": [{"type": "text"}]}}, "prediction.content.0.text: is required"),
        ({"prediction": 5}, "prediction: must be text or an object"),
        ({"logprobs": 50}, "logprobs: must be a whole number from 0 to 5, or true"),
        ({"logprobs": "a"}, "logprobs: must be a whole number from 0 to 5, or true"),
        ({"seed": "abc"}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"seed": 2**63}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"seed": True}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"max_tokens": "abc"}, "max_tokens: must be a whole number"),
        ({"max_tokens": 2**31}, f"max_tokens: must be less than {2**31}"),
        ({"n": 1.5}, "n: must be a whole number"),
        ({"temperature": "hot"}, "temperature: must be a number"),
        ({"temperature": 3}, "temperature: must be less than or equal to 2"),
        ({"stream": "yes"}, "stream: must be true or false"),
        ({"stop": ""}, "stop: must not be empty"),
        ({"stop": [5]}, "stop.0: must be text"),
        ({"response_format": "json"}, "response_format: must be an object"),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_send_in_the_words_of_the_wire(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | fields)
    assert caught.value.message == message
    assert caught.value.field == message.partition(":")[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prediction": "a", "speculation": "a"}, "speculation"),
        ({"prediction": {"type": "image", "content": "a"}}, "prediction.type"),
        ({"prediction": {"type": "content"}}, "prediction.content"),
        ({"prediction": "\ud800"}, "prediction"),
        ({"speculation": "\ud800"}, "speculation"),
        ({"speculation": [-1]}, "speculation"),
        ({"speculation": [True]}, "speculation"),
        ({"speculation": {}}, "speculation"),
        ({"disable_speculation": "yes"}, "disable_speculation"),
        ({"lora": [{"id": "a", "scale": 4.5}]}, "lora.0.scale"),
        ({"lora": [{"id": ""}]}, "lora.0.id"),
        ({"lora": [{"id": 0}]}, "lora.0.id"),
        ({"lora": [{"id": "a"}] * 9}, "lora"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"prompt_truncate_len": 5, "safe_tokenization": True}, "prompt_truncate_len"),
        ({"suffix": "x"}, "suffix"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"echo_last": -1}, "echo_last"),
        ({"logprobs": 6}, "logprobs"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | body)
    assert caught.value.field == field


def test_fields_of_later_versions_are_refused_by_name_unless_empty() -> None:
    assert parse(ChatRequest, CHAT | {"images": []})
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | {"images": ["x"]})
    assert caught.value.field == "images"


def test_fields_of_chat_are_refused_by_name_for_completions_unless_they_ask_for_nothing() -> None:
    assert parse(CompletionRequest, {"prompt": "x", "tools": [], "tool_choice": "none", "reasoning_effort": None})
    for field, value in [("tools", [{}]), ("functions", [{}]), ("tool_choice", "required"), ("reasoning_effort", 1)]:
        with pytest.raises(InvalidArgument) as caught:
            parse(CompletionRequest, {"prompt": "x", field: value})
        assert caught.value.field == field
