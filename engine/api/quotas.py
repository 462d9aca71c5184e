"""`/v1/accounts/{account}/quotas`: what an account may use, and uses; and firedeck's own, the same of a single key:
`/firedeck/v1/accounts/{account}/users/{user}/apiKeys/{key}/quotas`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from client.access_types import Quota, QuotaPage
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, ReadMask, UpdateMask, documented_body, listed, shown

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
    account: str, quota_id: str, body: Body, house: HouseDep, caller: Caller, update_mask: UpdateMask = ""
) -> Response:
    """A new `value`, at most `maxValue`."""
    changes = bodies.masked(bodies.read(body, Quota), update_mask)
    return shown(await house.access.quotas.update(account, quota_id, changes))


@router.get(_OF_KEY, response_model=QuotaPage)
async def list_of_key(
    account: str, user_id: str, key_id: str, house: HouseDep, caller: Caller, query: Listing
) -> Response:
    """What a key may use, besides what its account may, with its usage now."""
    rates = house.access.quotas.rates
    quotas = rates.all(rates.key(account, user_id, key_id))
    return listed(quotas, query, Quota, QuotaPage, "quotas")


@router.patch(_OF_KEY + "/{quota_id}", openapi_extra=documented_body("Quota"), response_model=Quota)
async def update_of_key(
    account: str, user_id: str, key_id: str, quota_id: str, body: Body, house: HouseDep, caller: Caller,
    update_mask: UpdateMask = "",
) -> Response:  # fmt: skip
    """A new `value`, at most `maxValue`, where it is off."""
    changes = bodies.masked(bodies.read(body, Quota), update_mask)
    rates = house.access.quotas.rates
    return shown(await rates.update(rates.key(account, user_id, key_id), quota_id, changes))
