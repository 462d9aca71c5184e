"""The Messages API in the OpenAPI document of the inference API: operations are those of chat, in its own shapes."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from engine.gateway.messages_request import CountRequest, MessagesRequest

Json = dict[str, Any]
REQUESTS: dict[str, type[BaseModel]] = {"MessagesRequest": MessagesRequest, "CountRequest": CountRequest}
REQUEST_ID: Json = {"request-id": {"description": "x-request-id, as this API names it", "schema": {"type": "string"}}}
ERRORS = (
    "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
    "timeout_error", "request_too_large", "rate_limit_error", "overloaded_error", "api_error",
)  # fmt: skip


class AnsweredBlock(TypedDict):
    """Text, a thought, or the use of a tool."""

    type: Literal["text", "thinking", "tool_use"]
    text: NotRequired[str]
    thinking: NotRequired[str]
    signature: NotRequired[str]
    id: NotRequired[str]
    name: NotRequired[str]
    input: NotRequired[dict[str, Any]]


class MessageUsage(TypedDict):
    """Tokens. Those that a cache spared are not among `input_tokens`."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class AnsweredMessage(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnsweredBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"] | None
    stop_sequence: str | None
    usage: MessageUsage


class MessageEvent(TypedDict):
    """One event of a stream, named by its type; the last is `message_stop`, or an `error`."""

    type: Literal[
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop", "error",
    ]  # fmt: skip


class TokensCount(TypedDict):
    input_tokens: int


ANSWERS: tuple[Any, ...] = (AnsweredMessage, MessageEvent, TokensCount)


def in_its_own_shape(operations: Json) -> Json:
    """The operations of a path with this API's refusals and headers."""
    for operation in operations.values():
        for status, response in operation["responses"].items():
            response["headers"] = response["headers"] | REQUEST_ID
            if status != "200":
                response["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/MessagesError"}
    return operations


def envelope() -> Json:
    error = {
        "type": "object",
        "required": ["type", "message"],
        "properties": {"type": {"enum": list(ERRORS)}, "message": {"type": "string", "minLength": 1}},
    }
    return {
        "type": "object",
        "description": "A refusal, in the envelope of the Messages API.",
        "required": ["type", "error", "request_id"],
        "properties": {"type": {"const": "error"}, "error": error, "request_id": {"type": "string"}},
    }
