"""Chat completions as Anthropic's answers: whole, as events in any cut, and as refusals."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gateway.messages_answer import Events, error_of, message_of

FRAME = {"id": "chatcmpl-abc", "created": 1, "model": "m"}
USAGE = {
    "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 7}
}  # fmt: skip
TOLD = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 4}
CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}


def whole(finish: str = "stop", **said: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "Hello"} | said}
    return message_of(FRAME | {"choices": [choice | {"finish_reason": finish}], "usage": USAGE})


def test_a_whole_message() -> None:
    assert whole() == {
        "id": "msg_abc", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}], "usage": TOLD,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use")]
)
def test_why_it_ended(finish: str, reason: str) -> None:
    assert whole(finish)["stop_reason"] == reason
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}
    stopped = message_of(FRAME | {"choices": [choice]})
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "END")


def test_thoughts_text_and_calls_are_blocks_in_this_order() -> None:
    content = whole("tool_calls", reasoning_content="hm", tool_calls=[CALL])["content"]
    assert content == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bonn"}},
    ]
    assert whole("tool_calls", content=None, tool_calls=[CALL])["content"][0]["type"] == "tool_use"


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("", {}), ("{", {}), ('{"city": "Bo', {}), ('{"city": "Bonn", "days": [1, 2', {"city": "Bonn", "days": [1, 2]}),
        ("[1]", {}), ("no JSON", {}), ('{"a": NaN}', {}), ("[" * 100_000, {}),
    ],
)  # fmt: skip
def test_of_a_call_that_was_cut_off_there_is_what_is_whole(written: str, given: dict[str, Any]) -> None:
    call = CALL | {"function": {"name": "weather", "arguments": written}}
    found = whole("length", content=None, tool_calls=[call])
    assert (found["stop_reason"], found["content"][0]["input"]) == ("max_tokens", given)


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": more.pop("finish", None)} | more.pop("choice", {})
    return b"data: " + json.dumps(FRAME | {"choices": [choice]} | more).encode() + b"\n\n"


def called(index: int, **function: str) -> dict[str, Any]:
    """A piece of a call; the first has the name."""
    first = {"id": f"t{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, "function": function} | first]}


STREAM = b"".join(
    [
        chunk({"role": "assistant", "content": ""}), b": ping\n\n", chunk({"reasoning_content": "h"}),
        chunk({"reasoning_content": "m"}), chunk({"content": "Hel"}), chunk({"content": "lo"}),
        chunk(called(0, name="weather", arguments="")),
        chunk(called(0, arguments='{"city": "Bonn"}')), chunk(called(1, name="time", arguments="{}")),
        chunk(finish="tool_calls", usage=USAGE), b"data: [DONE]\n\n",
    ]
)  # fmt: skip


def events_of(stream: bytes) -> list[dict[str, Any]]:
    found = []
    for part in stream.split(b"\n\n")[:-1]:
        name, data = part.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        found.append(event)
    return found


def test_a_stream_opens_and_closes_each_block_and_ends_with_the_usage() -> None:
    events = events_of(Events("r").feed(STREAM))
    assert [(e["type"], e.get("index")) for e in events] == [
        ("message_start", None),
        ("content_block_start", 0), ("content_block_delta", 0), ("content_block_delta", 0), ("content_block_stop", 0),
        ("content_block_start", 1), ("content_block_delta", 1), ("content_block_delta", 1), ("content_block_stop", 1),
        ("content_block_start", 2), ("content_block_delta", 2), ("content_block_stop", 2),
        ("content_block_start", 3), ("content_block_delta", 3), ("content_block_stop", 3),
        ("message_delta", None), ("message_stop", None),
    ]  # fmt: skip
    assert [e["content_block"]["type"] for e in events if "content_block" in e] == [
        "thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert events[10]["delta"] == {"type": "input_json_delta", "partial_json": '{"city": "Bonn"}'}
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert events[-2]["usage"] == TOLD


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=8))
def test_how_a_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    events = Events("r")
    fed = b"".join(events.feed(STREAM[a:b]) for a, b in itertools.pairwise(places))
    assert fed == Events("r").feed(STREAM)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("INTERNAL", "api_error"), ("UNAVAILABLE", "overloaded_error"), ("GUARD_REFUSED", "invalid_request_error"),
     (None, "api_error")],
)  # fmt: skip
def test_an_error_ends_a_stream_as_an_event_of_its_type(code: str | None, kind: str) -> None:
    told = json.dumps({"error": {"message": "lost", "code": code}}).encode()
    events = events_of(Events("r").feed(chunk({"content": "Hel"}) + b"data: " + told + b"\n\n" + STREAM))
    assert events[-1] == {"type": "error", "error": {"type": kind, "message": "lost"}, "request_id": "r"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found_error"),
        (415, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
        (503, "overloaded_error"),
    ],
)  # fmt: skip
def test_refusals_have_the_documented_types(status: int, kind: str) -> None:
    told = error_of(status, {"error": {"message": "why", "code": "X"}}, "r")
    assert told == {"type": "error", "error": {"type": kind, "message": "why"}, "request_id": "r"}
