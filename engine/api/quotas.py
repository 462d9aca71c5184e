"""`/v1/accounts/{account}/quotas`: what an account may use, and uses."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from client.access_types import Quota, QuotaPage
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, ReadMask, UpdateMask, documented_body, shown
from engine.api.listing import page

router = APIRouter(prefix="/v1/accounts/{account}/quotas", tags=["quotas"])


@router.get("", response_model=QuotaPage)
async def list_quotas(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """Every quota that this engine enforces, with its usage now."""
    found, token, total = page(house.access.quotas.of(account), **asdict(query), default_order="name", kind=Quota)
    listed = QuotaPage(quotas=found, next_page_token=token, total_size=total)
    return shown(listed, query.read_mask, "quotas")


@router.get("/{quota_id}", response_model=Quota)
async def get(account: str, quota_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    return shown(house.access.quotas.get(account, quota_id), read_mask)


@router.patch("/{quota_id}", openapi_extra=documented_body("Quota"), response_model=Quota)
async def update(
    account: str, quota_id: str, body: Body, house: HouseDep, caller: Caller, update_mask: UpdateMask = ""
) -> Response:
    """A new `value`, at most `maxValue`."""
    changes = bodies.masked(bodies.read(body, Quota), update_mask)
    return shown(await house.access.quotas.update(account, quota_id, changes))
