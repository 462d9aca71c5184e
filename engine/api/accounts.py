"""`/v1/accounts`, and the call by which SDKs learn whose key they have."""

from __future__ import annotations

from fastapi import APIRouter, Response

from client.errors import NotFound
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT
from client.types import Account, AccountPage
from engine.access.users import FIRST_ADMIN
from engine.api.common import Caller, HouseDep, Listing, ReadMask, listed, shown

router = APIRouter(tags=["accounts"])


@router.get("/v1/accounts", response_model=AccountPage)
async def list_accounts(house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The accounts that this key can see: its own and the library's."""
    seen = [_account(house, account) for account in dict.fromkeys((caller.account, LIBRARY_ACCOUNT))]
    return listed(seen, query, Account, AccountPage, "accounts")


@router.get("/v1/accounts/{account}", response_model=Account)
async def get(account: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """One of the accounts that this key can see."""
    if account not in {caller.account, LIBRARY_ACCOUNT}:
        raise NotFound(f"account {account!r} does not exist", field="account")
    return shown(_account(house, account), read_mask)


@router.get("/verifyApiKey", response_class=Response)
async def verify(caller: Caller) -> Response:
    """200 with the key's account in a header, as the SDK's 0.19 line asks for it."""
    return Response(headers={"x-fireworks-account-id": caller.account})


def _account(house: HouseDep, account: str) -> Account:
    """The engine's own account is as old as its first admin, whose address is the account's."""
    over = house.access.quotas.over_budget(account)
    made = Account(
        name=f"accounts/{account}", display_name=account,
        suspend_state="MONTHLY_SPEND_LIMIT_EXCEEDED" if over else "UNSUSPENDED",
    )  # fmt: skip
    if account != LOCAL_ACCOUNT:
        return made
    first = house.access.users.get(LOCAL_ACCOUNT, FIRST_ADMIN)
    return made.model_copy(update={"email": first.email or "", "create_time": first.create_time})
