"""Anthropic's Messages API on the gateway: requests are read as chat completions, and answered as messages.

    verbs  bridged   the ways in and out of a request of this API; of any other as they are
    near   `engine.app` asks for each inference request, before anything can refuse it; `messages_request` and
           `messages_answer` know the two shapes, `messages_models` that of the list of models

What lies between is a chat completion: guards, limits, cache, routing and accounting know nothing else. Counting tokens
goes to a replica, which makes the prompt and computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from client.errors import InvalidArgument
from engine.asgi import Headers, Message, Receive, Scope, Send, parse_object, read_body
from engine.gateway import messages_models
from engine.gateway.messages_answer import Events, error_of, message_of
from engine.gateway.messages_request import CountRequest, MessagesRequest, chat_of
from engine.replica.wire_types import validated
from engine.telemetry import metrics, tracing

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
CHAT = "/v1/chat/completions"
_PREFIX = "/inference"
_STREAM = b"text/event-stream"


def bridged(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """From here on a message's request is for CHAT: `scope` says so too."""
    path = scope["path"].removeprefix(_PREFIX)
    if messages_models.asked(scope, path):
        page = partial(messages_models.page_of, query=scope["query_string"].decode("latin-1"))
        return receive, _Answering(send, page if path == messages_models.MODELS else messages_models.info_of)
    if path == COUNT:
        return _Reading(scope, receive, CountRequest).receive, _Answering(send, _count_of)
    if path != MESSAGES:
        return receive, send
    scope["path"], scope["raw_path"] = CHAT, CHAT.encode()
    return _Reading(scope, receive, MessagesRequest).receive, _Answering(send, message_of)


def _count_of(found: dict[str, Any]) -> dict[str, Any]:
    return {"input_tokens": found["prompt_tokens"]}


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
    """`send` that puts what is answered into this API's shape: `told` what is answered whole."""

    def __init__(self, send: Send, told: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._send, self._told = send, told
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
        body, self._body = bytes(self._body), bytearray()  # should this fail, the error that follows begins anew
        status, told = self._answer(self._start["status"], json.loads(body))
        content = json.dumps(told).encode()
        others = [one for one in self._start["headers"] if one[0] != b"content-length"]
        length = (b"content-length", str(len(content)).encode())
        await self._send({**self._start, "status": status, "headers": [*others, length]})
        await self._send({"type": "http.response.body", "body": content})

    def _answer(self, status: int, found: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        request_id = tracing.request_id()
        if status != 200:
            return status, error_of(status, found, request_id)
        try:
            return status, self._told(found)
        except InvalidArgument as error:
            tracing.refused(error)
            metrics.refused(error)
            return error.status, error_of(error.status, error.inference_body(request_id), request_id)
