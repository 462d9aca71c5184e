"""The routes of what is not offered, all of `engine.unoffered`: lists are empty, nothing is found, nothing is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import create_model

from client.errors import NotFound, Unimplemented
from client.wire import Wire
from engine.api.common import Listing
from engine.api.listing import page
from engine.api.openapi import Error
from engine.unoffered import OPERATIONS, Collection, Operation

router = APIRouter(tags=["not offered"])


def _empty(of: Collection) -> Callable[..., Awaitable[JSONResponse]]:
    async def answer(account: str, query: Listing) -> JSONResponse:
        found, token, total = page([], **asdict(query), default_order="name")
        return JSONResponse({of.plural: found, "nextPageToken": token, "totalSize": total})

    return answer


def _refused(operation: Operation) -> Callable[..., Awaitable[None]]:
    """A route's function that takes what the operation takes, and reads nothing of it."""
    of = operation.of

    async def answer(account: str, resource_id: str = "", **passed_over: str) -> None:
        if operation.outcome == "unimplemented":
            raise Unimplemented(f"{of.plural} are not available on this engine", hint=of.remedy)
        missing = f"{of.one} {resource_id[:80]!r} does not exist"
        raise NotFound(missing, hint=f"{of.plural} are not available on this engine: {of.remedy}")

    places = ["account", "resource_id"] if "{resource_id}" in operation.path else ["account"]
    in_path = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=str) for name in places]
    in_query = [  # the wire's names are their aliases
        Parameter(f"q{i}", Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, Query(alias=name)])
        for i, name in enumerate(operation.query)
    ]
    answer.__signature__ = Signature([*in_path, *in_query])  # type: ignore[attr-defined]
    return answer


def _page_of(of: Collection) -> type[Wire]:
    fields: dict[str, Any] = {
        of.plural: (list[dict[str, Any]], ...), "nextPageToken": (str, ...), "totalSize": (int, ...)
    }  # fmt: skip
    return create_model(f"{of.kind}Page", __base__=Wire, **fields)


def _add(operation: Operation) -> None:
    of = operation.of
    if operation.outcome == "empty":
        router.add_api_route(
            operation.path, _empty(of), response_model=_page_of(of), description=f"{of.plural} are not offered: none"
        )
        return
    made = operation.outcome == "unimplemented"
    router.add_api_route(
        operation.path, _refused(operation), methods=[operation.method], response_model=Error,
        status_code=501 if made else 404, response_description="Not available on this engine",
        description=f"{of.plural} are not offered: {'none is made' if made else 'there is none'}, whatever is sent",
    )  # fmt: skip


for _operation in OPERATIONS:
    _add(_operation)
