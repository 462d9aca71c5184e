"""A replica goes on with a stream from any record of its journal: the rest is, byte for byte, the rest."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from engine.gateway.sse import Sent
from engine.telemetry.meter import Usage
from tests.engine.conftest import Replica

pytestmark = pytest.mark.model
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = {"messages": [{"role": "user", "content": "Say something about the sea."}]}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "no seed": (TEXT, {"prompt": "Once", "temperature": 1.2}),
    "several prompts and choices": (TEXT, {"prompt": ["One", "Two"], "n": 2, "logprobs": 1}),
    "echo": (TEXT, {"prompt": "The sea", "echo": True, "logprobs": 1, "temperature": 0}),
    "usage apart": (CHAT, {**HELLO, "seed": 1, "stream_options": {"include_usage": True}}),
    "an end in the middle": (CHAT, {**HELLO, "temperature": 0, "stop": [",", "."]}),
    "JSON": (CHAT, {**HELLO, "response_format": {"type": "json_object"}}),
}


def groups(http: httpx.Client, path: str, body: dict[str, Any], journal: bytes = b"") -> list[tuple[str, bytes]]:
    """The stream's (events, record) pairs."""
    content = journal + json.dumps({"stream": True, "max_tokens": 24, **body}).encode()
    answer = http.post(path, content=content, headers={"x-firedeck-journal": str(len(journal))})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-firedeck-journal"] == "1"
    found, events = [], ""
    for event in answer.text.split("\n\n")[:-1]:
        if event.startswith(":"):
            found.append((events, event[1:].encode()))
            events = ""
        else:
            events += f"{event}\n\n"
    assert not events
    return found


def told(pairs: list[tuple[str, bytes]]) -> dict[int, list[Any]]:
    """What clients make of the events, choice by choice: a machine with much to do puts more into one event."""
    choices: dict[int, list[Any]] = {}
    for events, _ in pairs:
        for event in events.split("\n\n")[:-1]:
            if event == "data: [DONE]":
                choices.setdefault(-1, []).append(event)
                continue
            chunk = json.loads(event.removeprefix("data: "))
            shared = [chunk["id"], chunk["created"], chunk["model"]]
            choices[-2] = shared if choices.get(-2, shared) == shared else []
            if chunk.get("usage"):
                choices.setdefault(-3, []).append(chunk["usage"])
            for choice in chunk["choices"]:
                said = choices.setdefault(choice["index"], ["", [], []])
                delta = choice.get("delta", {})
                said[0] += choice.get("text") or delta.get("content") or ""
                said[1] += [name for name in ("role",) if name in delta] + [choice["finish_reason"]] * bool(
                    choice["finish_reason"]
                )
                logs = choice.get("logprobs") or {}
                said[2] += zip(logs.get("token_ids", []), logs.get("token_logprobs", []), strict=True)
    return choices


@pytest.mark.parametrize("name", BODIES)
def test_a_stream_goes_on_from_any_of_its_records(replica: Replica, name: str) -> None:
    path, body = BODIES[name]
    with replica.client() as http:
        whole = groups(http, path, body)
        for at in sorted({1, 2, len(whole) // 2, len(whole) - 1}):
            journal = b"".join(record + b";" for _, record in whole[:at] if record)
            rest = groups(http, path, body, journal)
            assert told([*whole[:at], *rest]) == told(whole), at


def test_a_journal_of_another_prompt_is_refused_before_anything_is_sent(replica: Replica) -> None:
    path, body = BODIES["no seed"]
    with replica.client() as http:
        journal = groups(http, path, body)[0][1] + b";"
        content = journal + json.dumps({"stream": True, "prompt": "Twice"}).encode()
        answer = http.post(path, content=content, headers={"x-firedeck-journal": str(len(journal))})
    assert answer.status_code == 400
    assert "not what it was" in answer.text


def test_what_cannot_be_gone_on_with_is_counted_and_says_so(replica: Replica) -> None:
    body = {"prompt": "Once", "stream": True, "max_tokens": 3, "mirostat_target": 4}
    with replica.client() as http:
        answer = http.post(TEXT, json=body, headers={"x-firedeck-journal": "0"})
        assert answer.headers["x-firedeck-journal"] == "0"
        assert int(answer.headers["x-firedeck-prompt-tokens"]) > 0
        sent = Sent()
        for line in answer.text.splitlines():
            if line.startswith(":"):
                sent.add(line[1:].encode())
        assert sent.used(Usage()).generated == 3
        plain = http.post(TEXT, json={**body, "mirostat_target": None})
        assert not any(line.startswith(":") for line in plain.text.splitlines())
