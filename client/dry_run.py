"""A dry run: a way to an engine that makes no change, and says instead what the change would be.

    data   Change       what would be done to which resource: as it is, and as it would be then
           NotMade      raised in place of a change; no FiredeckError, for nothing is wrong
    verbs  DryRun.send  reads pass, requests to models too; a change is asked of the engine where its route can say
                        what it would be (`validateOnly`), and is worked out from what is there where it cannot
           DryRun.signed  files are fetched, and none is sent
    near   `client.cli.rehearsal` shows it, `client.resources.Client` takes a DryRun as its transport

    async with Client(context, DryRun(context.base_url, context.api_key)) as client:
        await client.deployments.scale("chat", 2)  # raises NotMade

What is worked out here is no promise (`Change.doubt`). Fireworks itself is sent no change at all, whatever it would do
with a `validateOnly`: a dry run there that made one would cost money.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from client.config import FIREWORKS_HOST, is_fireworks
from client.errors import AlreadyExists, NotFound, Unimplemented
from client.http import READ_TIMEOUT_S, Query, Transport
from client.names import LIBRARY_ACCOUNT, Collection, Name
from client.types import READY

Fields = dict[str, Any]  # of a message, by their names on the wire

# Routes that take `validateOnly`: none but these may be sent it, because a server that passes over it makes the change.
_ONE = r"[^/:]+"
CHECKED = tuple(
    (methods.split(), re.compile(pattern.replace("ONE", _ONE)))
    for methods, pattern in (
        ("POST", "/v1/accounts/ONE/(deployments|users)"),
        ("PATCH DELETE", "/v1/accounts/ONE/(deployments|models|users|quotas)/ONE"),
        ("PATCH", "/v1/accounts/ONE/deployments/ONE:scale"),
        ("POST", "/firedeck/v1/accounts/ONE/(guards|routers)"),
        ("PATCH DELETE", "/firedeck/v1/accounts/ONE/(guards|routers)/ONE"),
        ("POST", "/firedeck/v1/accounts/ONE/routers/ONE:shift"),
        ("PATCH DELETE", "/firedeck/v1/accounts/ONE/users/ONE/apiKeys/ONE/quotas/ONE"),
    )
)
_NO_CHANGE = re.compile(r"/inference/v1/.*|/v1/validateModelConfig|.*/deploymentShapeVersions:match")
_CHANGE_BY_GET = re.compile(r".*:validateUpload")  # makes the model READY, unless it checks the configs alone
PREPARED, LOADED = "prepared", "loaded"
_DONE = {
    "POST": "created", "PATCH": "changed", "DELETE": "deleted", "scale": "scaled", "undelete": "brought back",
    "prepare": PREPARED, "delete": "deleted", "release": "changed", "getUploadEndpoint": "given files",
    "shift": "changed", "validateUpload": "made READY",
}  # fmt: skip
_IDS = {"models": "modelId", "secrets": "name"}  # the field of a body that names what is to be made
_INNER = {"models": "model", "apiKeys": "apiKey"}  # the field of a body that holds what is to be made
_BELOW_FIREDECK = ("guards", "routers")  # collections that are read below /firedeck, too: /v1 has none of them
_REFERENCES: dict[str, Collection] = {"model": "models", "deployment": "deployments", "baseModel": "models"}
HIDDEN = "(not shown)"
_SECRET = "value"  # a field that is never shown, of secrets alone
WORKED_OUT = "worked out here: the engine may still refuse it"
NOT_ASKED = (
    "worked out here: Fireworks was not asked, and what it would fill in, or refuse for want of quota, accelerators or"
    " anything else, is not known"
)


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None of what is new, `after` of what is deleted. `doubt`: why it may come otherwise; empty where the
    engine has said that it would."""

    done: str  # created, changed, deleted, ...
    name: str  # of the resource, or of the collection where what is made has no name yet
    before: Fields | None
    after: Fields | None
    doubt: str

    @property
    def checked(self) -> bool:
        return not self.doubt

    def __str__(self) -> str:
        what = self.after.get("model") if self.done == LOADED and self.after else None  # its record has no name yet
        return f"{what or self.name} would be {self.done}"


class NotMade(Exception):
    """A change that was asked for in a dry run."""

    def __init__(self, change: Change) -> None:
        super().__init__(str(change))
        self.change = change


