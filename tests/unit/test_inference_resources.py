"""The typed data plane: what is answered has attributes, and a request is sent again while that can do no harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from client import errors, retries
from client.config import Context
from client.http import Transport
from client.resources import Client
from client.retries import Attempts, Retry, again_in_s
from client.sync import SyncClient

CONTEXT = Context("http://engine", "k")
HELLO = [{"role": "user", "content": "Hello"}]
FRAME = {"id": "1", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHAT = FRAME | {"choices": [{"index": 0, "message": {"content": "Good day"}}], "usage": USAGE, "ours": 1}
TEXT = FRAME | {"object": "text_completion", "choices": [{"index": 0, "text": " day"}], "usage": USAGE}
VECTORS = {"model": "m", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
MESSAGE = {
    "id": "1", "model": "m", "content": [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "Good day"}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
EVENTS = [
    {"type": "message_start", "message": MESSAGE | {"content": []}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good day"}},
    {"type": "message_stop"},
]
FULL = (503, {"error": {"message": "full", "code": "UNAVAILABLE"}})
Answer = tuple[int, Any] | Exception | list[dict[str, Any]]


class Body(httpx.AsyncByteStream):
    """Events, and then nothing: the end, a broken connection, or no end at all."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self.events:
            if event == "broken":
                raise httpx.ReadError("reset")
            if event == "silence":
                await asyncio.sleep(3600)
            yield f"data: {json.dumps(event)}\n\n".encode()


class Engine:
    """Answers in turn, the last one for ever, and keeps what was sent."""

    def __init__(self, *answers: Any, **headers: str) -> None:
        self.answers, self.headers, self.sent = list(answers), headers, list[dict[str, Any]]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append({"path": request.url.path, **json.loads(request.content)})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, list):
            return httpx.Response(200, stream=Body(answer))
        return httpx.Response(
            answer[0], json=answer[1], headers={k.replace("_", "-"): v for k, v in self.headers.items()}
        )

    def transport(self) -> Transport:
        return Transport("http://engine", "k", transport=httpx.MockTransport(self))

    def client(self) -> Client:
        return Client(CONTEXT, self.transport())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)


async def test_whole_answers_have_attributes_also_those_that_nobody_named() -> None:
    client = Engine((200, CHAT), (200, TEXT), (200, VECTORS), (200, MESSAGE)).client()
    chat = await client.chat.create("m", HELLO, max_tokens=8)
    assert (chat.choices[0].message.content, chat.usage and chat.usage.total_tokens) == ("Good day", 5)
    assert chat.ours == 1  # type: ignore[attr-defined]
    assert (await client.completions.create("m", "Good")).choices[0].text == " day"
    assert (await client.embeddings.create("m", ["Good"])).data[0].embedding == [0.5]
    assert (await client.messages.create("m", HELLO, 8)).text == "Good day"


async def test_what_is_sent_is_what_was_given() -> None:
    engine = Engine((200, CHAT), (200, VECTORS), (200, MESSAGE))
    client = engine.client()
    await client.chat.create("m", HELLO, max_tokens=8, tools=[])
    await client.embeddings.create("m", "a")
    await client.messages.create("m", HELLO, 8, system="s")
    assert engine.sent == [
        {"path": "/inference/v1/chat/completions", "model": "m", "messages": HELLO, "max_tokens": 8, "tools": []},
        {"path": "/inference/v1/embeddings", "model": "m", "input": "a"},
        {"path": "/inference/v1/messages", "model": "m", "messages": HELLO, "max_tokens": 8, "system": "s"},
    ]


async def test_streams_come_piece_by_piece_in_every_shape() -> None:
    pieces = [FRAME | {"choices": [{"index": 0, "delta": {"content": part}}]} for part in ("Good", " day")]
    engine = Engine(pieces, [TEXT], EVENTS)
    client = engine.client()
    assert [c.choices[0].delta.content async for c in client.chat.stream("m", HELLO)] == ["Good", " day"]
    assert [c.choices[0].text async for c in client.completions.stream("m", "Good")] == [" day"]
    events = [event async for event in client.messages.stream("m", HELLO, 8)]
    assert [event.type for event in events] == ["message_start", "content_block_delta", "message_stop"]
    assert events[1].delta is not None
    assert events[1].delta.text == "Good day"
    assert all(body["stream"] is True for body in engine.sent)


