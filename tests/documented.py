"""Whether answers are as the OpenAPI documents have them: their headers, and no failure but where one is documented."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from jsonschema import Draft202012Validator
from schemathesis import Case, CheckContext, CheckFunction, Response
from schemathesis.checks import not_a_server_error

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


def no_failure(not_offered: Set[tuple[str, str]]) -> CheckFunction:
    """A check that there is no 5xx, but for the 501 that these operations, and they alone, are documented with."""

    def no_failure_but_501(ctx: CheckContext, response: Response, case: Case) -> bool | None:
        if (case.operation.method.upper(), case.operation.path) in not_offered:
            assert "501" in case.operation.definition.raw["responses"]
            if response.status_code == 501:
                return None
        return not_a_server_error(ctx, response, case)

    return no_failure_but_501
