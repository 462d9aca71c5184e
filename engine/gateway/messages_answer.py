"""Answers of chat completions, as Anthropic's Messages API gives them: whole, as events, and refusals. Pure.

    verbs  message_of, error_of   a whole answer, and an error in its envelope
           Events                 the same of a stream, fed with a chat completion's events as they come
    near   `engine.gateway.messages` sends them

Of a stream the prompt's tokens are known at its end: `message_start` has none, `message_delta` has them.
Source: https://docs.anthropic.com/en/api/messages, /messages-streaming, /errors
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from client.errors import from_response

Json = dict[str, Any]
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 408: "timeout_error", 413: "request_too_large", 429: "rate_limit_error",
    503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


def message_of(chat: Json) -> Json:
    """The whole message of a whole chat completion."""
    choice = chat["choices"][0]
    said, stopped_by = choice["message"], choice.get("stop_reason")
    content: list[Json] = []
    if said.get("reasoning_content"):
        content.append({"type": "thinking", "thinking": said["reasoning_content"], "signature": ""})
    if said.get("content"):
        content.append({"type": "text", "text": said["content"]})
    for call in said.get("tool_calls") or ():
        function = call["function"]
        content.append(_tool_use(call["id"], function["name"]) | {"input": _input_of(function["arguments"])})
    return _frame(chat) | {
        "content": content, "stop_reason": _stop_reason(choice["finish_reason"], stopped_by),
        "stop_sequence": stopped_by, "usage": usage_of(chat.get("usage") or {}),
    }  # fmt: skip


def usage_of(usage: Json) -> Json:
    """Tokens; those of the prompt that came from a cache are counted apart."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": (usage.get("prompt_tokens") or 0) - cached, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached, "output_tokens": usage.get("completion_tokens") or 0,
    }  # fmt: skip


def error_of(status: int, body: Json, request_id: str) -> Json:
    """A refusal of the inference API in the envelope of this one. A 5xx that is no overload is an api_error."""
    told = body.get("error")
    message = str(told.get("message")) if isinstance(told, dict) else f"HTTP {status}"
    kind = _ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


class Events:
    """Fed with the bytes of a chat completion's stream, whole events or not; gives those of a message."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._rest = b""
        self._begun = self._ended = False
        self._blocks = 0  # that were opened
        self._open: tuple[str, int] | None = None  # the kind of the open block, and of tools which call
        self._finish: str | None = None
        self._stopped_by: str | None = None
        self._usage: Json = {}

    def feed(self, chunk: bytes) -> bytes:
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        return b"".join(_written(event) for part in events for event in self._read(part))

    def _read(self, event: bytes) -> Iterator[Json]:
        if not event.startswith(b"data:") or self._ended:
            return
        data = event[5:].strip()
        if data == b"[DONE]":
            yield from self._end()
            return
        chat: Json = json.loads(data)
        if isinstance(chat.get("error"), dict):
            self._ended = True
            yield error_of(from_response(500, chat).status, chat, self._request_id)
            return
        self._usage = chat.get("usage") or self._usage
        if not self._begun:
            self._begun = True
            start: Json = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage_of({})}
            yield {"type": "message_start", "message": _frame(chat) | start}
        for choice in chat.get("choices") or ():
            yield from self._said(choice.get("delta") or {})
            self._finish = choice.get("finish_reason") or self._finish
            self._stopped_by = choice.get("stop_reason") or self._stopped_by

    def _said(self, delta: Json) -> Iterator[Json]:
        if delta.get("reasoning_content"):
            yield from self._opened("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": delta["reasoning_content"]})
        if delta.get("content"):
            yield from self._opened("text", {"type": "text", "text": ""})
            yield self._delta({"type": "text_delta", "text": delta["content"]})
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            opening = _tool_use(call.get("id"), function.get("name"))
            yield from self._opened("tool_use", opening, call.get("index") or 0)
            if function.get("arguments"):
                yield self._delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _opened(self, kind: str, block: Json, which: int = 0) -> Iterator[Json]:
        if self._open == (kind, which):
            return
        yield from self._closed()
        self._open, self._blocks = (kind, which), self._blocks + 1
        yield {"type": "content_block_start", "index": self._blocks - 1, "content_block": block}

    def _closed(self) -> Iterator[Json]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._blocks - 1}

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._blocks - 1, "delta": delta}

    def _end(self) -> Iterator[Json]:
        self._ended = True
        yield from self._closed()
        stopped = {"stop_reason": _stop_reason(self._finish, self._stopped_by), "stop_sequence": self._stopped_by}
        yield {"type": "message_delta", "delta": stopped, "usage": usage_of(self._usage)}
        yield {"type": "message_stop"}


def _frame(chat: Json) -> Json:
    identifier = f"msg_{str(chat.get('id')).rpartition('-')[2]}"
    return {"id": identifier, "type": "message", "role": "assistant", "model": chat.get("model")}


def _tool_use(identifier: str | None, name: str | None) -> Json:
    return {"type": "tool_use", "id": identifier, "name": name, "input": {}}


def _input_of(arguments: str) -> Json:
    """What a call was given, as an object; of one that `max_tokens` cut off, what of it is whole."""
    try:
        found = from_json(arguments or "{}", allow_partial=True, allow_inf_nan=False)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _stop_reason(finish: str | None, stopped_by: str | None) -> str:
    return "stop_sequence" if stopped_by is not None else _STOP_REASONS.get(finish or "stop", "end_turn")


def _written(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event, separators=(",", ":")).encode())
