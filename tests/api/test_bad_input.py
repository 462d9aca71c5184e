"""Bad input: each a clear error naming the field or the remedy, never a traceback, nothing lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import SHARED
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
DEPLOYMENTS = "/v1/accounts/local/deployments"
COMPLETIONS = "/inference/v1/completions"
CHAT = "/inference/v1/chat/completions"


@pytest.fixture
def http(engine: EngineProcess) -> Any:
    headers = {"Authorization": f"Bearer {engine.key}"}
    with httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_lost(http: httpx.Client) -> Any:
    """Whatever a test sends: the engine answers the next request, and has what it had."""
    before = {d["name"] for d in http.get(DEPLOYMENTS).json()["deployments"]}
    yield
    answer = http.post(COMPLETIONS, json={"model": DEPLOYMENT, "prompt": "Hi", "max_tokens": 1})
    assert answer.status_code == 200, answer.text
    assert {d["name"] for d in http.get(DEPLOYMENTS).json()["deployments"]} == before


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        pytest.param({"model": "accounts/fireworks/models/nope"}, 404, "model", id="unknown model"),
        pytest.param({"model": "accounts/local/deployments/nope"}, 404, "model", id="unknown deployment"),
        pytest.param({"model": f"{SMOLLM2}#accounts/else/deployments/{SHARED}"}, 404, "model", id="another account's"),
        pytest.param({"model": "../../etc/passwd"}, 404, "model", id="path traversal"),
        pytest.param({"model": 7}, 400, "model", id="model is a number"),
        pytest.param({"model": None}, 400, "model", id="no model"),
        pytest.param({"stream": "yes"}, 400, "stream", id="stream is a text"),
        pytest.param({"max_tokens": "12"}, 400, "max_tokens", id="max_tokens is a text"),
        pytest.param({"max_tokens": -1}, 400, "max_tokens", id="max_tokens below zero"),
        pytest.param({"temperature": 2.5}, 400, "temperature", id="temperature too high"),
        pytest.param({"temperature": True}, 400, "temperature", id="temperature is a bool"),
        pytest.param({"top_p": 1.5}, 400, "top_p", id="top_p too high"),
        pytest.param({"n": 129}, 400, "n", id="n too high"),
        pytest.param({"stop": ["a", "b", "c", "d", "e"]}, 400, "stop", id="five stops"),
        pytest.param({"logit_bias": {"99999999": 1}}, 400, "logit_bias", id="token out of range"),
        pytest.param({"prompt": None}, 400, "prompt", id="no prompt"),
        pytest.param({"prompt": {"a": 1}}, 400, "prompt", id="prompt is an object"),
        pytest.param({"prompt": [10**9]}, 400, "prompt", id="prompt token out of range"),
        pytest.param({"max_tokens": 1, "max_completion_tokens": 1}, 400, "max_completion_tokens", id="both limits"),
        pytest.param({"prompt": "word " * 5000}, 400, "prompt", id="prompt too long"),
    ],
)
def test_a_bad_inference_request_names_its_field(
    http: httpx.Client, fields: dict[str, Any], status: int, param: str
) -> None:
    body = {"model": DEPLOYMENT, "prompt": "Hi", "max_tokens": 1, **fields}
    answer = http.post(COMPLETIONS, json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["message"]
    assert "Traceback" not in answer.text


def test_an_unknown_model_is_told_in_the_words_the_sdk_looks_for(http: httpx.Client) -> None:
    answer = http.post(COMPLETIONS, json={"model": "nope", "prompt": "Hi"})
    assert "Model not found, inaccessible, and/or not deployed" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, DEPLOYMENTS])
@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff\xfe", b'{"a":' * 20_000, b"null", b'"text"'])
def test_a_body_that_is_no_json_object_is_a_400(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "JSON" in answer.text


def test_a_body_of_20_megabytes_is_refused(http: httpx.Client) -> None:
    answer = http.post(COMPLETIONS, json={"model": DEPLOYMENT, "prompt": "x" * (20 << 20)})
    assert answer.status_code == 413


@pytest.mark.parametrize("path", [COMPLETIONS, DEPLOYMENTS, "/v1/models", "/firedeck/v1/fleet", "/v1/accounts"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}])
def test_a_bad_or_missing_key_is_a_401_with_a_remedy(engine: EngineProcess, path: str, headers: dict[str, str]) -> None:
    method = "POST" if path == COMPLETIONS else "GET"
    answer = httpx.request(method, engine.context.base_url + path, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 401
    body = answer.json()
    message = body["error"]["message"] if "error" in body else body["message"]
    assert "key" in message


@pytest.mark.parametrize(
    ("body", "query", "status", "says"),
    [
        pytest.param({}, "", 400, "baseModel", id="no model"),
        pytest.param({"baseModel": "accounts/fireworks/models/nope"}, "", 404, "nope", id="unknown model"),
        pytest.param({"baseModel": SMOLLM2, "colour": 1}, "", 400, "colour", id="unknown field"),
        pytest.param({"baseModel": SMOLLM2, "minReplicaCount": "one"}, "", 400, "minReplicaCount", id="wrong type"),
        pytest.param({"baseModel": SMOLLM2, "minReplicaCount": -1}, "", 400, "minReplicaCount", id="negative"),
        pytest.param({"baseModel": SMOLLM2, "maxReplicaCount": 1001}, "", 400, "maxReplicaCount", id="too many"),
        pytest.param(
            {"baseModel": SMOLLM2, "minReplicaCount": 3, "maxReplicaCount": 2}, "", 400, "maxReplicaCount", id="max<min"
        ),
        pytest.param(
            {"baseModel": SMOLLM2, "autoscalingPolicy": {"scaleUpWindow": "2h"}}, "", 400,
            "autoscalingPolicy.scaleUpWindow", id="window too long",
        ),
        pytest.param(
            {"baseModel": SMOLLM2, "autoscalingPolicy": {"scaleUpWindow": "soon"}}, "", 400,
            "autoscalingPolicy.scaleUpWindow", id="not a duration",
        ),
        pytest.param(
            {"baseModel": SMOLLM2, "autoscalingPolicy": {"loadTargets": {"cpu": 1}}}, "", 400, "cpu", id="target"
        ),
        pytest.param(
            {"baseModel": SMOLLM2, "draftModel": SMOLLM2, "ngramSpeculationLength": 3, "draftTokenCount": 4}, "", 400,
            "ngramSpeculationLength", id="draft model together with n-gram",
        ),
        pytest.param({"baseModel": SMOLLM2, "draftModel": SMOLLM2}, "", 400, "draftTokenCount", id="no token count"),
        pytest.param({"baseModel": SMOLLM2, "acceleratorType": "TPU"}, "", 400, "acceleratorType", id="accelerator"),
        pytest.param({"baseModel": SMOLLM2}, "?deploymentId=Bad_Id", 400, "deploymentId", id="bad id"),
        pytest.param({"baseModel": SMOLLM2}, f"?deploymentId={SHARED}", 409, "already exists", id="id taken"),
        pytest.param({"baseModel": SMOLLM2, "maxContextLength": 10**6}, "", 400, "maxContextLength", id="context"),
    ],
)  # fmt: skip
def test_a_bad_deployment_names_its_field(
    http: httpx.Client, body: dict[str, Any], query: str, status: int, says: str
) -> None:
    answer = http.post(DEPLOYMENTS + query, json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["message"] or says in str(answer.json()["details"])
    assert answer.json()["code"] == {400: answer.json()["code"], 404: 5, 409: 6}[status]


def test_a_taken_id_tells_the_sdk_not_to_try_again(http: httpx.Client) -> None:
    answer = http.post(f"{DEPLOYMENTS}?deploymentId={SHARED}", json={"baseModel": SMOLLM2})
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{DEPLOYMENTS}/nope", None, 404),
        ("PATCH", f"{DEPLOYMENTS}/nope", {"description": "x"}, 404),
        ("DELETE", f"{DEPLOYMENTS}/nope", None, 404),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}:scale", {"replicaCount": 9}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}:scale", {"replicaCount": "2"}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}:scale", {"replicas": 2}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}:scale", {}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}", {"state": "DELETED"}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}", {"name": "accounts/local/deployments/other"}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}", {"region": "EU_FRANKFURT_1", "description": "x"}, 400),
        ("POST", DEPLOYMENTS, {"baseModel": SMOLLM2, "region": "EU_FRANKFURT_1"}, 400),
        ("PATCH", f"{DEPLOYMENTS}/{SHARED}", {"baseModel": "accounts/fireworks/models/gemma-3-270m"}, 400),
        ("POST", f"{DEPLOYMENTS}/{SHARED}:undelete", {}, 400),
        ("GET", f"{DEPLOYMENTS}?pageSize=abc", None, 400),
        ("GET", f"{DEPLOYMENTS}?pageToken=abc", None, 400),
        ("GET", f"{DEPLOYMENTS}?filter=%3D%3D", None, 400),
        ("GET", "/v1/accounts/other/deployments", None, 403),
        ("POST", "/v1/accounts/fireworks/deployments", {"baseModel": SMOLLM2}, 403),
        ("GET", "/v1/accounts/local/nowhere", None, 404),
        ("GET", "/inference/v1/accounts/local/nowhere", None, 404),
        ("GET", "/firedeck/v1/nowhere", None, 404),
        ("PUT", DEPLOYMENTS, {}, 405),
    ],
)
def test_a_wrong_control_call_is_refused(http: httpx.Client, method: str, path: str, body: Any, status: int) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]
    assert answer.json()["code"] in {3, 5, 7, 9, 12}


@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("PUT", DEPLOYMENTS, "GET, POST"), ("PUT", f"{DEPLOYMENTS}/{SHARED}", "DELETE, GET, PATCH"),
        ("DELETE", "/firedeck/v1/nodes", "GET"),
    ],
)  # fmt: skip
def test_a_refused_method_is_told_every_method_of_the_path(
    http: httpx.Client, method: str, path: str, methods: str
) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert f"use {methods}" in answer.json()["message"]


@pytest.mark.parametrize("prefix", ["/v1", "/inference/v1"])
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", b"", 404, "NOT_FOUND"),
        ("POST", "/responses", b"{}", 501, "UNIMPLEMENTED"),
        ("POST", "/chat/completions/", b"{}", 404, "NOT_FOUND"),
        ("POST", "/accountsandmore", b"{}", 404, "NOT_FOUND"),
        ("GET", "/models/nope", b"", 404, "NOT_FOUND"),
        ("GET", "/chat/completions", b"", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/embeddings", b"", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/models", b"{}", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/completions", b"{", 400, "INVALID_ARGUMENT"),
        ("POST", "/rerank", b"\xff", 400, "INVALID_ARGUMENT"),
        ("POST", "/embeddings", b"[]", 400, "INVALID_ARGUMENT"),
    ],
)
def test_whatever_is_wrong_with_an_inference_call_comes_in_one_envelope(
    http: httpx.Client, prefix: str, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    answer = http.request(method, prefix + path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["request_id"] == answer.headers["x-request-id"]
    assert set(told["error"]) == {"message", "type", "code", "param"}
    assert (told["error"]["type"], told["error"]["code"]) == ("error", code)


def test_a_file_that_is_no_gguf_is_refused_with_the_reason(http: httpx.Client, tmp_path: Any) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04 not a model")
    for path in (file, tmp_path / "missing.gguf", tmp_path):
        answer = http.post("/firedeck/v1/accounts/local/models", json={"modelId": "own", "file": str(path)})
        assert answer.status_code == 400, answer.text
        assert path.name in answer.json()["message"]
    assert (
        "GGUF"
        in http.post("/firedeck/v1/accounts/local/models", json={"modelId": "own", "file": str(file)}).json()["message"]
    )
