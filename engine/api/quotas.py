"""`/v1/accounts/{account}/quotas`: what an account may use, and uses; and firedeck's own, the same of a single key:
`/firedeck/v1/accounts/{account}/users/{user}/apiKeys/{key}/quotas`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from client.access_types import Quota, QuotaPage
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

_OF_ACCOUNT = "/v1/accounts/{account}/quotas"
_OF_KEY = "/firedeck/v1/accounts/{account}/users/{user_id}/apiKeys/{key_id}/quotas"

router = APIRouter(tags=["quotas"])


@router.get(_OF_ACCOUNT, response_model=QuotaPage)
async def list_quotas(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """Every quota that this engine enforces, with its usage now."""
    return listed(house.access.quotas.of(account), query, Quota, QuotaPage, "quotas")


@router.get(_OF_ACCOUNT + "/{quota_id}", response_model=Quota)
async def get(account: str, quota_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """One quota, with its usage now."""
    return shown(house.access.quotas.get(account, quota_id), read_mask)


@router.patch(_OF_ACCOUNT + "/{quota_id}", openapi_extra=documented_body("Quota"), response_model=Quota)
async def update(
    account: str, quota_id: str, body: Body, house: HouseDep, caller: Caller, update_mask: UpdateMask = "",
    validate_only: ValidateOnly = False,
) -> Response:  # fmt: skip
    """A new `value`, at most `maxValue`; with `validateOnly` (ours) what it would be."""
    changes = bodies.masked(bodies.read(body, Quota), update_mask)
    return shown(await house.access.quotas.update(account, quota_id, changes, validate_only=validate_only))


@router.delete(_OF_ACCOUNT + "/{quota_id}")
async def delete(
    account: str, quota_id: str, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """Back to `maxValue`, where it began (ours)."""
    await house.access.quotas.delete(account, quota_id, validate_only=validate_only)
    return {}


@router.get(_OF_KEY, response_model=QuotaPage)
async def list_of_key(
    account: str, user_id: str, key_id: str, house: HouseDep, caller: Caller, query: Listing
) -> Response:
    """What a key may use, besides what its account may, with its usage now."""
    rates = house.access.quotas.rates
    quotas = rates.all(rates.key(account, user_id, key_id))
    return listed(quotas, query, Quota, QuotaPage, "quotas")


@router.get(_OF_KEY + "/{quota_id}", response_model=Quota)
async def get_of_key(
    account: str, user_id: str, key_id: str, quota_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = ""
) -> Response:
    """One quota of a key, with its usage now."""
    rates = house.access.quotas.rates
    return shown(rates.get(rates.key(account, user_id, key_id), quota_id), read_mask)


@router.patch(_OF_KEY + "/{quota_id}", openapi_extra=documented_body("Quota"), response_model=Quota)
async def update_of_key(
    account: str, user_id: str, key_id: str, quota_id: str, body: Body, house: HouseDep, caller: Caller,
    update_mask: UpdateMask = "", validate_only: ValidateOnly = False,
) -> Response:  # fmt: skip
    """A new `value`, at most `maxValue`, where it is off; with `validateOnly` what it would be."""
    changes = bodies.masked(bodies.read(body, Quota), update_mask)
    rates = house.access.quotas.rates
    holder = rates.key(account, user_id, key_id)
    return shown(await rates.update(holder, quota_id, changes, validate_only=validate_only))


@router.delete(_OF_KEY + "/{quota_id}")
async def delete_of_key(
    account: str, user_id: str, key_id: str, quota_id: str, house: HouseDep, caller: Caller,
    validate_only: ValidateOnly = False,
) -> dict[str, Any]:  # fmt: skip
    """The key is not limited by itself any more."""
    rates = house.access.quotas.rates
    await rates.delete(rates.key(account, user_id, key_id), quota_id, validate_only=validate_only)
    return {}
