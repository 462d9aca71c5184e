"""Accounts: a key's own and the library's, through the typed client, the official SDK's paths and the command line."""

from __future__ import annotations

import pytest

from client.access_types import UserSpec
from client.errors import InvalidArgument, PermissionDenied
from client.resources import Client
from tests.house import Home, home


async def test_a_key_sees_its_own_account_and_the_librarys(own: Home, admin: Client) -> None:
    await admin.users.update("admin", UserSpec(email="ops@example.com"))
    mine, library = sorted(await admin.accounts.list(), key=lambda account: account.id != "local")
    assert (mine.name, mine.email, mine.state, mine.suspend_state) == (
        "accounts/local", "ops@example.com", "READY", "UNSUSPENDED",
    )  # fmt: skip
    assert (library.name, library.email) == ("accounts/fireworks", "")
    assert await admin.accounts.get() == mine == await admin.accounts.get("accounts/local")
    assert await admin.accounts.get("fireworks") == library
    with pytest.raises(PermissionDenied):
        await admin.accounts.get("elsewhere")
    with pytest.raises(InvalidArgument):
        await admin.accounts.get("Not/AnId")
    async with own.client(await own.stranger()) as stranger:
        assert [account.id for account in await stranger.accounts.list()] == ["elsewhere", "fireworks"]


async def test_an_account_is_as_old_as_its_first_start_and_not_as_its_last(tmp_path) -> None:
    ages = []
    for _ in range(2):
        async with home(tmp_path) as at, at.client() as admin:
            ages.append((await admin.accounts.get()).create_time)
    assert ages[0] == ages[1] is not None


async def test_the_list_has_pages_filters_orders_and_read_masks_as_all_lists_have(own: Home) -> None:
    async with own.http(own.admin_key) as http:

        async def ask(**query: str) -> list[str]:
            answer = (await http.get("/v1/accounts", params=query)).json()
            return [account["name"] for account in answer["accounts"]]

        assert await ask() == ["accounts/fireworks", "accounts/local"]
        assert await ask(orderBy="name desc") == ["accounts/local", "accounts/fireworks"]
        assert await ask(filter='display_name="local"') == ["accounts/local"]
        first = (await http.get("/v1/accounts", params={"pageSize": "1"})).json()
        assert (len(first["accounts"]), first["totalSize"]) == (1, 2)
        assert await ask(pageSize="1", pageToken=first["nextPageToken"]) == ["accounts/local"]
        masked = (await http.get("/v1/accounts", params={"readMask": "displayName"})).json()
        assert masked["accounts"] == [{"displayName": "fireworks"}, {"displayName": "local"}]
        one = await http.get("/v1/accounts/local", params={"readMask": "name,suspend_state"})
        assert one.json() == {"name": "accounts/local", "suspendState": "UNSUSPENDED"}
        for path in ("/v1/accounts", "/v1/accounts/local"):
            assert (await http.get(path, params={"readMask": "nonsense"})).status_code == 400
