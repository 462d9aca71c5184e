"""What all routes share: the house behind them, who is asking, reading bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from client.errors import InvalidArgument, PayloadTooLarge
from client.names import Name
from engine.house import House
from engine.keys import Principal

BODY_BYTES_MAX = 1 << 20


def house(request: Request) -> House:
    found: House = request.app.state.house
    return found


def principal(request: Request) -> Principal:
    """The owner of the request's key. All routers ask for it, before any body is read: none can be forgotten open."""
    return house(request).keyring.identify(dict(request.headers))


async def json_body(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise PayloadTooLarge(f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        parsed = json.loads(body) if body.strip() else {}
        json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored or shown
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", hint="send a JSON object") from None
    return parsed


def deployment_name(account: str, deployment_id: str) -> str:
    """The full name of a path's deployment."""
    return str(Name.of(deployment_id, "deployments", account, "deployment"))


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What every list takes (AIP-132), in `listing.page`'s words."""

    size: int | None
    token: str
    filter_text: str
    order_by: str


def list_query(
    page_size: Annotated[int | None, Query(alias="pageSize")] = None,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
    filter_text: Annotated[str, Query(alias="filter")] = "",
    order_by: Annotated[str, Query(alias="orderBy")] = "",
) -> ListQuery:
    return ListQuery(page_size, page_token, filter_text, order_by)


Listing = Annotated[ListQuery, Depends(list_query)]
HouseDep = Annotated[House, Depends(house)]
Caller = Annotated[Principal, Depends(principal)]
Body = Annotated[Any, Depends(json_body)]


def documented_body(model: str) -> dict[str, Any]:
    """OpenAPI for a body that is validated by `engine.declare`, not by FastAPI."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
