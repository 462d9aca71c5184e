"""The OpenAPI document, and whether the control plane keeps to it: no 5xx, no hang, answers as described."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engine.unoffered import OPERATIONS
from tests.documented import no_failure
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
DOCUMENT = "/firedeck/v1/openapi.json"
ENDLESS = "/firedeck/v1/fleet:watch"
# A value that the narrowed schema forbids may be a right one for the engine, and start hundreds of processes.
STARTS_REPLICAS = {
    ("POST", "/v1/accounts/{account}/deployments"), ("PATCH", "/v1/accounts/{account}/deployments/{deployment_id}"),
}  # fmt: skip
EXAMPLES, SOAK_EXAMPLES = 2, 200  # of each operation, in each way
SOAK = (pytest.mark.soak, pytest.mark.timeout(7200))
PARTS = 4  # of the operations: all of them take a minute, and a busy machine stretches a minute beyond a test's time
NOT_OFFERED = {(one.method, one.path) for one in OPERATIONS if one.outcome == "unimplemented"}
CHECKS = [no_failure(NOT_OFFERED), status_code_conformance, content_type_conformance, response_schema_conformance]
KNOWN = {
    "account": ["local", "fireworks", "alice"], "deployment_id": ["fuzz", "nope"], "shape_id": ["-", "nope"],
    "model_id": ["smollm2-135m-instruct", "up", "nope"], "version_id": ["v1", "v2"],
    "router_id": ["fuzz", "nope"],
}  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine of its own, with a deployment that has no replica and a model that waits for its file."""
    engine = EngineProcess(tmp_path_factory.mktemp("fuzzed")).start()
    with client_of(engine) as http:
        body = {"baseModel": SMOLLM2, "maxReplicaCount": 0}
        http.post("/v1/accounts/local/deployments?deploymentId=fuzz", json=body).raise_for_status()
        http.post("/v1/accounts/local/models", json={"modelId": "up"}).raise_for_status()
        routes = {"weighted": {"targets": [{"deployment": "fuzz", "weight": 1}]}}
        http.post("/firedeck/v1/accounts/local/routers?routerId=fuzz", json=routes).raise_for_status()
    yield engine
    assert not engine.replicas()
    engine.stop()


def client_of(engine: EngineProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S)


def document(engine: EngineProcess) -> dict[str, Any]:
    """The document, with ids that exist and with deployments that never have a replica."""
    with client_of(engine) as http:
        found: dict[str, Any] = http.get(DOCUMENT).json()
    for operations in found["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in KNOWN:
                    parameter["schema"] = {"type": "string", "enum": KNOWN[parameter["name"]]}
    spec = found["components"]["schemas"]["DeploymentSpec"]
    spec["properties"] |= {
        "baseModel": {"enum": [SMOLLM2, "nope"]}, "minReplicaCount": {"const": 0}, "maxReplicaCount": {"const": 0}
    }  # fmt: skip
    spec["required"] = ["baseModel", "minReplicaCount", "maxReplicaCount"]
    return found


def operations(engine: EngineProcess) -> list[APIOperation]:
    schema = schemathesis.openapi.from_dict(document(engine))
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path != ENDLESS]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(SOAK_EXAMPLES, marks=SOAK)])
def test_the_control_plane_keeps_to_its_document(own: EngineProcess, part: int, examples: int) -> None:
    asked = {}
    for operation in (mine := operations(own)[part::PARTS]):
        careful = (operation.method.upper(), operation.path) in STARTS_REPLICAS
        for mode in list(GenerationMode)[: 1 if careful else 2]:
            asked[operation.label, mode] = fuzz(operation, mode, own, examples)
    print(f"{sum(asked.values())} requests to {len(mine)} operations")
    assert mine
    assert all(asked[label, mode] for label, mode in asked if mode is GenerationMode.POSITIVE)
    with client_of(own) as http:
        assert http.get("/v1/accounts/local/deployments").status_code == 200


def fuzz(operation: APIOperation, mode: GenerationMode, engine: EngineProcess, examples: int) -> int:
    """Send a bounded number of examples of one operation; how many there were."""
    sent = 0

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(
            base_url=engine.context.base_url, headers={"Authorization": f"Bearer {engine.key}"}, checks=CHECKS,
            timeout=PATIENCE_S,
        )  # fmt: skip

    with contextlib.suppress(Unsatisfiable):  # an operation that takes nothing cannot be asked wrongly
        send()
    return sent


def test_the_document_is_openapi_3_1_and_describes_every_route(own: EngineProcess) -> None:
    with client_of(own) as http:
        found = http.get(DOCUMENT).json()
        assert http.get("/openapi.json").json() == found
    assert found["openapi"].startswith("3.1")
    for name, schema in found["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert "HTTPValidationError" not in name
    summaries = []
    for path, operations_of in found["paths"].items():
        for method, operation in operations_of.items():
            assert operation["responses"]["default"]["content"]["application/json"], (method, path)
            assert ("501" in operation["responses"]) == ((method.upper(), path) in NOT_OFFERED), (method, path)
            assert operation.get("description"), (method, path)
            summaries.append(operation["summary"])
    assert {"Create Deployment", "Create Model", "Create Model (firedeck's own)", "List Api Keys"} <= set(summaries)
    assert len(summaries) == len(set(summaries)), "no two operations go by one name"
    deployment = found["components"]["schemas"]["Deployment"]["properties"]
    assert "NVIDIA_H200_141GB" in str(deployment["acceleratorType"])
    assert found["components"]["schemas"]["DeploymentSpec"]["additionalProperties"] is False


UNKNOWN = ["/v1/accounts/local/nothing", "/firedeck/v1/nothing", "/", "/v1/accounts/local/models/a/b"]


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_path_is_a_404_in_the_one_shape_with_a_remedy(own: EngineProcess, path: str) -> None:
    with client_of(own) as http:
        answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"code": 5, "message": f"no such path ({DOCUMENT} lists all paths)", "details": []}


def test_every_route_answers_a_wrong_method_in_the_one_shape_with_those_it_has(own: EngineProcess) -> None:
    with client_of(own) as http:
        for path, operations_of in http.get(DOCUMENT).json()["paths"].items():
            plain = path.format_map(_Id())
            for method in {"put", "patch", "delete", "post"} - operations_of.keys():
                answer = http.request(method.upper(), plain, json={})
                if answer.status_code == 405:
                    assert answer.json()["code"] == 12
                    assert f"{method.upper()} is not possible here (use " in answer.json()["message"]
                else:  # another route takes it, e.g. one whose id may hold a colon
                    assert set(answer.json()) == {"code", "message", "details"} or answer.json() == {}, (method, path)


class _Id(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "local" if key == "account" else "nope"
