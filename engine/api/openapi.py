"""The OpenAPI 3.1 document of the control plane, from the routes and the types that they use.

Bodies are validated by the engine's own rules and not by FastAPI, so their schemas are put in here, from the very types
that those rules read; every route has the one shape of errors.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from client.access_types import CreateApiKeyBody, DeleteApiKeyBody, Quota, Secret, UserSpec
from client.addon_types import DeployedModelSpec
from client.fleet_types import FleetChanges
from client.guard_types import GuardSpec, ReleaseKeyBody
from client.model_types import ModelSpec
from client.router_types import RouterShiftSpec, RouterSpec
from client.types import DeploymentSpec
from engine.access.rules import RULES

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
PATH = "/firedeck/v1/openapi.json"
_REF = "#/components/schemas/{model}"
_TEXT = {"type": "string", "minLength": 1}
_INT64 = {"oneOf": [{"type": "string", "pattern": "^[0-9]{1,15}$"}, {"type": "integer", "minimum": 0}]}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
_OPEN = ("/healthz", "/readyz", "/metrics", PATH, "/openapi.json", "/firedeck/v1/files/")  # asked without a key


class FieldViolation(BaseModel):
    """Which field an error is about, by its wire path, and what is wrong with it."""

    field: str
    description: str


class BadRequest(BaseModel):
    """google.rpc.BadRequest as a google.protobuf.Any."""

    type_url: Literal["type.googleapis.com/google.rpc.BadRequest"] = Field(alias="@type")
    field_violations: list[FieldViolation] = Field(alias="fieldViolations")


class Error(BaseModel):
    """google.rpc.Status as JSON. The message ends with what to do next, in parentheses, where there is such."""

    code: int
    message: str
    details: list[BadRequest]


_BODIES: tuple[type[BaseModel], ...] = (
    DeploymentSpec, DeployedModelSpec, ModelSpec, UserSpec, CreateApiKeyBody, DeleteApiKeyBody, Secret, Quota,
    RouterSpec, RouterShiftSpec, GuardSpec, ReleaseKeyBody, Error,
)  # fmt: skip
_ERROR = {
    "description": "What went wrong",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}

_EVENTS: tuple[type[BaseModel], ...] = (FleetChanges,)  # of streams; no other answer has them
_SMALL_BODIES: dict[str, Any] = {
    "ScaleBody": {
        "type": "object", "required": ["replicaCount"], "additionalProperties": False,
        "properties": {"replicaCount": {"type": "integer", "minimum": 0, "maximum": 1000}},
    },
    "NoBody": {"type": "object", "additionalProperties": False},
    "ModelFileBody": {
        "type": "object", "required": ["modelId", "file"], "additionalProperties": False,
        "properties": {
            "modelId": _TEXT, "file": _TEXT, "baseModel": _TEXT, "displayName": {"type": "string", "maxLength": 63},
            "model": {"$ref": "#/components/schemas/ModelSpec"},
        },
    },
    "ModelCreateBody": {
        "type": "object", "required": ["modelId"], "additionalProperties": False,
        "properties": {
            "modelId": _TEXT, "cluster": {"type": "string"}, "model": {"$ref": "#/components/schemas/ModelSpec"}
        },
    },
    "UploadEndpointBody": {
        "type": "object", "required": ["filenameToSize"], "additionalProperties": False,
        "properties": {
            "filenameToSize": {"type": "object", "minProperties": 1, "additionalProperties": _INT64},
            "enableResumableUpload": {"type": "boolean"},
        },
    },
    "ModelConfigBody": {
        "type": "object", "required": ["configJson"], "additionalProperties": False,
        "properties": {"configJson": _TEXT, "tokenizerConfigJson": {"type": "string"}},
    },
    "PrepareBody": {
        "type": "object", "required": ["precision"], "additionalProperties": False, "properties": {"precision": _TEXT}
    },
    "MatchBody": {
        "type": "object", "required": ["createDeploymentRequest"], "additionalProperties": False,
        "properties": {
            "createDeploymentRequest": {
                "type": "object", "required": ["deployment"],
                "properties": {
                    "parent": {"type": "string"},
                    "deployment": {
                        "allOf": [{"$ref": "#/components/schemas/DeploymentSpec"}, {"required": ["baseModel"]}]
                    },
                },
            }
        },
    },
    "AnyBody": {"type": "object"},
}  # fmt: skip


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, routes=app.routes,
            description="firedeck's control plane. What is below /firedeck/ is its own.",
        )  # fmt: skip
        components = schema.setdefault("components", {})
        _add_bodies(components.setdefault("schemas", {}))
        components["securitySchemes"] = _KEYS
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                operation["summary"] = _summary(method.upper(), path) or operation["summary"]
                operation["responses"].pop("422", None)  # bad parameters are 400s, as everything else
                operation["responses"]["default"] = _ERROR
                operation["security"] = [] if path.startswith(_OPEN) else [{name: []} for name in _KEYS]
        app.openapi_schema = schema
    return app.openapi_schema


def _summary(method: str, path: str) -> str:
    """The route's action as the audit log names it, in words; "" for what needs no key."""
    rule = RULES.get((method, path))
    words = _WORD.sub(" ", rule.action) if rule else ""
    return f"{words} (firedeck's own)" if words and path.startswith("/firedeck/") else words


def _add_bodies(schemas: dict[str, Any]) -> None:
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for body in _BODIES:
        found = body.model_json_schema(by_alias=True, ref_template=_REF)
        # A message that answers carry too has one schema in either place, but for what is always there in an answer.
        for name, schema in found.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas[body.__name__] = found | {"additionalProperties": False}
    for event in _EVENTS:
        found = event.model_json_schema(by_alias=True, mode="serialization", ref_template=_REF)
        found.pop("$defs", None)  # all of it is in a FleetSnapshot too
        schemas[event.__name__] = found
    schemas |= _SMALL_BODIES
