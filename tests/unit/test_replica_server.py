"""An error that nobody foresaw is answered in the envelope, counted and logged without the client's text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.replica.mailbox import Outbox
from engine.replica.server import App


class BrokenInference:
    def prepare(self, raw: bytes, *_args: Any, **_options: Any) -> Any:
        raise ZeroDivisionError(raw.decode())


class FakeRuntime:
    errors = 0

    def accepting(self) -> BrokenInference:
        return BrokenInference()

    def count_error(self) -> None:
        self.errors += 1


async def test_an_unforeseen_error_is_an_internal_error_in_the_envelope(caplog: pytest.LogCaptureFixture) -> None:
    runtime: Any = FakeRuntime()
    outbox: Any = Outbox
    app, sent = App(runtime, outbox, "k"), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"secret prompt"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer k"), (b"x-request-id", b"r1")]
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": headers}
    await app(scope, receive, send)
    assert sent[0]["status"] == 500
    answer = json.loads(sent[1]["body"])
    assert (answer["error"]["code"], answer["request_id"]) == ("INTERNAL", "r1")
    assert "secret" not in answer["error"]["message"]
    assert runtime.errors == 1
    assert "ZeroDivisionError" in caplog.text
    assert "prepare" in caplog.text
    assert "secret prompt" not in caplog.text
