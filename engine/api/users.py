"""`/v1/accounts/{account}/users`: people and service accounts. And firedeck's own: whose key is this?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.access_types import User, UserPage, WhoAmI
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
from engine.wire_paths import snake

router = APIRouter(tags=["users"])
_USERS = "/v1/accounts/{account}/users"


@router.get("/firedeck/v1/whoami", response_model=WhoAmI)
async def whoami(caller: Caller) -> Response:
    """The user of this key."""
    return shown(WhoAmI(account=caller.account, user=caller.user, role=caller.role, key_id=caller.key_id))


@router.post(_USERS, openapi_extra=documented_body("UserSpec"), response_model=User)
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    user_id: Annotated[str | None, Query(alias="userId")] = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """A new user, without a key. `userId` comes from the email when it is not given; `role` is `user` by default. With
    `validateOnly` (ours) what it would be."""
    spec = bodies.read(body, User)
    return shown(await house.access.users.create(account, spec, user_id, validate_only=validate_only))


@router.get(_USERS, response_model=UserPage)
async def list_users(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The account's users, service accounts included (`serviceAccount=true` filters them)."""
    return listed(house.access.users.of(account), query, User, UserPage, "users")


@router.get(_USERS + "/{user_id}", response_model=User)
async def get(account: str, user_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A user or service account of the account."""
    return shown(house.access.users.get(account, user_id), read_mask)


@router.patch(_USERS + "/{user_id}", openapi_extra=documented_body("UserSpec"), response_model=User)
async def update(
    account: str,
    user_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: UpdateMask = "",
    validate_only: ValidateOnly = False,
) -> Response:
    """Role, display name or email. A new role holds at once, for all keys of the user. With `validateOnly` (ours) what
    it would be."""
    changes, mask = bodies.read(body, User), _mask(update_mask)
    return shown(await house.access.users.update(account, user_id, changes, mask, validate_only=validate_only))


@router.delete(_USERS + "/{user_id}")
async def delete(
    account: str, user_id: str, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """The user goes and their keys are revoked; what they made stays, for users and admins to change. `validateOnly`
    (ours) only checks."""
    await house.access.users.delete(account, user_id, validate_only=validate_only)
    return {}


def _mask(update_mask: str) -> frozenset[str] | None:
    """The fields of an update mask in our spelling, None when there is no mask."""
    paths = update_paths(update_mask)
    return None if paths is None else frozenset(snake(path) for path in paths)
