"""The OpenAPI document of the inference API, and whether engine and replica keep to it: generated requests, right and
wrong ones. None is answered by a status that is not documented, or by a 5xx, and the next good one is answered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import DEFAULT_MAX_STREAM_EVENTS
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from client import errors
from engine.gateway.documented_headers import GENERATED, POOLED
from engine.gateway.messages_request import CountRequest, MessagesRequest
from engine.gateway.openapi import PATH
from engine.replica.fields import ChatRequest, CompletionRequest
from engine.replica.pooling_fields import EmbeddingRequest, RerankRequest
from tests.api.hostile import GOOD, MODEL
from tests.api.test_hostile import good
from tests.documented import check_headers, no_failure
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
EXAMPLES, SOAK_EXAMPLES = 5, 200  # of each operation, in each way, streamed and not
SOAK = (pytest.mark.soak, pytest.mark.timeout(7200))
LABELS = (
    "POST /chat/completions", "POST /completions", "POST /embeddings", "POST /rerank", "POST /messages",
    "POST /messages/count_tokens", "GET /models", "GET /models/{model}", "GET /responses", "POST /responses",
    "GET /responses/{response}", "DELETE /responses/{response}",
)  # fmt: skip
NOT_OFFERED = ("POST", "/responses")
NOT_FOUND = {("GET", "/responses/{response}"), ("DELETE", "/responses/{response}")}
CHECKS = [no_failure({NOT_OFFERED}), status_code_conformance, content_type_conformance, response_schema_conformance]
MOST_TOKENS, MOST_CHOICES = 4, 2  # thousands are legal, and take minutes
REQUESTS = (ChatRequest, CompletionRequest, EmbeddingRequest, RerankRequest, MessagesRequest, CountRequest)
STREAMED = {"POST /chat/completions": "ChatCompletionChunk", "POST /completions": "CompletionChunk"}
STREAM_EVENTS_MAX = 10_000  # schemathesis takes 20 and leaves, unless told: an answer's `[DONE]` may come after them
TOO_LATE = {"x-request-timeout"}  # a 504 is what this asks for: other tests do
MODELS = [MODEL, SMOLLM2]
SOME_TEXT = {"type": "string", "minLength": 1}
SOME_TEXTS = {"type": "array", "items": SOME_TEXT, "minItems": 1, "maxItems": 2}
SOME_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 49_000}, "minItems": 1}


@pytest.fixture
def http(engine: EngineProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {engine.key}"}
    with httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as client:
        yield client


def operation_of(http: httpx.Client, label: str, stream: bool) -> APIOperation:
    """As documented, but with models that are there, and where the document cannot say what is right, with what is:
    texts that are not empty, tokens that there are, arguments that are JSON, no results of calls that nobody made.
    Whether answers are streamed is given, since few of a handful of generated requests would ask for it."""
    found: dict[str, Any] = http.get(PATH).json()
    schemas = found["components"]["schemas"]
    schemas["CompletionRequest"]["properties"]["prompt"] = {"anyOf": [SOME_TEXT, SOME_TOKENS, SOME_TEXTS]}
    schemas["EmbeddingRequest"]["properties"]["input"] = {"anyOf": [SOME_TEXT, SOME_TOKENS, SOME_TEXTS]}
    schemas["CalledFunction"]["properties"]["arguments"] = {"type": "object"}
    schemas["ContentPart"] = {"type": "object", "required": ["type"], "properties": {
        "type": {"const": "text"}, "text": {"type": "string"},
    }}  # fmt: skip
    schemas["ChatRequest"]["properties"]["messages"]["maxItems"] = 4
    schemas["Message"]["anyOf"] = [
        one for one in schemas["Message"]["anyOf"] if not {"tool", "function"} & {*one["properties"]["role"]["enum"]}
    ]
    schemas["Block"]["properties"] = {"type": {"const": "text"}, "text": {"type": "string"}}
    schemas["Block"]["required"] = ["type", "text"]
    for body in schemas.keys() & {kind.__name__ for kind in REQUESTS}:
        if "stream" in schemas[body]["properties"]:
            schemas[body]["required"].append("stream")
            schemas[body]["properties"]["stream"] = {"const": stream}
        schemas[body]["properties"]["model"] = {"enum": MODELS}
    found["paths"]["/models/{model}"]["get"]["parameters"][0]["schema"] = {"enum": [*MODELS, "nope"]}
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [one for one in operation["parameters"] if one["name"] not in TOO_LATE]
    config = SchemathesisConfig.from_dict({"max-stream-events": STREAM_EVENTS_MAX})
    every = [result.ok() for result in schemathesis.openapi.from_dict(found, config=config).get_all_operations()]
    assert sorted(one.label for one in every) == sorted(LABELS)
    return next(one for one in every if one.label == label)


def whole(value: Any) -> Any:
    """1.0 is an integer to JSON Schema, and none to the engine."""
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def bounded(body: Any, label: str) -> Any:
    """Ask for little, where the request asks for what is legal; what is wrong stays as wrong as it was."""
    body = whole(body)
    if not isinstance(body, dict) or not label.endswith(("completions", "/messages")):
        return body
    for field, most, legal in (
        ("max_tokens", MOST_TOKENS, 2**31), ("max_completion_tokens", MOST_TOKENS, 2**31),
        ("n", MOST_CHOICES, 129), ("best_of", MOST_CHOICES, 129),
    ):  # fmt: skip
        value = body.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and most < value < legal:
            body[field] = most
    if label.endswith("completions") and body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        body["max_tokens"] = MOST_TOKENS
    return body


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(SOAK_EXAMPLES, marks=SOAK)])
def test_inference_keeps_to_its_document(engine: EngineProcess, http: httpx.Client, label: str, examples: int) -> None:
    right, kinds = good(http), list[str]()
    operations = [operation_of(http, label, stream) for stream in ((False, True) if label in STREAMED else (False,))]
    statuses = [
        status for operation in operations for mode in GenerationMode
        for status in fuzz(operation, mode, engine, examples, kinds)
    ]  # fmt: skip
    print(f"{len(statuses)} requests: { {one: found.count(one) for found in (statuses, kinds) for one in {*found}} }")
    if examples > EXAMPLES:  # so many that some are right, and some of those are streams
        assert label not in STREAMED or {*kinds} == {"application/json", "text/event-stream"}
        assert 200 in statuses or label == "POST /rerank"  # the shared model is no reranker
    assert good(http) == right


def fuzz(
    operation: APIOperation, mode: GenerationMode, engine: EngineProcess, examples: int, kinds: list[str]
) -> list[int]:
    """Send a bounded number of examples of one operation; statuses of their answers; into `kinds` their types."""
    statuses = []
    chunks = validator(operation.schema.raw_schema, STREAMED.get(operation.label, "Error"))

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        case.body = bounded(case.body, operation.label)
        answer = case.call_and_validate(checks=CHECKS, **way_to(engine))
        assert not answer.stream_cut_short, f"it has not ended after {STREAM_EVENTS_MAX} events or {PATIENCE_S} s"
        check_headers(case.method, operation.path, answer.status_code, answer.headers)
        statuses.append(answer.status_code)
        kinds.append(answer.headers["content-type"][0].partition(";")[0])
        if kinds[-1] == "text/event-stream":
            check_stream(answer.text, chunks)

    with contextlib.suppress(Unsatisfiable):  # an operation that takes nothing cannot be asked wrongly
        send()
    return statuses


def way_to(engine: EngineProcess) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return {"base_url": f"{engine.context.base_url}/inference/v1", "headers": headers, "timeout": PATIENCE_S}


@pytest.mark.parametrize("label", STREAMED)
def test_a_generated_request_reads_its_stream_to_the_end_however_many_events_it_has(
    engine: EngineProcess, http: httpx.Client, label: str
) -> None:
    operation = operation_of(http, label, stream=True)
    body = GOOD[f"/inference/v1{operation.path}"] | {"stream": True, "n": 2, "max_tokens": 40, "ignore_eos": True}
    answer = operation.Case(body=body, media_type="application/json").call(**way_to(engine))
    assert answer.text.count("data: ") > DEFAULT_MAX_STREAM_EVENTS
    check_stream(answer.text, validator(operation.schema.raw_schema, STREAMED[label]))


def document(http: httpx.Client) -> dict[str, Any]:
    found = http.get(PATH, headers={"Authorization": ""})  # it needs no key
    assert found.status_code == 200
    return dict(found.json())


def validator(found: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": found["components"]})


def test_the_document_is_openapi_3_1_and_has_every_field_that_a_replica_reads(http: httpx.Client) -> None:
    found = document(http)
    assert found["openapi"] == "3.1.0"
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for kind in REQUESTS:
        named = {field.alias or name for name, field in kind.model_fields.items()}
        assert named <= schemas[kind.__name__]["properties"].keys()
        assert "model" in schemas[kind.__name__]["required"]


def test_every_error_that_there_is_is_documented_but_those_of_other_methods_and_of_creating(http: httpx.Client) -> None:
    every = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.FiredeckError)}
    every -= {errors.FiredeckError, errors.MethodNotAllowed, errors.AlreadyExists, errors.Unimplemented}
    for path in ("/chat/completions", "/completions", "/embeddings", "/rerank"):
        responses = document(http)["paths"][path]["post"]["responses"]
        told = {
            (int(status), code)
            for status, response in responses.items() if status != "200"
            for code in response["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"][
                "properties"
            ]["code"]["enum"]
        }  # fmt: skip
        assert told == {(one.status, one.inference_code or one.name) for one in every}


@pytest.mark.parametrize("prefix", ["/inference/v1", "/v1"])
def test_every_documented_path_is_served_below_both_prefixes(http: httpx.Client, prefix: str) -> None:
    found = document(http)
    assert prefix in [server["url"] for server in found["servers"]]
    for path, operations in found["paths"].items():
        for method in operations:
            body = GOOD.get(f"/inference/v1{path}", {})
            place, route = prefix + path.format(model=MODEL, response="x"), (method.upper(), path)
            answer = http.request(method, place, json=body if method == "post" else None)
            kind = "reranker" if path == "/rerank" else None  # the shared model is none
            expected = 501 if route == NOT_OFFERED else 404 if route in NOT_FOUND else 200
            assert (answer.status_code == expected) != (kind is not None and kind in answer.text), answer.text
        assert http.request("PUT", place, json={}).status_code == 405


WORDS = {
    "chat": ("/chat/completions", "ChatCompletionChunk", {"logprobs": True, "return_token_ids": True}),
    "tools": ("/chat/completions", "ChatCompletionChunk", {
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required", "max_tokens": 40,
    }),
    "usage apart": ("/completions", "CompletionChunk", {"stream_options": {"include_usage": True}}),
    "legacy logprobs": ("/completions", "CompletionChunk", {"logprobs": 2, "echo": True, "raw_output": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_streams_and_whole_answers_are_as_described(http: httpx.Client, name: str) -> None:
    path, event, fields = WORDS[name]
    found, body = document(http), GOOD[f"/inference/v1{path}"] | {"max_tokens": 3} | fields
    answer = http.post(f"/v1{path}", json=body)
    assert answer.status_code == 200, answer.text
    validator(found, event.removesuffix("Chunk")).validate(answer.json())
    stream = http.post(f"/v1{path}", json=body | {"stream": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    check_stream(stream.text, validator(found, event))


def check_stream(text: str, chunks: Draft202012Validator) -> None:
    *events, last, rest = text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    assert events
    for one in events:
        chunks.validate(json.loads(one.removeprefix("data: ")))


@pytest.mark.parametrize("path", ["/chat/completions", "/completions", "/embeddings"])
def test_every_header_of_an_answer_is_documented_and_those_of_its_figures_are_there(
    http: httpx.Client, path: str
) -> None:
    answer = http.post(f"/v1{path}", json=GOOD[f"/inference/v1{path}"])
    check_headers("post", path, answer.status_code, answer.headers)
    metrics = {name for name in answer.headers if name.startswith("fireworks-")}
    assert metrics >= POOLED.keys()
    only_with_drafts = {name for name in GENERATED if "speculation" in name}
    assert path == "/embeddings" or metrics >= GENERATED.keys() - only_with_drafts


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("ChatRequest", {"temperature": 3}, "temperature"), ("ChatRequest", {"seed": 2**63}, "seed"),
    ("ChatRequest", {"n": 129}, "n"), ("ChatRequest", {"messages": []}, "messages"),
    ("ChatRequest", {"suffix": "x"}, "suffix"), ("ChatRequest", {"tool_choice": 5}, "tool_choice"),
    ("ChatRequest", {"reasoning_effort": -1}, "reasoning_effort"), ("ChatRequest", {"images": ["x"]}, "images"),
    ("CompletionRequest", {"logprobs": 6}, "logprobs"), ("CompletionRequest", {"tools": [{}]}, "tools"),
    ("CompletionRequest", {"prompt": [[]]}, "prompt"), ("CompletionRequest", {"prompt": ["x"] * 129}, "prompt"),
    ("CompletionRequest", {"speculation": [-1]}, "speculation"), ("CompletionRequest", {"model": ""}, "model"),
    ("EmbeddingRequest", {"input": []}, "input"), ("EmbeddingRequest", {"dimensions": 0}, "dimensions"),
    ("EmbeddingRequest", {"prompt_template": "x"}, "prompt_template"),
]  # fmt: skip
ROUTES = {
    "ChatRequest": "/inference/v1/chat/completions", "CompletionRequest": "/inference/v1/completions",
    "EmbeddingRequest": "/inference/v1/embeddings",
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "field"), WRONG)
def test_what_the_document_forbids_the_engine_refuses_by_that_field(
    http: httpx.Client, name: str, fields: dict[str, Any], field: str
) -> None:
    found, right = document(http), GOOD[ROUTES[name]]
    validator(found, name).validate(right)
    assert not validator(found, name).is_valid(right | fields)
    answer = http.post(ROUTES[name], json=right | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    validator(found, "Error").validate(answer.json())
