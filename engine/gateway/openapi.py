"""The OpenAPI 3.1 document of the inference API.

Requests are described by the very models that replicas validate them with (`engine.replica.fields`, `pooling_fields`)
and by the tables of what is refused beside them; errors by the classes that are raised.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from client.errors import (
    AddonNotLoaded,
    BadGateway,
    DeadlineExceeded,
    FailedPrecondition,
    FiredeckError,
    GuardRefused,
    HeadTooLarge,
    Internal,
    InvalidArgument,
    KeyRefused,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RequestTimeout,
    ResourceExhausted,
    ScalingUp,
    SpendLimitExceeded,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    UnsupportedMediaType,
)
from engine.gateway import documented_headers as headers
from engine.gateway import messages_openapi
from engine.gateway.answer_types import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    CompletionChunk,
    Embeddings,
    KeptResponses,
    Ranking,
    ServedModel,
    ServedModels,
)
from engine.replica.fields import ROLES_WITH, ChatRequest, CompletionRequest
from engine.replica.pooling_fields import NOT_WITH_EMBEDDINGS, NOT_WITH_RERANK, EmbeddingRequest, RerankRequest
from engine.replica.request_body import NOT_YET, ONLY_CHAT
from engine.version import VERSION

# What pydantic leaves in its own words where something else checks before a bound does.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
PATH = "/firedeck/v1/inference/openapi.json"
Json = dict[str, Any]

_READ: tuple[type[FiredeckError], ...] = (
    InvalidArgument, Unauthenticated, PermissionDenied, NotFound, RequestTimeout, HeadTooLarge, Internal, Unavailable,
)  # fmt: skip
_INFER: tuple[type[FiredeckError], ...] = (
    *_READ, FailedPrecondition, GuardRefused, SpendLimitExceeded, KeyRefused, AddonNotLoaded, PayloadTooLarge,
    UnsupportedMediaType, ResourceExhausted, BadGateway, ScalingUp, DeadlineExceeded,
)  # fmt: skip
_WHAT = {
    400: "The request is wrong, or a guard of the account refuses it",
    401: "The key is missing, wrong, revoked or expired",
    402: "The account has spent what it may this month",
    403: "The key may not do this, was refused for a while by a guard, or the request comes from a web page",
    404: "No such model is deployed",
    408: "The request took too long to come",
    412: "The adapter could not be loaded",
    413: "The body is over 8 MiB",
    415: "The body is not application/json",
    429: "A limit of the account or the key, or the deployment's queue is full",
    431: "The head of the request is too large",
    500: "An error of the engine's own",
    501: "Not available on this engine",
    502: "What a replica sent is no answer",
    503: "No replica can answer now, or the engine is full or being stopped",
    504: "What the client gave its request as time (x-request-timeout) was over",
}
_TEXT: Json = {"type": "string"}
_NONE: Json = {}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
_REQUESTS: dict[str, type[BaseModel]] = {
    "ChatRequest": ChatRequest, "CompletionRequest": CompletionRequest, "EmbeddingRequest": EmbeddingRequest,
    "RerankRequest": RerankRequest, **messages_openapi.REQUESTS,
}  # fmt: skip
_ANSWERS: tuple[Any, ...] = (
    ChatCompletion, ChatCompletionChunk, Completion, CompletionChunk, Embeddings, Ranking, ServedModel, ServedModels,
    KeptResponses, *messages_openapi.ANSWERS,
)  # fmt: skip
# Fields that are refused unless they have one of these values.
_REFUSED: dict[str, dict[str, Iterable[Any]]] = {
    "ChatRequest": {**NOT_YET, "suffix": (None, "")},
    "CompletionRequest": {**NOT_YET, **ONLY_CHAT},
    "EmbeddingRequest": dict.fromkeys(NOT_WITH_EMBEDDINGS, (None,)),
    "RerankRequest": dict.fromkeys(NOT_WITH_RERANK, (None,)),
}


@functools.cache
def document() -> Json:
    """The document, made once."""
    own, also = messages_openapi.in_its_own_shape, messages_openapi.also_in_its_own_shape
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "firedeck inference",
            "version": VERSION,
            "description": (
                "Fireworks' and OpenAI's inference API. Unknown fields are passed over. Another method than those here "
                f"is answered by {MethodNotAllowed.status}, an unknown path by {NotFound.status}, in the same envelope."
                " No path has a query parameter, but for the list of models in Anthropic's shape: any that is sent is"
                " passed over, as by Fireworks and OpenAI."
            ),
        },
        "servers": [{"url": "/inference/v1"}, {"url": "/v1"}],
        "security": [{name: []} for name in _KEYS],
        "paths": {
            "/chat/completions": _infer("Chat", "ChatRequest", "ChatCompletion", "ChatCompletionChunk"),
            "/completions": _infer("Complete a text", "CompletionRequest", "Completion", "CompletionChunk"),
            "/embeddings": _infer("Embed texts", "EmbeddingRequest", "Embeddings"),
            "/rerank": _infer("Order documents by relevance", "RerankRequest", "Ranking"),
            "/messages": own(_infer("Create a message", "MessagesRequest", "AnsweredMessage", "MessageEvent")),
            "/messages/count_tokens": own(_infer("Count the tokens of a prompt", "CountRequest", "TokensCount")),
            "/responses": _read("List responses: there are none", "KeptResponses")
            | _missing("post", "Create a response: not offered", Unimplemented),
            "/responses/{response}": _missing("get", "Get a response: there is none", NotFound, _path("response"))
            | _missing("delete", "Delete a response: there is none", NotFound, _path("response")),
            "/models": also(_read("List what can be asked", "ServedModels"), "ListedModels"),
            "/models/{model}": also(_read("Get one of them", "ServedModel", _path("model")), "ListedModel"),
        },
        "components": {"schemas": _schemas(), "securitySchemes": _KEYS},
    }


def _infer(summary: str, request: str, answer: str, event: str | None = None) -> Json:
    generates = event is not None
    every = headers.LIMITS | (headers.CACHE if generates else {})
    good = headers.GENERATED | headers.AGE | headers.STREAM if generates else headers.POOLED
    operation = _operation(summary, answer, _INFER, every, good)
    if event is not None:
        operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": _events(event)}
    body = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
    parameters = [
        {"name": name, "in": "header", "required": False, "description": what, "schema": schema}
        for name, (what, schema) in headers.SENT.items()
    ]
    return {"post": {**operation, "requestBody": body, "parameters": parameters}}


def _events(event: str) -> Json:
    """One event of a stream, as its parser gives it."""
    chunk = {"contentMediaType": "application/json", "contentSchema": {"anyOf": [_ref(event), _ref("Error")]}}
    return {
        "type": "object",
        "description": "With `stream`: each event. The last is [DONE], or an error after which nothing comes.",
        "required": ["data"],
        "properties": {"data": {"anyOf": [{"const": "[DONE]"}, {"type": "string", "pattern": "^[{]", **chunk}]}},
    }


def _read(summary: str, answer: str, *parameters: Json) -> Json:
    return {"get": {**_operation(summary, answer, _READ), "parameters": list(parameters)}}


def _missing(verb: str, summary: str, error: type[FiredeckError], *parameters: Json) -> Json:
    """What is always refused, with this error where nothing else is wrong."""
    operation = _operation(summary, "Error", dict.fromkeys((*_READ, error)))
    del operation["responses"]["200"]
    return {verb: {**operation, "parameters": list(parameters)}}


def _operation(
    summary: str, answer: str, errors: Iterable[type[FiredeckError]], every: Json = _NONE, good: Json = _NONE
) -> Json:
    """`every`: headers of any answer, `good`: of those with 200."""
    told = headers.ALWAYS | every
    content = {"application/json": {"schema": _ref(answer)}}
    whole = {"description": summary, "headers": told | good, "content": content}
    codes: dict[int, list[str]] = {}
    for error in errors:
        codes.setdefault(error.status, []).append(error.inference_code or error.name)
    return {
        "summary": summary,
        "tags": ["inference"],
        "responses": {"200": whole} | {str(status): _refusal(status, codes[status], told) for status in sorted(codes)},
    }


def _refusal(status: int, codes: list[str], told: Json) -> Json:
    one_of = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    retry = headers.RETRY if status in (403, 429, 503) else {}
    return {
        "description": _WHAT[status],
        "headers": told | retry | (headers.SHOULD_RETRY if status in (429, 501) else {}),
        "content": {"application/json": {"schema": {"allOf": [_ref("Error"), one_of]}}},
    }


def _path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> Json:
    described: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        *((name, "validation", TypeAdapter[Any](kind)) for name, kind in _REQUESTS.items()),
        *((kind.__name__, "serialization", TypeAdapter[Any](kind)) for kind in _ANSWERS),
    ]
    _, found = TypeAdapter.json_schemas(described, by_alias=True, ref_template="#/components/schemas/{model}")
    schemas: Json = _in_words_of_json_schema(found["$defs"])
    del schemas["ToolChoice"]  # what the forms of a choice are read into
    schemas["Message"] = _by_role(schemas["Message"])
    for name in _REQUESTS:
        _as_the_gateway_takes_it(name, schemas[name])
    return schemas | {"Error": _envelope(), "MessagesError": messages_openapi.envelope()}


def _in_words_of_json_schema(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {_BOUNDS.get(key, key): _in_words_of_json_schema(value) for key, value in schema.items()}
    return [_in_words_of_json_schema(one) for one in schema] if isinstance(schema, list) else schema


def _by_role(message: Json) -> Json:
    """One schema for all roles that may have the same fields. Only the assistant may leave its text out."""
    roles: dict[tuple[str, ...], list[str]] = {}
    for role in message["properties"]["role"]["enum"]:
        none_of = tuple(field for field, of in ROLES_WITH.items() if role not in of)
        roles.setdefault(none_of, []).append(role)
    kinds = []
    for none_of, alike in roles.items():
        fields = {**message["properties"], "role": {"enum": alike}} | {field: {"type": "null"} for field in none_of}
        required = message["required"]
        if "assistant" not in alike:
            text = [form for form in fields["content"]["anyOf"] if form != {"type": "null"}]
            fields["content"], required = {"anyOf": text}, [*required, "content"]
        kinds.append({"type": "object", "properties": fields, "required": required})
    return {"description": message["description"], "anyOf": kinds}


def _as_the_gateway_takes_it(name: str, schema: Json) -> None:
    """A replica needs no model, its gateway does; and what is refused by name is no field of the model."""
    schema["properties"]["model"] = {
        "type": "string",
        "minLength": 1,
        "description": (
            "A deployment (accounts/ID/deployments/NAME), a model on one (MODEL#DEPLOYMENT) or a model alone, an"
            " adapter (MODEL#DEPLOYMENT, or its deployed model), or a router (accounts/ID/routers/NAME), which sends"
            " the request to one of its deployments. Deployments and models have short forms; /models lists all."
        ),
    }
    schema["required"] = list(dict.fromkeys(["model", *schema.get("required", [])]))
    for field, harmless in _REFUSED.get(name, {}).items():
        schema["properties"][field] = {"enum": list(harmless), "description": "Nothing else is supported here."}


def _envelope() -> Json:
    error = {
        "type": "object",
        "required": ["message", "type", "code", "param"],
        "additionalProperties": False,
        "properties": {
            "message": {"type": "string", "minLength": 1, "description": "Ends with the remedy, in parentheses."},
            "type": {"const": "error"},
            "code": {"type": "string"},
            "param": {"type": ["string", "null"], "description": "The field at fault."},
        },
    }
    return {
        "type": "object",
        "description": "OpenAI's envelope, with Fireworks' request_id.",
        "required": ["error", "request_id"],
        "additionalProperties": False,
        "properties": {"error": error, "request_id": _TEXT},
    }