class DryRun(Transport):
    """Raises NotMade in place of each change, and FiredeckErrors as any other transport."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Any:
        if _changes_nothing(method, path, query):
            return await super().send(
                method, path, query=query, body=body, headers=headers, read_timeout_s=read_timeout_s
            )
        if not self._is_fireworks and any(method in methods and one.fullmatch(path) for methods, one in CHECKED):
            raise NotMade(await self._asked(method, path, query, body))
        if self._is_fireworks and path.startswith("/firedeck/"):
            raise Unimplemented(f"{FIREWORKS_HOST} has nothing of that kind", hint="ask an engine of your own")
        raise NotMade(await self._worked_out(method, path, query or {}, body or {}))

    @asynccontextmanager
    async def signed(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[httpx.Response]:  # fmt: skip
        """Whoever has the URL may use it: it is not told."""
        if method != "GET":
            raise NotMade(Change("sent", "a file", None, None, self._doubt))
        async with super().signed(method, url, headers=headers, content=content) as answer:
            yield answer

    @property
    def _is_fireworks(self) -> bool:
        return is_fireworks(self.base_url)

    @property
    def _doubt(self) -> str:
        return NOT_ASKED if self._is_fireworks else WORKED_OUT

    async def _asked(self, method: str, path: str, query: Query | None, body: Any) -> Change:
        """What the engine says that it would be."""
        one, _, verb = path.partition(":")
        before = None if method == "POST" and not verb else await self.get(one)
        answer = await super().send(method, path, query={**(query or {}), "validateOnly": True}, body=body)
        if before is None:
            return Change(_DONE[method], str(answer.get("name") or _name_of(one)), None, answer, "")
        after = answer or _over(before, _given(before, body or {}, verb, one))  # scaling is answered with nothing
        return Change(_DONE[verb or method], _name_of(one), before, None if method == "DELETE" else after, "")

    async def _worked_out(self, method: str, path: str, query: Query, body: Fields) -> Change:
        one, _, verb = path.removeprefix("/firedeck").partition(":")
        collection = one.split("/")[-1]
        if method == "POST" and not verb:
            return await self._made(one, collection, query, body)
        if collection == "apiKeys":  # what is deleted is named in the body
            before = await self._key(one, str(body.get("keyId")))
            return Change(_DONE[verb], f"{_name_of(one)}/{body.get('keyId')}", before, None, self._doubt)
        before = await self.get(path.partition(":")[0] if one.split("/")[-2] in _BELOW_FIREDECK else one)
        given = _given(before, body, verb, one)
        after = None if method == "DELETE" else _over(before, given)
        done = _DONE.get(verb or method, f"changed by {verb}")
        return Change(done, str(before.get("name") or _name_of(one)), before, after, self._doubt)

    async def _made(self, path: str, collection: str, query: Query, body: Fields) -> Change:
        """AlreadyExists where it is there, NotFound where what it names is not."""
        for field, kind in _REFERENCES.items():
            if isinstance(text := body.get(field), str):
                await self._check_there(text, kind, path)
        name, own = _name_of(path), _IDS.get(collection)
        chosen = body.get(own) if own else query.get(f"{collection.removesuffix('s')}Id")
        if chosen:
            name = f"{name}/{_canonical(collection, str(chosen))}"
            await self._check_free(name)
        inner = body.get(holder := _INNER.get(collection, ""))
        given = {key: body[key] for key in body if key not in (own, holder)} | (inner or {})
        done = LOADED if collection == "deployedModels" else "created"
        fields = ({"name": name} if chosen else {}) | _placed(collection, _shown(given, path))
        return Change(done, name, None, fields, self._doubt)

    async def _check_there(self, text: str, collection: Collection, path: str) -> None:
        account = path.split("/")[3]
        try:
            await self.get(f"/v1/{Name.of(text, collection, account)}")
        except NotFound:
            if "/" in text or collection != "models":
                raise
            await self.get(f"/v1/{Name.of(text, collection, LIBRARY_ACCOUNT)}")

    async def _check_free(self, name: str) -> None:
        try:
            await self.get(f"/v1/{name}")
        except NotFound:
            return
        raise AlreadyExists(f"{name} exists already", field="name", hint="give another id")

    async def _key(self, path: str, key_id: str) -> Fields:
        found = (await self.get(path, {"filter": f'keyId="{key_id}"'})).get("apiKeys") or []
        if not found:
            raise NotFound(f"there is no key {key_id}", field="keyId", hint="see firedeck api-key list")
        return dict(found[0])


def _name_of(path: str) -> str:
    return path.partition("/v1/")[2]


def _canonical(collection: str, text: str) -> str:
    return text.lower().replace("_", "-") if collection == "secrets" else text


def _shown(body: Fields, path: str) -> Fields:
    """Without the value of a secret."""
    hide = "/secrets" in path
    return {name: HIDDEN if hide and name == _SECRET else value for name, value in body.items() if value is not None}


def _changes_nothing(method: str, path: str, query: Query | None) -> bool:
    if _CHANGE_BY_GET.fullmatch(path):
        return bool((query or {}).get("configOnly"))
    return method == "GET" or _NO_CHANGE.fullmatch(path) is not None


def _placed(collection: str, given: Fields) -> Fields:
    """What the body of a new model has at its top, where the model has it."""
    if collection != "models" or "file" not in given:
        return given
    rest = {key: value for key, value in given.items() if key not in ("file", "baseModel")}
    adapter = {"peftDetails": {"baseModel": given["baseModel"]}} if "baseModel" in given else {}
    return rest | adapter | {"firedeck": {"file": given["file"]}}


def _given(before: Fields, body: Fields, verb: str, path: str) -> Fields:
    """What a change's body sets, by the names that the resource has for it."""
    if verb == "release":
        return _released(before, body)
    if verb == "prepare":
        there, wanted = (before.get("firedeck") or {}).get("prepared") or [], body.get("precision")
        others = [one for one in there if one.get("precision") != wanted]
        return {"firedeck": {"prepared": [*others, {"precision": wanted, "state": "PREPARING"}]}}
    if verb == "validateUpload":
        return {"state": READY}
    if verb == "scale":
        return {"desiredReplicaCount": body.get("replicaCount")}
    if verb == "undelete":
        return {"deleteTime": None, "purgeTime": None}
    return _shown(body, path)


def _released(guard: Fields, body: Fields) -> Fields:
    """The keys that the guard still refuses then. NotFound, as the engine has it, where it refuses no such key."""
    refused = guard.get("refusedKeys") or []
    left = [key for key in refused if key.get("keyId") != body.get("keyId")]
    if len(left) == len(refused):
        hint = "firedeck guard get shows whom"
        raise NotFound(f"guard {_id_of(guard)!r} refuses no key of that id", field="keyId", hint=hint)
    return {"refusedKeys": left}


def _id_of(fields: Fields) -> str:
    return str(fields.get("name", "")).rpartition("/")[2]


def _over(before: Fields, given: Fields) -> Fields:
    """What is given over what is there; what lies below it stays as far as it is not given. None takes away."""
    merged = dict(before)
    for name, value in given.items():
        there = merged.get(name)
        merged[name] = _over(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if value is not None}
