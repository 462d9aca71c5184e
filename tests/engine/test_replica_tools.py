"""Tools with a real model: forced calls are valid, streams say what bodies say, the official SDK reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engine.replica.tools.forced import MAX_CALLS
from tests import marked_model
from tests.engine.conftest import Replica, running

pytestmark = pytest.mark.model

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"enum": ["UTC", "CET"]}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    },
}


def chat(**fields: Any) -> dict[str, Any]:
    defaults = {"model": "m", "messages": [{"role": "user", "content": "What is the weather in Rome, in C?"}]}
    return defaults | {"temperature": 0, "max_tokens": 96, "tools": [WEATHER, TIME]} | fields


def ask(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


def chunks(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/v1/chat/completions", json=body | {"stream": True})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def joined(events: list[dict[str, Any]]) -> tuple[str, list[tuple[str, str]], str]:
    """Content, calls and finish_reason of a stream, merged as clients do it."""
    content, calls, reason = "", {}, ""
    for choice in (event["choices"][0] for event in events if event["choices"]):
        content += choice["delta"].get("content") or ""
        for piece in choice["delta"].get("tool_calls", []):
            call = calls.setdefault(piece["index"], ["", ""])
            call[0] += piece["function"].get("name", "")
            call[1] += piece["function"]["arguments"]
            assert ("id" in piece) == ("name" in piece["function"])
        reason = choice["finish_reason"] or reason
    return content, [(name, given) for name, given in calls.values()], reason


def check(name: str, arguments: str) -> None:
    """The arguments follow their function's schema."""
    given = json.loads(arguments)
    if name == "get_weather":
        assert set(given) == {"city", "unit"}
        assert isinstance(given["city"], str)
        assert len(given["city"]) <= 20
        assert given["unit"] in ("C", "F")
    else:
        assert name == "get_time"
        assert given in ({"zone": "UTC"}, {"zone": "CET"})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_required_call_is_made_and_follows_its_schema(client: httpx.Client, seed: int) -> None:
    choice = ask(client, chat(tool_choice="required", parallel_tool_calls=False, temperature=1, seed=seed))
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["type"] == "function"
    check(call["function"]["name"], call["function"]["arguments"])


def test_a_named_function_is_the_one_that_is_called(client: httpx.Client) -> None:
    choice = ask(client, chat(tool_choice={"type": "function", "function": {"name": "get_time"}}))
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_time"
    check(**call["function"])


def test_several_required_calls_all_follow_their_schemas(client: httpx.Client) -> None:
    choice = ask(client, chat(tool_choice="required", max_tokens=300))
    assert 2 <= len(choice["message"]["tool_calls"]) <= 8
    for call in choice["message"]["tool_calls"]:
        check(**call["function"])


def test_a_model_that_never_wants_to_end_is_stopped_after_eight_calls(client: httpx.Client) -> None:
    ends = {"0": -100, "2": -100}
    choice = ask(client, chat(tools=[TIME], tool_choice="required", max_tokens=None, logit_bias=ends))
    assert choice["finish_reason"] == "tool_calls"
    assert len(choice["message"]["tool_calls"]) == MAX_CALLS
    for call in choice["message"]["tool_calls"]:
        check(**call["function"])


@pytest.mark.parametrize("choice", ["required", "auto", "none"])
def test_a_stream_says_what_the_body_says(client: httpx.Client, choice: str) -> None:
    body = chat(tool_choice=choice, temperature=1, seed=7)
    whole = ask(client, body)
    content, calls, reason = joined(chunks(client, body))
    assert (whole["message"]["content"] or "", whole["finish_reason"]) == (content, reason)
    assert [tuple(call["function"].values()) for call in whole["message"].get("tool_calls", [])] == calls
    assert bool(calls) == (choice == "required") or choice == "auto"


def test_a_call_cut_off_by_the_limit_ends_by_length(client: httpx.Client) -> None:
    choice = ask(client, chat(tool_choice="required", max_tokens=20))
    assert choice["finish_reason"] == "length"


def test_a_call_and_its_result_go_back_into_the_conversation(client: httpx.Client) -> None:
    call = ask(client, chat(tool_choice="required", parallel_tool_calls=False))["message"]
    identifier = call["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": identifier, "content": "Sunny, 21 C <|im_end|>"}
    messages = [*chat()["messages"], call, result]
    choice = ask(client, chat(messages=messages, tools=None))
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")


