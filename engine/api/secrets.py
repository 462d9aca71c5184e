"""`/v1/accounts/{account}/secrets`: values go in and never come out. How they lie on disk: `engine.access.sealing`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from client.access_types import Secret, SecretPage
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, ReadMask, UpdateMask, documented_body, listed, shown

router = APIRouter(prefix="/v1/accounts/{account}/secrets", tags=["secrets"])


@router.post("", openapi_extra=documented_body("Secret"), response_model=Secret)
async def create(account: str, body: Body, house: HouseDep, caller: Caller) -> Response:
    """`{"name", "keyName", "value"}`; the answer has no value."""
    return shown(await house.access.vault.create(account, bodies.read(body, Secret)))


@router.get("", response_model=SecretPage)
async def list_secrets(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """Names only."""
    return listed(house.access.vault.of(account), query, Secret, SecretPage, "secrets")


@router.get("/{secret_id}", response_model=Secret)
async def get(account: str, secret_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A secret without its value."""
    return shown(house.access.vault.get(account, secret_id), read_mask)


@router.patch("/{secret_id}", openapi_extra=documented_body("Secret"), response_model=Secret)
async def update(
    account: str, secret_id: str, body: Body, house: HouseDep, caller: Caller, update_mask: UpdateMask = ""
) -> Response:
    """A new `value`, a new `keyName`, or both."""
    changes = bodies.masked(bodies.read(body, Secret), update_mask)
    return shown(await house.access.vault.update(account, secret_id, changes))


@router.delete("/{secret_id}")
async def delete(account: str, secret_id: str, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """The secret goes, and its value with it."""
    await house.access.vault.delete(account, secret_id)
    return {}
