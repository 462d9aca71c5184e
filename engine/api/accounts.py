"""`/v1/accounts`, and the call by which SDKs learn whose key they have."""

from __future__ import annotations

from fastapi import APIRouter, Response

from client.errors import NotFound
from client.names import LIBRARY_ACCOUNT
from client.types import Account, AccountPage
from engine.api.common import Caller, HouseDep

router = APIRouter(tags=["accounts"])


@router.get("/v1/accounts", response_model_exclude_none=True, response_model_by_alias=True)
async def list_accounts(house: HouseDep, caller: Caller) -> AccountPage:
    """The accounts that this key can see: its own and the library's."""
    accounts = [_account(house, caller.account), _account(house, LIBRARY_ACCOUNT)]
    return AccountPage(accounts=accounts, total_size=len(accounts))


@router.get("/v1/accounts/{account}", response_model_exclude_none=True, response_model_by_alias=True)
async def get(account: str, house: HouseDep, caller: Caller) -> Account:
    if account not in {caller.account, LIBRARY_ACCOUNT}:
        raise NotFound(f"account {account!r} does not exist", field="account")
    return _account(house, account)


@router.get("/verifyApiKey", response_class=Response)
async def verify(caller: Caller) -> Response:
    """200 with the key's account in a header, as the SDK's 0.19 line asks for it."""
    return Response(headers={"x-fireworks-account-id": caller.account})


def _account(house: HouseDep, account: str) -> Account:
    over = house.access.quotas.over_budget(account)
    return Account(
        name=f"accounts/{account}", display_name=account, create_time=house.started_at,
        suspend_state="MONTHLY_SPEND_LIMIT_EXCEEDED" if over else "UNSUSPENDED",
    )  # fmt: skip
