"""What the replica answers about its adapters.

GET    /adapters          {"adapters": [...]}, by name
PUT    /adapters/{name}   {"path": "/where/it/lies.gguf"}: check it and let requests name it; the adapter
DELETE /adapters/{name}   let no new request name it; {}

A name may hold slashes, percent-encoded or not: accounts/a/models/b.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.errors import InvalidArgument, MethodNotAllowed
from engine.replica.adapters import Adapters
from engine.replica.strict_json import parse_json

COLLECTION = "/adapters"


def serves(path: str) -> bool:
    """Whether a path, percent-decoded, is one of the above."""
    return path == COLLECTION or path.startswith(f"{COLLECTION}/")


async def answer(adapters: Adapters, method: str, path: str, raw: bytes) -> dict[str, Any]:
    """The JSON answer with status 200. Raises InvalidArgument, FailedPrecondition, NotFound or MethodNotAllowed."""
    name = path.removeprefix(COLLECTION).removeprefix("/")
    if not name:
        if method != "GET":
            raise MethodNotAllowed("use GET")
        return {"adapters": [asdict(info) for info in adapters.infos()]}
    if method == "PUT":
        # The whole file is read: not on the loop that streams for others.
        return asdict(await asyncio.to_thread(adapters.register, name, _path(raw)))
    if method == "DELETE":
        adapters.unregister(name)
        return {}
    raise MethodNotAllowed("use PUT or DELETE")


def _path(raw: bytes) -> Path:
    body = parse_json(raw)
    path = body.get("path") if isinstance(body, dict) else None
    if not isinstance(path, str) or not path:
        raise InvalidArgument('give the file as {"path": "/where/it/lies.gguf"}', field="path")
    return Path(path)
