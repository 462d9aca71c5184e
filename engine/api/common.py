"""What all routes share: the house behind them, who is asking, reading bodies."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from client.errors import InvalidArgument
from engine.fleet.fleet import Fleet
from engine.keys import Keyring, Principal
from engine.library import Library

BODY_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class House:
    """What the routes stand on."""

    fleet: Fleet
    library: Library
    keyring: Keyring
    started_at: datetime
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set when endless answers must end


def house(request: Request) -> House:
    found: House = request.app.state.house
    return found


def principal(request: Request) -> Principal:
    """The owner of the request's key. Every route asks for it, so that none can be forgotten open."""
    return house(request).keyring.identify(dict(request.headers))


async def json_body(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise InvalidArgument(f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        return json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", hint="send a JSON object") from None


HouseDep = Annotated[House, Depends(house)]
Caller = Annotated[Principal, Depends(principal)]
Body = Annotated[Any, Depends(json_body)]


def documented_body(model: str) -> dict[str, Any]:
    """OpenAPI for a body that is validated by `engine.declare`, not by FastAPI."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
