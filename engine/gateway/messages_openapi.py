"""The Messages API in the OpenAPI document of the inference API: operations are those of chat, in its own shapes."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from engine.gateway.messages_models import LIMIT, LIMIT_MAX, VERSION_HEADER
from engine.gateway.messages_request import CountRequest, MessagesRequest

Json = dict[str, Any]
_VERSION = "The client is one of Anthropic's: it is answered in the shapes of that API."
_PASSED_OVER = "Of Anthropic's list of models; without anthropic-version it is passed over."
_QUERY: Json = {
    "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT},
    "after_id": {"type": "string"}, "before_id": {"type": "string"}, "lifecycle": {"type": "string"},
}  # fmt: skip
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


class ListedModel(TypedDict):
    """What a request's `model` may be. From `deprecated_at` on it is not deployed anew."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active", "deprecated"]
    deprecated_at: str | None
    max_input_tokens: int | None
    max_tokens: int | None


class ListedModels(TypedDict):
    data: list[ListedModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


ANSWERS: tuple[Any, ...] = (AnsweredMessage, MessageEvent, TokensCount, ListedModel, ListedModels)


def in_its_own_shape(operations: Json) -> Json:
    """The operations of a path with this API's refusals and headers."""
    for operation in operations.values():
        for status, response in operation["responses"].items():
            response["headers"] = response["headers"] | REQUEST_ID
            if status != "200":
                response["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/MessagesError"}
    return operations


def also_in_its_own_shape(operations: Json, answer: str) -> Json:
    """The operations of a path that is answered in this API's shapes too: where a request has VERSION_HEADER."""
    for operation in operations.values():
        in_query = _QUERY if answer == ListedModels.__name__ else {}
        operation["parameters"] += [_parameter(VERSION_HEADER, "header", _VERSION, {"type": "string"})]
        operation["parameters"] += [_parameter(name, "query", _PASSED_OVER, of) for name, of in in_query.items()]
        for status, response in operation["responses"].items():
            response["headers"] = response["headers"] | REQUEST_ID
            content, own = response["content"]["application/json"], answer if status == "200" else "MessagesError"
            content["schema"] = {"anyOf": [content["schema"], {"$ref": f"#/components/schemas/{own}"}]}
    return operations


def _parameter(name: str, place: str, what: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": False, "description": what, "schema": schema}


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
