"""firedeck's own `/firedeck/v1/accounts/{account}/guards`: what stands before and behind the account's requests."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.errors import InvalidArgument, NotFound
from client.guard_types import Guard, GuardPage, ReleaseKeyBody
from engine.access import bodies
from engine.api.common import (
    Body,
    Caller,
    HouseDep,
    Listing,
    ReadMask,
    UpdateMask,
    ValidateOnly,
    deployment_name,
    documented_body,
    listed,
    shown,
)
from engine.house import House

router = APIRouter(prefix="/firedeck/v1/accounts/{account}/guards", tags=["guards"])
_ONE = "/{guard_id}"


@router.post("", openapi_extra=documented_body("GuardSpec"), response_model=Guard)
async def create(
    account: str, body: Body, house: HouseDep, caller: Caller,
    guard_id: Annotated[str, Query(alias="guardId", description="1 to 63 of a-z, 0-9 and -")],
    validate_only: ValidateOnly = False,
) -> Response:  # fmt: skip
    """A new guard (firedeck's own): it acts from the next request on. With `validateOnly` what it would be."""
    spec = bodies.read(body, Guard)
    _check_model(account, spec, house)
    return shown(await house.access.guards.create(account, spec, guard_id, validate_only=validate_only))


@router.get("", response_model=GuardPage)
async def list_guards(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """All guards, with the keys that their breakers refuse now."""
    return listed(house.access.guards.of(account), query, Guard, GuardPage, "guards")


@router.post(_ONE + ":release", openapi_extra=documented_body("ReleaseKeyBody"), response_model=Guard)
async def release(account: str, guard_id: str, body: Body, house: HouseDep, caller: Caller) -> Response:
    """Let a key in again that the guard's breaker refuses."""
    return shown(house.access.guards.release(account, guard_id, bodies.read(body, ReleaseKeyBody).key_id))


@router.get(_ONE, response_model=Guard)
async def get(account: str, guard_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """One guard, with the keys that its breaker refuses now."""
    return shown(house.access.guards.get(account, guard_id), read_mask)


@router.patch(_ONE, openapi_extra=documented_body("GuardSpec"), response_model=Guard)
async def update(
    account: str, guard_id: str, body: Body, house: HouseDep, caller: Caller, update_mask: UpdateMask = "",
    validate_only: ValidateOnly = False,
) -> Response:  # fmt: skip
    """Only the fields of `updateMask` change; without a mask, only those that the body has. One that the mask names and
    the body lacks, or has as null, is taken away. With `validateOnly` what it would be."""
    changes = bodies.masked(bodies.read(body, Guard), update_mask)
    house.access.guards.get(account, guard_id)
    _check_model(account, changes, house)
    return shown(await house.access.guards.update(account, guard_id, changes, validate_only=validate_only))


@router.delete(_ONE)
async def delete(
    account: str, guard_id: str, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """It stands against nothing any more, and forgets whom it refused. `validateOnly` only checks."""
    await house.access.guards.delete(account, guard_id, validate_only=validate_only)
    return {}


def _check_model(account: str, guard: Guard, house: House) -> None:
    """A guard model must be there when it is named; later it may go, and then does not answer."""
    if not guard.model:
        return
    try:
        house.fleet.get(deployment_name(account, guard.model))
    except NotFound as error:
        raise InvalidArgument(f"model: {error.message}", field="model", hint="create the deployment first") from None
