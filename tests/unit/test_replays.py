"""Kept answers: one that was asked for whole and one that was streamed come back in either form, and say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gateway.replays import events_of, kept_form, plain, replayed

texts = st.text(max_size=12)
choices = st.lists(st.tuples(texts, texts, st.sampled_from(["stop", "length"])), min_size=1, max_size=3)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 2}}
PERF = {"prompt-tokens": 7, "cached-prompt-tokens": 7}


def whole_of(said: list[tuple[str, str, str]], *, chat: bool) -> dict[str, Any]:
    parts = []
    for index, (text, thought, finish) in enumerate(said):
        message = {"role": "assistant", "content": text} | ({"reasoning_content": thought} if thought else {})
        parts.append({"index": index, "finish_reason": finish, **({"message": message} if chat else {"text": text})})
    kind = "chat.completion" if chat else "text_completion"
    return {"id": "x-1", "object": kind, "created": 5, "model": "as-asked", "choices": parts, "usage": USAGE}


def shown(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found


@given(choices, st.booleans(), st.booleans())
def test_a_whole_answer_streamed_and_joined_again_is_the_same_answer(said, chat, usage_apart) -> None:
    whole = whole_of(said, chat=chat)
    kept = kept_form(json.dumps(whole).encode(), stream=False, plain=True)
    assert kept is not None
    fields = {"model": "again", "stream_options": {"include_usage": usage_apart}}
    sent = replayed(kept, fields, {}, stream=True, plain=True)
    events = events_of(sent)
    assert events is not None
    assert sent.endswith(b"data: [DONE]\n\n")
    assert {event["model"] for event in events} == {"again"}
    assert [bool(event.get("usage")) for event in events] == [False] * (len(events) - 1) + [True]
    assert (events[-1]["choices"] == []) == usage_apart
    joined = kept_form(sent, stream=True, plain=True)
    assert joined is not None
    all_cached = USAGE | {"prompt_tokens_details": {"cached_tokens": 7}}
    assert shown(joined) == whole | {"model": "again", "usage": all_cached}
    assert shown(replayed(kept, {"model": "m"}, PERF, stream=False, plain=True)) == whole | {
        "model": "m", "usage": all_cached
    }  # fmt: skip


def stream_of(*events: dict[str, Any], done: bool = True) -> bytes:
    ended = [b"data: [DONE]\n\n"] if done else []
    return b"".join([*(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events), *ended])


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


@pytest.mark.parametrize(
    ("sent", "stream"),
    [
        (stream_of(chunk({"content": "x"}), chunk({}, "stop", usage=USAGE), done=False), True),
        (stream_of(chunk({"content": "x"}), {"error": {"message": "ended"}}), True),
        (stream_of(chunk({"content": "x"}), chunk({}, usage=USAGE)), True),
        (stream_of(chunk({"content": "x"}), chunk({}, "stop")), True),
        (stream_of(chunk({"tool_calls": [{"index": 0}]}), chunk({}, "stop", usage=USAGE)), True),
        (b"", True), (b"data: {\n\ndata: [DONE]\n\n", True), (b"", False), (b"[]", False), (b"{}", False),
        (b'{"choices": [{"index": 0, "finish_reason": null}], "usage": {}}', False),
    ],
)  # fmt: skip
def test_what_is_not_whole_or_says_more_than_text_is_not_kept(sent: bytes, stream: bool) -> None:
    assert kept_form(sent, stream=stream, plain=True) is None


def test_a_stream_of_more_than_text_is_replayed_as_it_was_sent() -> None:
    ended = chunk({}, "tool_calls", usage=USAGE, perf_metrics={"generation-duration": 2.5})
    events = [chunk({"tool_calls": [{"index": 0, "id": "c"}]}), ended]
    kept = kept_form(stream_of(*events), stream=True, plain=False)
    assert kept is not None
    found = events_of(replayed(kept, {"model": "m"}, PERF, stream=True, plain=False))
    assert found is not None
    assert found[0] == events[0]
    assert found[1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 7}
    assert found[1]["perf_metrics"] == PERF, "a replica's are not the hit's"


@pytest.mark.parametrize(
    "fields", [{"logprobs": 0}, {"tools": []}, {"best_of": 2}, {"echo": True}, {"return_token_ids": True}]
)
def test_options_that_change_the_form_of_an_answer_are_told(fields) -> None:
    assert not plain(fields)
    assert plain({"logprobs": False, "tools": None, "temperature": 0})
