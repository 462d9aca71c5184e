"""`/v1/accounts/{account}/users`: people and service accounts. And firedeck's own: whose key is this?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from client.access_types import User, UserPage, WhoAmI
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, documented_body, mask_of
from engine.api.listing import page

router = APIRouter(tags=["users"])
_USERS = "/v1/accounts/{account}/users"
_SHOW: dict[str, Any] = {"response_model_exclude_none": True, "response_model_by_alias": True}


@router.get("/firedeck/v1/whoami", **_SHOW)
async def whoami(caller: Caller) -> WhoAmI:
    """The user of this key."""
    return WhoAmI(account=caller.account, user=caller.user, role=caller.role, key_id=caller.key_id)


@router.post(_USERS, openapi_extra=documented_body("UserSpec"), **_SHOW)
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    user_id: Annotated[str | None, Query(alias="userId")] = None,
) -> User:
    """A new user, without a key. `userId` comes from the email when it is not given; `role` is `user` by default."""
    return await house.access.users.create(account, bodies.read(body, User), user_id)


@router.get(_USERS, **_SHOW)
async def list_users(account: str, house: HouseDep, caller: Caller, query: Listing) -> UserPage:
    """The account's users, service accounts included (`serviceAccount=true` filters them)."""
    found, token, total = page(house.access.users.of(account), **asdict(query), default_order="name")
    return UserPage(users=found, next_page_token=token, total_size=total)


@router.get(_USERS + "/{user_id}", **_SHOW)
async def get(account: str, user_id: str, house: HouseDep, caller: Caller) -> User:
    return house.access.users.get(account, user_id)


@router.patch(_USERS + "/{user_id}", openapi_extra=documented_body("UserSpec"), **_SHOW)
async def update(
    account: str,
    user_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: Annotated[str, Query(alias="updateMask")] = "",
) -> User:
    """Role, display name or email. A new role holds at once, for all keys of the user."""
    return await house.access.users.update(account, user_id, bodies.read(body, User), mask_of(update_mask))


@router.delete(_USERS + "/{user_id}")
async def delete(account: str, user_id: str, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """The user goes and their keys are revoked; what they made stays."""
    await house.access.users.delete(account, user_id)
    return {}
