"""What all routes share: the house behind them, who is asking, reading bodies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument, NotFound
from client.names import Name
from client.wire import Wire
from engine import masks
from engine.access.rules import authorise, rule_of
from engine.access.vault import canonical_id
from engine.api.listing import page
from engine.asgi import read_body
from engine.house import House
from engine.keys import Principal

BODY_BYTES_MAX = 1 << 20

W = TypeVar("W", bound=Wire)

UpdateMask = Annotated[str, Query(alias="updateMask", description="fields to change; if not given, those of the body")]
INSTANT = {"format": "date-time"}  # of a query parameter that `client.instants` reads
ValidateOnly = Annotated[bool, Query(alias="validateOnly", description="say what it would be; change nothing")]
ReadMask = Annotated[str, Query(alias="readMask", description="fields to show, joined by commas; * is all")]


def house(request: Request) -> House:
    found: House = request.app.state.house
    return found


async def principal(request: Request) -> Principal:
    """The owner of the request's key, who may do what the request asks (`engine.access.rules`).

    A service account owns nothing: its keys are the admins' to make and to take away.
    All routers ask for it, before any body is read: none can be forgotten open.
    """
    here = house(request)
    caller = here.keyring.identify(dict(request.headers), request.client.host if request.client else "")
    request.state.principal = caller
    rule = rule_of(request.method, request.scope["route"].path)
    account = request.path_params.get("account", caller.account)
    user_id = request.path_params.get("user_id", "")
    service = str(user_id) if here.access.users.is_service(account, user_id) else None
    owner = await _owner(here, request, caller) if rule.others and service is None else None
    authorise(caller, rule, account, owner=owner, service=service)
    return caller


async def _owner(here: House, request: Request, caller: Principal) -> str | None:
    """The user whose resource the path names: people own their keys, everything else belongs to who made it.

    What is deployed on a deployment belongs to the deployment's maker too: the base came with it, an adapter lives in
    its memory.
    """
    user_id = request.path_params.get("user_id")
    if user_id is not None:
        return str(user_id)
    _, account, collection, resource_id, *_ = request.scope["path"].partition("/v1/")[2].split("/")
    bare_id = resource_id.partition(":")[0]
    whole_id = canonical_id(bare_id) if collection == "secrets" else bare_id
    return await owner_of(here, caller, f"accounts/{account}/{collection}/{whole_id}")


async def owner_of(here: House, caller: Principal, name: str) -> str | None:
    """The owner of a resource, `caller` before others where it has several; None when nobody is known."""
    names = [name]
    with contextlib.suppress(NotFound):
        names.append(here.fleet.deployed.get(name).deployment or "")
    owners = [await here.access.records.owner_of(each) for each in names]
    return caller.user if caller.user in owners else owners[0]


async def json_body(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object."""
    body = await read_body(request.scope, request.receive, BODY_BYTES_MAX)
    try:
        parsed = json.loads(body, object_pairs_hook=_once) if body.strip() else {}
        json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored or shown
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", hint="send a JSON object") from None
    return parsed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members; whoever names one twice would not know which of them counts (RFC 8259, section 4)."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgument(f"the field {twice[:80]!r} is given twice", field=twice[:80], hint="give it once")
    return members


def object_body(body: Any, *known: str, at: str = "") -> dict[str, Any]:
    """The fields of an object by their names in camelCase, taken in either spelling.

    InvalidArgument for what is no object, for a field that is none of `known`, and for one given in both spellings.
    `at`: the path of an object within the body, "" for the body itself.
    """
    if not isinstance(body, dict):
        raise InvalidArgument(f"{at or 'the body'} must be a JSON object", field=at or None)
    given = {name if name in known else to_camel(name): value for name, value in body.items()}
    unknown = sorted(name for name in body if name not in known and to_camel(name) not in known)
    if unknown:
        field = f"{at}.{unknown[0]}".lstrip(".")[:80]
        hint = "known here: " + (", ".join(known) or "none")
        raise InvalidArgument(f"unknown field {field!r}", field=field, hint=hint)
    if len(given) < len(body):
        raise InvalidArgument("a field is given in both spellings", hint="give it once")
    return given


async def no_body(request: Request) -> None:
    """For what takes no field: `{}` or nothing."""
    object_body(await json_body(request))


def deployment_name(account: str, deployment_id: str) -> str:
    """The full name of a path's deployment."""
    return str(Name.of(deployment_id, "deployments", account, "deployment"))


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What every list takes (AIP-132), in `listing.page`'s words; `scope` and `secret` are for its tokens."""

    size: int | None
    token: str
    filter_text: str
    order_by: str
    read_mask: str
    scope: str
    secret: bytes


def list_query(
    request: Request,
    page_size: Annotated[int | None, Query(alias="pageSize", description="50 if not given, at most 200")] = None,
    page_token: Annotated[str, Query(alias="pageToken", description="nextPageToken of the page before")] = "",
    filter_text: Annotated[str, Query(alias="filter", description='e.g. state=READY AND display_name="chat"')] = "",
    order_by: Annotated[str, Query(alias="orderBy", description="e.g. createTime desc, name")] = "",
    read_mask: ReadMask = "",
) -> ListQuery:
    own = {"pageSize", "pageToken", "filter", "orderBy", "readMask"}
    switches = sorted((name, value) for name, value in request.query_params.items() if name not in own)
    scope = f"{request.url.path} {switches}"
    return ListQuery(page_size, page_token, filter_text, order_by, read_mask, scope, house(request).page_secret)


Listing = Annotated[ListQuery, Depends(list_query)]
HouseDep = Annotated[House, Depends(house)]
Caller = Annotated[Principal, Depends(principal)]
Body = Annotated[Any, Depends(json_body)]
NoBody = Annotated[None, Depends(no_body)]


def shown(message: Wire, read_mask: str = "", within: str = "") -> Response:
    """The message as the answer's JSON, with the fields of `readMask`; `within`: see `masks.shown`."""
    if not read_mask:
        content = message.model_dump_json(by_alias=True, exclude_none=True)
        return Response(content, media_type="application/json")
    return JSONResponse(masks.shown(message, read_mask, within))


def listed(
    items: Sequence[W], query: ListQuery, kind: type[W], page_kind: type[Wire], within: str, order: str = "name"
) -> Response:
    """One page of `items`, which are of this `kind`: a `page_kind`, whose field `within` has them."""
    found, token, total = page(items, **asdict(query), default_order=order, kind=kind)
    fields: dict[str, Any] = {within: found, "next_page_token": token, "total_size": total}
    return shown(page_kind(**fields), query.read_mask, within)


def documented_body(model: str) -> dict[str, Any]:
    """OpenAPI for a body that is validated by `engine.declare`, not by FastAPI."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
