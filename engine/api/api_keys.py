"""`/v1/accounts/{account}/users/{user}/apiKeys`: made (shown once), listed by prefix, deleted by id."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from client.access_types import ApiKey, ApiKeyPage, CreateApiKeyBody, DeleteApiKeyBody
from engine.access import bodies
from engine.api.common import Body, Caller, HouseDep, Listing, documented_body, listed, shown

router = APIRouter(prefix="/v1/accounts/{account}/users/{user_id}", tags=["api keys"])


@router.post("/apiKeys", openapi_extra=documented_body("CreateApiKeyBody"), response_model=ApiKey)
async def create(account: str, user_id: str, body: Body, house: HouseDep, caller: Caller) -> Response:
    """`{"apiKey": {"displayName", "expireTime"}}`: the answer has `key`, which is shown this once."""
    wanted = bodies.read(body, CreateApiKeyBody).api_key
    return shown(await house.access.users.create_key(account, user_id, wanted))


@router.get("/apiKeys", response_model=ApiKeyPage)
async def list_keys(account: str, user_id: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The user's keys, by prefix."""
    return listed(house.access.users.keys(account, user_id), query, ApiKey, ApiKeyPage, "api_keys", order="createTime")


@router.post("/apiKeys:delete", openapi_extra=documented_body("DeleteApiKeyBody"))
async def delete(account: str, user_id: str, body: Body, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """`{"keyId"}`: from now on that key is refused."""
    await house.access.users.delete_key(account, user_id, bodies.read(body, DeleteApiKeyBody).key_id)
    return {}