def test_code_without_an_event_loop_has_the_same() -> None:
    engine = Engine(FULL, (200, CHAT), [TEXT, TEXT], EVENTS)
    with SyncClient(CONTEXT, engine.transport()) as client:
        assert client.chat.create("m", HELLO).choices[0].message.content == "Good day"
        assert [c.choices[0].text for c in client.completions.stream("m", "Good")] == [" day", " day"]
        assert next(iter(client.messages.stream("m", HELLO, 8))).type == "message_start"


LIMITED = (429, {"error": {"message": "slower", "code": "RESOURCE_EXHAUSTED"}})


@pytest.mark.parametrize("failure", [FULL, LIMITED, httpx.ConnectError("refused"), httpx.ReadError("reset")])
async def test_what_may_pass_is_sent_again_and_not_for_ever(failure: Any) -> None:
    engine = Engine(failure, failure, (200, CHAT))
    assert (await engine.client().chat.create("m", HELLO)).id == "1"
    assert len(engine.sent) == 3
    engine = Engine(failure)
    with pytest.raises((errors.Unavailable, errors.ResourceExhausted)):
        await engine.client().chat.create("m", HELLO, retry=Retry(retries=4))
    assert len(engine.sent) == 5


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 501])
async def test_what_will_not_pass_is_sent_once(status: int) -> None:
    engine = Engine((status, {"error": {"message": "no"}}))
    with pytest.raises(errors.FiredeckError):
        await engine.client().chat.create("m", HELLO)
    assert len(engine.sent) == 1


async def test_a_stream_is_sent_again_until_its_first_piece_is_here_and_never_after() -> None:
    piece = FRAME | {"choices": [{"index": 0, "delta": {"content": "Good"}}]}
    engine = Engine(FULL, ["broken"], [piece])
    assert [c.choices[0].delta.content async for c in engine.client().chat.stream("m", HELLO)] == ["Good"]
    assert len(engine.sent) == 3
    engine = Engine([piece, "broken"], [piece])
    chunks = engine.client().chat.stream("m", HELLO)
    assert (await anext(chunks)).choices[0].delta.content == "Good"
    with pytest.raises(errors.Unavailable):
        await anext(chunks)
    assert len(engine.sent) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_ends_what_does_not_end_by_itself(stream: bool) -> None:
    soon = Retry(deadline=timedelta(milliseconds=50))
    completions = Engine(["silence"]).client().completions
    asked = anext(completions.stream("m", "x", retry=soon)) if stream else completions.create("m", "x", retry=soon)
    with pytest.raises(errors.DeadlineExceeded, match="within 50ms"):
        await asked


async def test_a_wait_that_would_pass_the_deadline_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def slept(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(retries.asyncio, "sleep", slept)
    hour = Attempts(Retry(deadline=timedelta(hours=1)))
    await hour.pause(errors.Unavailable("x", retry_after_s=60.0))
    with pytest.raises(errors.Unavailable):
        await hour.pause(errors.Unavailable("x", retry_after_s=7200.0))
    assert [60.0 <= wait <= 66.0 for wait in waits] == [True]


def test_the_wait_between_tries_doubles_up_to_a_bound_and_a_servers_word_is_its_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.5)
    for attempt, most in ((0, 0.5), (1, 1.0), (4, 8.0), (9, 8.0)):
        wait_s = again_in_s(errors.Unavailable("x"), attempt)
        assert wait_s is not None
        assert 0.75 * most <= wait_s <= most
    told = {again_in_s(errors.Unavailable("x", retry_after_s=42.0), 0) for _ in range(50)}
    assert len(told) > 1, "who were told the same do not come together"
    assert all(wait is not None and 42.0 <= wait <= 46.2 for wait in told)


async def test_an_answer_of_another_kind_is_one_of_our_errors() -> None:
    make: Callable[[], Client] = Engine((200, {"hello": 1})).client
    with pytest.raises(errors.FiredeckError, match="no ChatCompletion"):
        await make().chat.create("m", HELLO, retry=Retry(0))
