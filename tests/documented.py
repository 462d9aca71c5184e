"""Whether an answer of the inference API has the headers that its OpenAPI document has, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from engine.gateway.openapi import document

TRANSPORT = {"content-type", "content-length", "transfer-encoding", "connection", "date", "server"}


def check_headers(method: str, path: str, status: int, headers: Mapping[str, Any]) -> None:
    """`path` as the document has it; a value that came twice is a list."""
    documented = document()["paths"][path][method.lower()]["responses"][str(status)]["headers"]
    for name, value in headers.items():
        if name.lower() in TRANSPORT:
            continue
        assert name.lower() in documented, f"{method} {path} {status}: {name} is not documented"
        for one in value if isinstance(value, list) else [value]:
            Draft202012Validator(documented[name.lower()]["schema"]).validate(one)