def test_the_old_functions_are_answered_in_their_own_words(client: httpx.Client) -> None:
    body = chat(tools=None, functions=[WEATHER["function"]], function_call={"name": "get_weather"})
    choice = ask(client, body)
    assert choice["finish_reason"] == "function_call"
    check(**choice["message"]["function_call"])
    assert "tool_calls" not in choice["message"]


def test_logprobs_cover_every_token_of_a_streamed_call(client: httpx.Client) -> None:
    body = chat(tool_choice="required", parallel_tool_calls=False, logprobs=True)
    events = chunks(client, body)
    tokens = [item for e in events for item in (e["choices"][0].get("logprobs") or {}).get("content", [])]
    assert len(tokens) == events[-1]["usage"]["completion_tokens"]


@pytest.fixture(scope="module")
def marked_replica(tmp_path_factory: pytest.TempPathFactory, q4_0: Path) -> Iterator[Replica]:
    """A replica whose markers of calls and reasoning are control tokens."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "models").mkdir()  # beside the socket
    options = ("--context", "512", "--orphan-timeout", "3600")
    with running(folder, marked_model.write(q4_0, folder / "models" / "marked.gguf"), *options) as replica:
        yield replica


@pytest.fixture
def marked(marked_replica: Replica) -> Iterator[httpx.Client]:
    with marked_replica.client() as client:
        yield client


def test_markers_that_are_control_tokens_are_read_as_markers(marked: httpx.Client) -> None:
    body = chat(tool_choice="required", parallel_tool_calls=False, raw_output=True)
    body["logit_bias"] = {str(marked_model.CALL_BEGIN): 100, str(marked_model.CALL_END): 100}
    choice = ask(marked, body)
    (call,) = choice["message"]["tool_calls"]
    check(**call["function"])
    assert choice["raw_output"]["completion"].startswith("<tool_call>")
    tokens = choice["raw_output"]["completion_token_ids"]
    assert (tokens[0], tokens[-1]) == (marked_model.CALL_BEGIN, marked_model.CALL_END)
    assert joined(chunks(marked, body))[1] == [tuple(call["function"].values())]


def test_reasoning_that_the_prompt_opens_is_told_apart(marked: httpx.Client) -> None:
    body = chat(tools=None, reasoning_effort="high")
    thought = ask(marked, body | {"max_tokens": 12})["message"]
    assert thought["reasoning_content"]
    assert thought["content"] == ""
    # Nothing but the control token "</think>": it ends the reasoning and shows nowhere.
    closed = ask(marked, body | {"max_tokens": 4, "logit_bias": {str(marked_model.THINK_END): 100}})["message"]
    assert closed == {"role": "assistant", "content": ""}
    unthinking = ask(marked, chat(tools=None, reasoning_effort="none", max_tokens=4))["message"]
    assert unthinking["content"]
    assert "reasoning_content" not in unthinking


def test_reasoning_ends_at_its_limit_and_the_answer_follows(marked: httpx.Client) -> None:
    body = chat(tools=None, reasoning_effort=6, return_token_ids=True, max_tokens=16, ignore_eos=True)
    choice = ask(marked, body)
    assert choice["token_ids"].index(marked_model.THINK_END) == 6
    assert choice["message"]["reasoning_content"]
    assert choice["message"]["content"]
    formatted = ask(marked, body | {"response_format": {"type": "json_object"}})
    assert formatted["token_ids"].index(marked_model.THINK_END) == 6
    assert formatted["message"]["content"].startswith("{")


def test_a_response_format_holds_from_the_end_of_the_reasoning(marked: httpx.Client) -> None:
    body = chat(tools=None, reasoning_effort="high", response_format={"type": "json_object"}, max_tokens=12)
    thinking = ask(marked, body)["message"]
    assert thinking["content"] == ""
    assert not thinking["reasoning_content"].lstrip().startswith("{")
    # Biased to the control token "</think>" it ends the reasoning at once; the grammar allows the token nowhere else.
    answered = ask(marked, body | {"logit_bias": {str(marked_model.THINK_END): 100}})["message"]
    assert answered["content"].startswith("{")


def test_the_official_sdk_reads_a_streamed_call(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(
        model="accounts/local/deployments/shared",
        messages=[{"role": "user", "content": "What is the weather in Rome, in C?"}],
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=96,
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    function = final.message.tool_calls[0].function
    check(function.name, function.arguments)
    assert [(event.name, event.arguments) for event in done] == [(function.name, function.arguments)]
