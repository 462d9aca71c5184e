"""`llm.chat.completions`: OpenAI's shape, streamed and awaited too, and how often a request is sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from client import retries
from client.config import Context
from client.errors import InvalidArgument, Unavailable
from client.http import Transport
from client.llm import LLM
from client.llm_options import BadArgument, LLMOptions
from client.sync import SyncClient

MODEL = "accounts/fireworks/models/m"
SERVERLESS = {"name": MODEL, "supportsServerless": True}
HELLO = [{"role": "user", "content": "Hello"}]
FRAME = {"id": "1", "created": 1, "model": MODEL}
WHOLE = FRAME | {
    "object": "chat.completion", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good day"}, "finish_reason": "stop"}],
}  # fmt: skip
OVERLOADED = httpx.Response(503, json={"error": {"message": "full", "code": "UNAVAILABLE"}})


def streamed(*pieces: str) -> httpx.Response:
    events = [FRAME | {"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return httpx.Response(200, text="".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def llm_of() -> Iterator[Callable[..., tuple[LLM, list[dict[str, Any]]]]]:
    """An LLM of a serverless model, whose requests get these answers in turn (the last one for ever), and the bodies
    that it has sent."""
    opened, headers = [], list[httpx.Headers]()

    def make(*answers: httpx.Response, **options: Any) -> tuple[LLM, list[dict[str, Any]]]:
        sent: list[dict[str, Any]] = []

        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(200, json=SERVERLESS)
            sent.append(json.loads(request.content))
            headers.append(request.headers)
            chosen = answers[min(len(sent), len(answers)) - 1]
            return httpx.Response(chosen.status_code, content=chosen.content, headers=dict(chosen.headers))

        client = SyncClient(
            Context("http://engine"), Transport("http://engine", "k", transport=httpx.MockTransport(answer))
        )
        opened.append(client)
        return LLM(MODEL, "serverless", client=client, **LLMOptions(**options)), sent

    make.headers = headers  # type: ignore[attr-defined]
    yield make
    for client in opened:
        client.close()


def test_an_answer_has_openais_shape(llm_of: Any) -> None:
    llm, sent = llm_of(httpx.Response(200, json=WHOLE), temperature=0.25, perf_metrics_in_response=True)
    answer = llm.chat.completions.create(messages=HELLO, max_tokens=8)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Good day", "stop")
    assert answer.usage.total_tokens == 5
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "temperature": 0.25, "perf_metrics_in_response": True}
    assert sent == [body]
    llm.chat.completions.create(messages=HELLO, temperature=1)
    assert sent[1]["temperature"] == 1, "a request's own field goes before the LLM's"


def test_a_stream_comes_piece_by_piece(llm_of: Any) -> None:
    llm, sent = llm_of(streamed("Good", " day"))
    pieces = [chunk.choices[0].delta.content for chunk in llm.chat.completions.create(messages=HELLO, stream=True)]
    assert pieces == ["Good", " day"]
    assert sent[0]["stream"] is True


async def test_both_can_be_awaited(llm_of: Any) -> None:
    llm, _ = llm_of(httpx.Response(200, json=WHOLE), streamed("Good", " day"))
    assert (await llm.chat.completions.acreate(messages=HELLO)).choices[0].message.content == "Good day"
    chunks = await llm.chat.completions.acreate(messages=HELLO, stream=True)
    assert [chunk.choices[0].delta.content async for chunk in chunks] == ["Good", " day"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_may_pass_is_tried_again_as_often_as_was_said(llm_of: Any, stream: bool) -> None:
    good = streamed("Good day") if stream else httpx.Response(200, json=WHOLE)
    llm, sent = llm_of(OVERLOADED, OVERLOADED, good, max_retries=2)
    answer = llm.chat.completions.create(messages=HELLO, stream=stream)
    assert (next(answer) if stream else answer).id == "1"
    assert len(sent) == 3
    llm, sent = llm_of(OVERLOADED, max_retries=2)
    with pytest.raises(Unavailable):
        list(llm.chat.completions.create(messages=HELLO, stream=stream))
    assert len(sent) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_headers_fields_and_a_timeout_are_given_as_openais_sdk_takes_them(llm_of: Any, stream: bool) -> None:
    llm, sent, headers = *llm_of(streamed("Good day") if stream else httpx.Response(200, json=WHOLE)), llm_of.headers
    made = llm.chat.completions.create(
        messages=HELLO, stream=stream, top_k=3, timeout=60, extra_headers={"x-session": "s"}, extra_body={"top_k": 4}
    )
    assert (next(made) if stream else made).id == "1"
    assert (headers[-1]["x-session"], sent[0]["top_k"]) == ("s", 4)
    assert not {"extra_headers", "extra_body", "timeout"} & sent[0].keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_query": {"a": "b"}}, {"retry": 3}, {"headers": {}}, {"max_retries": 1}, {"timeout": 0},
        {"timeout": float("nan")}, {"timeout": "1s"}, {"timeout": True},
    ],
)  # fmt: skip
def test_what_is_no_field_of_a_request_is_refused_by_name(llm_of: Any, wrong: dict[str, Any]) -> None:
    llm, sent = llm_of(httpx.Response(200, json=WHOLE))
    with pytest.raises(BadArgument) as refused:
        llm.chat.completions.create(messages=HELLO, **wrong)
    assert (next(iter(wrong)) in refused.value.text, bool(refused.value.hint), sent) == (True, True, [])


def test_what_is_wrong_is_not_tried_again(llm_of: Any) -> None:
    llm, sent = llm_of(httpx.Response(400, json={"error": {"message": "no", "code": "INVALID_ARGUMENT"}}))
    with pytest.raises(InvalidArgument):
        llm.chat.completions.create(messages=HELLO)
    assert len(sent) == 1


def test_a_stream_that_broke_is_not_begun_anew(llm_of: Any) -> None:
    broken = streamed("Good").text.replace("[DONE]", '{"error": {"message": "lost", "code": "UNAVAILABLE"}}')
    llm, sent = llm_of(httpx.Response(200, text=broken))
    chunks = llm.chat.completions.create(messages=HELLO, stream=True)
    assert next(chunks).choices[0].delta.content == "Good"
    with pytest.raises(Unavailable, match="lost"):
        next(chunks)
    assert len(sent) == 1


def test_metrics_are_the_mean_of_whole_answers_and_only_where_they_are_wanted(llm_of: Any) -> None:
    answers = httpx.Response(200, json=WHOLE)
    for wanted in (True, False):
        llm, _ = llm_of(answers, enable_metrics=wanted)
        assert llm.get_time_to_last_token_mean() is None
        llm.chat.completions.create(messages=HELLO)
        mean = llm.get_time_to_last_token_mean()
        assert (mean is not None and mean > 0) is wanted


@pytest.mark.parametrize("name", ["retry", "headers", "stream"])
def test_an_extra_body_has_fields_of_the_request_alone(llm_of: Any, name: str) -> None:
    llm, sent = llm_of(httpx.Response(200, json=WHOLE))
    with pytest.raises(BadArgument, match=name) as refused:
        llm.chat.completions.create(messages=HELLO, extra_body={name: True})
    assert (bool(refused.value.hint), sent) == (True, [])
