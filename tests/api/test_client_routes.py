"""Every documented route of the control plane has a verb of the client, which sends what the route takes."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from client.config import Context
from client.errors import FiredeckError
from client.http import Transport
from client.resources import Client
from engine.unoffered import OPERATIONS
from tests.house import Home
from tests.sync_client import resources_of

DOCUMENTS = {"/firedeck/v1/openapi.json": "", "/firedeck/v1/inference/openapi.json": "/inference/v1"}
VERBS = ("get", "post", "put", "patch", "delete")
NO_VERB = {
    "GET /verifyApiKey": "says in a header what `whoami` says in full",
    "POST /v1/accounts/{}/models/{}:import": "always refused",
    "PUT /firedeck/v1/files/{}": "signed URLs are used as they come, by `models.upload` and `models.download`",
    "GET /firedeck/v1/files/{}": "likewise",
    "GET /inference/v1/responses": "always empty", "POST /inference/v1/responses": "always refused",
    "GET /inference/v1/responses/{}": "never there", "DELETE /inference/v1/responses/{}": "never there",
    "GET /healthz": "for supervisors", "GET /readyz": "for supervisors", "GET /metrics": "for Prometheus",
}  # fmt: skip


async def test_every_documented_route_has_a_verb(own: Home) -> None:
    documented = set()
    async with own.http(own.admin_key) as http:
        for url, prefix in DOCUMENTS.items():
            for path, verbs in (await http.get(url)).json()["paths"].items():
                documented |= {f"{verb.upper()} {_form(prefix + path)}" for verb in verbs if verb in VERBS}
    sent = await all_that_the_client_sends()
    missing = {one for one in documented if not any(_pattern(one).fullmatch(request) for request in sent)}
    assert missing == set(NO_VERB) | {f"{one.method} {_form(one.path)}" for one in OPERATIONS}


def _form(path: str) -> str:
    """With `{}` in place of what stands for a name."""
    return re.sub(r"{[^}]*}", "{}", path)


def _pattern(form: str) -> re.Pattern[str]:
    return re.compile("[^/:]+".join(map(re.escape, form.split("{}"))))


async def all_that_the_client_sends() -> set[str]:
    """Method and path of the first request of every verb, called with anything of the right types."""
    sent: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        sent.add(f"{request.method} {request.url.raw_path.decode().partition('?')[0]}")
        return httpx.Response(200, json={"models": [], "data": []})

    async with Client(Context("http://e"), Transport("http://e", "k", transport=httpx.MockTransport(answer))) as client:
        for name, kind in resources_of(client).items():
            if name == "wait":
                continue  # asks what others ask, until it is so
            for verb, function in inspect.getmembers(kind, inspect.isfunction):
                if not verb.startswith("_"):
                    await _called(getattr(getattr(client, name), verb), function)
    return sent


async def _called(verb: Any, function: Any) -> None:
    """With what it needs alone, with all that it takes, and with the name of something below something else."""
    hints = typing.get_type_hints(function)
    takes = [p for p in inspect.signature(verb).parameters.values() if p.kind != p.VAR_KEYWORD]
    needs = [p for p in takes if p.default is p.empty]
    for given, text in ((needs, "x"), (takes, "x"), (needs, "x/versions/x")):
        try:
            found = verb(**{p.name: _anything(hints[p.name], text) for p in given})
            if inspect.isasyncgen(found):
                async for _ in found:
                    break
            else:
                await found
        except (FiredeckError, ValidationError, KeyError):
            continue  # what came back was no answer to it


def _anything(kind: Any, text: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _anything(typing.get_args(kind)[0], text)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_construct()
    made: dict[Any, Any] = {
        str: text, int: 1, bool: True, float: 1.0, Path: Path(__file__), Mapping: {}, dict: {}, Sequence: (),
        datetime: datetime(2026, 1, 1), timedelta: timedelta(1), Callable: lambda *told: None,
    }  # fmt: skip
    return made[origin or kind]
