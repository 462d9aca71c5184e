"""`/v1/accounts/{account}/secrets`: values go in and never come out. How they lie on disk: `engine.access.sealing`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from client.access_types import Secret, SecretPage
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, documented_body
from engine.api.listing import page

router = APIRouter(prefix="/v1/accounts/{account}/secrets", tags=["secrets"])
_SHOW: dict[str, Any] = {"response_model_exclude_none": True, "response_model_by_alias": True}


@router.post("", openapi_extra=documented_body("Secret"), **_SHOW)
async def create(account: str, body: Body, house: HouseDep, caller: Caller) -> Secret:
    """`{"name", "keyName", "value"}`; the answer has no value."""
    return await house.access.vault.create(account, bodies.read(body, Secret))


@router.get("", **_SHOW)
async def list_secrets(account: str, house: HouseDep, caller: Caller, query: Listing) -> SecretPage:
    """Names only."""
    found, token, total = page(house.access.vault.of(account), **asdict(query), default_order="name")
    return SecretPage(secrets=found, next_page_token=token, total_size=total)


@router.get("/{secret_id}", **_SHOW)
async def get(account: str, secret_id: str, house: HouseDep, caller: Caller) -> Secret:
    return house.access.vault.get(account, secret_id)


@router.patch("/{secret_id}", openapi_extra=documented_body("Secret"), **_SHOW)
async def update(account: str, secret_id: str, body: Body, house: HouseDep, caller: Caller) -> Secret:
    """A new `value`, a new `keyName`, or both."""
    return await house.access.vault.update(account, secret_id, bodies.read(body, Secret))


@router.delete("/{secret_id}")
async def delete(account: str, secret_id: str, house: HouseDep, caller: Caller) -> dict[str, Any]:
    await house.access.vault.delete(account, secret_id)
    return {}
