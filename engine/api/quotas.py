"""`/v1/accounts/{account}/quotas`: what an account may use, and uses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from client.access_types import Quota, QuotaPage
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, documented_body
from engine.api.listing import page

router = APIRouter(prefix="/v1/accounts/{account}/quotas", tags=["quotas"])
_SHOW: dict[str, Any] = {"response_model_exclude_none": True, "response_model_by_alias": True}


@router.get("", **_SHOW)
async def list_quotas(account: str, house: HouseDep, caller: Caller, query: Listing) -> QuotaPage:
    """Every quota that this engine enforces, with its usage now."""
    found, token, total = page(house.access.quotas.of(account), **asdict(query), default_order="name")
    return QuotaPage(quotas=found, next_page_token=token, total_size=total)


@router.get("/{quota_id}", **_SHOW)
async def get(account: str, quota_id: str, house: HouseDep, caller: Caller) -> Quota:
    return house.access.quotas.get(account, quota_id)


@router.patch("/{quota_id}", openapi_extra=documented_body("Quota"), **_SHOW)
async def update(account: str, quota_id: str, body: Body, house: HouseDep, caller: Caller) -> Quota:
    """A new `value`, at most `maxValue`."""
    return await house.access.quotas.update(account, quota_id, bodies.read(body, Quota))
