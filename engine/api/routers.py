"""`/firedeck/v1/accounts/{account}/routers`: traffic between deployments, firedeck's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.names import Name
from client.router_types import Router, RouterPage, RouterShiftSpec
from engine import router_rules
from engine.access import bodies
from engine.api.common import (
    Body,
    Caller,
    HouseDep,
    Listing,
    ReadMask,
    UpdateMask,
    ValidateOnly,
    documented_body,
    listed,
    shown,
)
from engine.masks import update_paths

router = APIRouter(prefix="/firedeck/v1/accounts/{account}/routers", tags=["firedeck"])
_ONE = "/{router_id}"


@router.post("", response_model=Router, openapi_extra=documented_body("RouterSpec"))
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    router_id: Annotated[str | None, Query(alias="routerId")] = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """A new router: requests name it as their `model`, and it sends each to one of its deployments."""
    spec, routers = router_rules.read(body), house.fleet.routers
    return shown(await routers.create(account, spec, router_id, by=caller.user, validate_only=validate_only))


@router.get("", response_model=RouterPage)
async def list_routers(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The account's routers."""
    items = house.fleet.routers.all(account)
    return listed(items, query, Router, RouterPage, "routers", order="createTime")


@router.get(_ONE, response_model=Router)
async def get(account: str, router_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A router with the shares that its targets are to have and have had, and the steps of its last shift."""
    return shown(house.fleet.routers.get(_name(account, router_id)), read_mask)


@router.post(_ONE + ":shift", response_model=Router, openapi_extra=documented_body("RouterShiftSpec"))
async def shift(
    account: str, router_id: str, body: Body, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> Response:
    """Move a weighted router's traffic to one deployment, by steps. It goes back by itself when that deployment fails
    more often, or answers later, than is allowed; `abort` takes it back by hand."""
    name, spec = _name(account, router_id), bodies.read(body, RouterShiftSpec)
    return shown(await house.fleet.routers.shift(name, spec, by=caller.user, validate_only=validate_only))


@router.patch(_ONE, response_model=Router, openapi_extra=documented_body("RouterSpec"))
async def update(
    account: str,
    router_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: UpdateMask = "",
    validate_only: ValidateOnly = False,
) -> Response:
    """Only the fields of `updateMask` change; without a mask, only those that the body has. Targets are one field."""
    changes, name = router_rules.read(body), _name(account, router_id)
    paths = update_paths(update_mask)
    return shown(await house.fleet.routers.update(name, changes, paths, validate_only=validate_only))


@router.delete(_ONE)
async def delete(
    account: str, router_id: str, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """The router goes; its deployments stay. Requests under way end as they would have."""
    await house.fleet.routers.delete(_name(account, router_id), validate_only=validate_only)
    return {}


def _name(account: str, router_id: str) -> str:
    return str(Name.of(router_id, "routers", account, "router"))
