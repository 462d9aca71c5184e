"""Every field of a deployment, one by one: stored and returned, or refused with the reason, as OpenAPI says of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from client.types import IMMUTABLE, AutoscalingPolicy, ColdOptions, DeploymentSpec, Wire
from engine.api.openapi import document
from engine.app import control_plane
from engine.fleet.template import template_of
from tests.house import Home, field_of
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

PATH = "/v1/accounts/local/deployments"
SWITCHES = "skipShapeValidation=true&skipImageTagValidation=true"
SHAPE = "accounts/fireworks/deploymentShapes/smollm2-135m-instruct-minimal/versions/v1"
REFUSED: dict[str, Any] = {
    "enableMtp": True, "enableHotLoad": True, "directRouteApiKeys": ["k"], "extraArgs": ["-x"],
    "extraValues": {"a": "b"},
}  # fmt: skip
# Two sets, as some exclude each other.
ONE: dict[str, Any] = {
    "baseModel": SMOLLM2, "displayName": "Every field", "description": "of the contract", "annotations": {"team": "x"},
    "minReplicaCount": 0, "maxReplicaCount": 0, "maxWithRevocableReplicaCount": 3,
    "autoscalingPolicy": {
        "scaleUpWindow": "1.000001s", "scaleDownWindow": "61s", "scaleToZeroWindow": "301.500s",
        "loadTargets": {"concurrent_requests": 2.5, "requests_per_second": 7.0},
    },
    "acceleratorCount": 1, "acceleratorType": "ACCELERATOR_TYPE_UNSPECIFIED", "precision": "PRECISION_UNSPECIFIED",
    "placement": {"multiRegion": "GLOBAL"}, "deploymentShape": SHAPE, "deploymentTemplate": "template",
    "maxContextLength": 512, "maxBatchSize": 3, "maxPeftBatchSize": 2, "kvCacheMemoryPct": 70,
    "draftModel": SMOLLM2, "draftTokenCount": 5, "enableAddons": True, "enableMtp": False,
    "enableSessionAffinity": False, "enableHotLoad": False, "enableHotReloadLatestAddon": True,
    "hotLoadBucketType": "S3", "hotLoadBucketUrl": "s3://bucket", "hotLoadTrainerJob": "job",
    "hotLoadTransitionType": "SYNC", "numPeftDeviceCached": 4, "directRouteType": "AWS_PRIVATELINK",
    "directRouteApiKeys": [], "activeModelVersion": "1", "targetModelVersion": "2",
    "disableDeploymentSizeValidation": True, "pricingPlanId": "plan", "expireTime": "2040-01-02T03:04:05.123456Z",
    "worldSize": 1, "generatorCount": 1, "disaggregatedPrefillCount": 1, "disaggregatedPrefillWorldSize": 1,
    "engine": "VLLM", "imageTag": "tag", "extraArgs": [], "extraValues": {}, "workload": "chat", "forTraining": True,
    "spot": True, "preemptible": True, "disableAccounting": True,
    "firedeck": {
        "coldPolicy": "reject", "holdTimeout": "7.250s", "maxQueueWait": "3s", "threads": 1, "panic": False,
        "forecastFloor": True, "responseCache": True, "responseCacheTtl": "90s",
    },
}  # fmt: skip
OTHER: dict[str, Any] = {
    "baseModel": SMOLLM2, "maxReplicaCount": 0, "autoTune": {"longPrompt": True}, "ngramSpeculationLength": 4,
    "draftTokenCount": 6,
}  # fmt: skip


def wire_names(message: type[Wire]) -> set[str]:
    return {field.alias or name for name, field in message.model_fields.items()}


def described(own: Home) -> dict[str, str]:
    properties = document(control_plane(own.engine.house))["components"]["schemas"]["DeploymentSpec"]["properties"]
    return {name: schema.get("description", "") for name, schema in properties.items()}


def test_no_field_is_forgotten_here() -> None:
    assert ONE.keys() | OTHER.keys() == wire_names(DeploymentSpec)
    assert ONE["firedeck"].keys() == wire_names(ColdOptions)
    assert ONE["autoscalingPolicy"].keys() == wire_names(AutoscalingPolicy)


@pytest.mark.model
def test_every_field_comes_back_as_it_was_declared_after_the_engine_was_killed(own_engine: EngineProcess) -> None:
    with client(own_engine) as http:
        for name, body in (("one", ONE), ("other", OTHER)):
            made = http.post(f"{PATH}?deploymentId={name}&{SWITCHES}", json=body)
            assert made.status_code == 200, made.text
            assert body.items() <= made.json().items()
        changed = http.patch(f"{PATH}/other?{SWITCHES}", json={"description": "changed", "worldSize": 1})
        assert changed.status_code == 200, changed.text
    own_engine.kill()
    own_engine.start()
    with client(own_engine) as http:
        for name, body in (("one", ONE), ("other", OTHER | {"description": "changed", "worldSize": 1})):
            kept = http.get(f"{PATH}/{name}").json()
            assert {field: kept.get(field) for field in body} == body


async def test_every_field_that_may_change_is_changed_by_an_update(own: Home) -> None:
    fixed = {DeploymentSpec.model_fields[name].alias or name for name in IMMUTABLE}
    async with own.http(own.admin_key) as http:
        for body in (ONE, OTHER):
            wanted = {name: value for name, value in body.items() if name not in fixed}
            path = f"{PATH}?deploymentId=d&{SWITCHES}"
            made = await http.post(path, json={"baseModel": SMOLLM2, "maxReplicaCount": 0})
            assert made.status_code == 200, made.text
            changed = await http.patch(f"{PATH}/d?{SWITCHES}", json=wanted)
            assert changed.status_code == 200, changed.text
            assert wanted.items() <= (await http.get(f"{PATH}/d")).json().items()
            await http.delete(f"{PATH}/d?hard=true&ignoreChecks=true")


async def test_what_is_said_to_be_without_effect_decides_nothing_of_a_replica(own: Home) -> None:
    without = {name for name, told in described(own).items() if told.startswith("kept as declared, without effect")}
    assert {"kvCacheMemoryPct", "expireTime", "disableAccounting", "engine"} <= without
    given = {name: (ONE | OTHER)[name] for name in without - {"deploymentTemplate"}}
    async with own.http(own.admin_key) as http:
        for name, more in (("plain", {}), ("more", given)):
            body = {"baseModel": SMOLLM2, "maxReplicaCount": 0, **more}
            made = await http.post(f"{PATH}?deploymentId={name}", json=body)
            assert made.status_code == 200, made.text
    fleet = own.engine.house.fleet
    plain, more = (fleet.get(f"accounts/local/deployments/{name}").deployment for name in ("plain", "more"))
    assert template_of(plain).generation == template_of(more).generation


async def test_what_is_said_to_be_refused_is_refused_by_its_name(own: Home) -> None:
    told = described(own)
    refused = {name for name in told if told[name].startswith("refused")}
    single = {name for name in told if told[name].startswith("at most 1")}
    assert refused == REFUSED.keys() | {"imageTag"}
    assert len(single) == 4
    cases = REFUSED | {"imageTag": "tag"} | dict.fromkeys(single, 2)
    async with own.http(own.admin_key) as http:
        for name, value in cases.items():
            answer = await http.post(PATH, json={"baseModel": SMOLLM2, "maxReplicaCount": 0, name: value})
            assert (answer.status_code, field_of(answer)) == (400, name), answer.text
        assert (await http.get(PATH)).json()["totalSize"] == 0


def client(engine: EngineProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S)
