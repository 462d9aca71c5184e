"""Anthropic's Messages API on the gateway: requests are read as chat completions, and answered as messages.

    verbs  bridged   the ways in and out of a request of this API; of any other as they are
    near   `engine.app` asks for each inference request, before anything can refuse it; `messages_request` and
           `messages_answer` know the two shapes

What lies between is a chat completion: guards, limits, cache, routing and accounting know nothing else. Counting tokens
goes to a replica, which makes the prompt and computes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from engine.asgi import Headers, Message, Receive, Scope, Send, parse_object, read_body
from engine.gateway.messages_answer import Events, error_of, message_of
from engine.gateway.messages_request import CountRequest, MessagesRequest, chat_of
from engine.replica.wire_types import validated
from engine.telemetry import tracing

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
CHAT = "/v1/chat/completions"
_PREFIX = "/inference"
_STREAM = b"text/event-stream"


def bridged(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """From here on the request is for CHAT, or for COUNT: `scope` says so too."""
    path = scope["path"].removeprefix(_PREFIX)
    if path not in (MESSAGES, COUNT):
        return receive, send
    if path == MESSAGES:
        scope["path"], scope["raw_path"] = CHAT, CHAT.encode()
    reading = _Reading(scope, receive, MessagesRequest if path == MESSAGES else CountRequest)
    return reading.receive, _Answering(send, counted=path == COUNT)


class _Reading:
    """`receive` whose body is a chat completion's. InvalidArgument out of it is the reader's to answer."""

    def __init__(self, scope: Scope, receive: Receive, kind: type[CountRequest]) -> None:
        self._scope, self._receive, self._kind = scope, receive, kind
        self._read = False

    async def receive(self) -> Message:
        if self._read:
            return await self._receive()  # that the client has gone
        self._read = True
        body = await read_body(self._scope, self._receive)
        asked = chat_of(validated(self._kind, parse_object(body)))
        return {"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}


class _Answering:
    """`send` that puts a chat completion's answer into this API's shape."""

    def __init__(self, send: Send, *, counted: bool) -> None:
        self._send, self._counted = send, counted
        self._start: Message = {}
        self._events: Events | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._events is not None:
            await self._send({**message, "body": self._events.feed(message.get("body", b""))})
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._whole()

    async def _begin(self, message: Message) -> None:
        headers: Headers = [(name.lower(), value) for name, value in message["headers"]]
        headers.append((b"request-id", tracing.request_id().encode()))  # as the SDK reads it
        self._start = {**message, "headers": headers}
        if dict(headers).get(b"content-type", b"").startswith(_STREAM):
            self._events = Events(tracing.request_id())
            await self._send(self._start)

    async def _whole(self) -> None:
        status, found = self._start["status"], json.loads(bytes(self._body))
        content = json.dumps(self._told(status, found)).encode()
        others = [one for one in self._start["headers"] if one[0] != b"content-length"]
        length = (b"content-length", str(len(content)).encode())
        await self._send({**self._start, "headers": [*others, length]})
        await self._send({"type": "http.response.body", "body": content})

    def _told(self, status: int, found: dict[str, Any]) -> dict[str, Any]:
        if status != 200:
            return error_of(status, found, tracing.request_id())
        return {"input_tokens": found["prompt_tokens"]} if self._counted else message_of(found)
