"""Events as a list: filtered, in any order, page by page; and the newest of them, as a dashboard asks."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.errors import InvalidArgument
from client.resources import Client
from tests.house import Home, field_of, served

CHAT, OTHER = (f"accounts/local/deployments/{one}" for one in ("chat", "other"))
PATH = "/firedeck/v1/events"


async def fill(own: Home, count: int) -> None:
    store = own.engine.house.fleet.rooms.store
    for number in range(count):
        kind = "Warning" if number % 3 == 0 else "Normal"
        await store.add_event(CHAT if number % 2 else OTHER, kind, "ReplicaReady", f"m{number}", f"r-{number}")
    await store.add_event("accounts/elsewhere/deployments/chat", "Warning", "ReplicaReady", "theirs")


async def test_every_event_is_on_one_page_in_any_order_whatever_comes_meanwhile(own: Home, admin: Client) -> None:
    await fill(own, 30)
    for order, descending in (("seq", False), ("seq desc", True), ("kind, time desc", None), ("kind", None)):
        seen, token = [], ""
        while True:
            found = await admin.fleet.list_events(order_by=order, page_size=7, page_token=token)
            assert found.total_size >= 30
            seen += [event.message for event in found]
            token = found.next_page_token
            if not token:
                break
            await own.engine.house.fleet.rooms.store.add_event(CHAT, "Normal", "Later", "later")
        first = [message for message in seen if message != "later"]
        assert sorted(first) == sorted(f"m{number}" for number in range(30)), order
        if descending is not None:
            assert first == sorted(first, key=lambda one: int(one[1:]), reverse=descending)


async def test_a_filter_holds_for_pages_and_for_the_newest_and_tokens_belong_to_it(own: Home, admin: Client) -> None:
    await fill(own, 30)
    wanted = f'kind=Warning AND deployment="{CHAT}"'
    all_of_them = [f"m{number}" for number in range(30) if number % 3 == 0 and number % 2]
    assert [event.message for event in await admin.fleet.list_events(filter=wanted)] == all_of_them
    assert [event.message for event in await admin.fleet.events(filter_text=wanted, limit=2)] == all_of_them[-2:]
    assert [event.message for event in await admin.fleet.list_events("chat", filter="kind=Warning")] == all_of_them
    newest = await admin.fleet.events(limit=5)
    assert [event.message for event in newest] == [f"m{number}" for number in range(25, 30)]
    assert await admin.fleet.events(after=newest[-1].seq) == []
    page = await admin.fleet.list_events(filter=wanted, page_size=2)
    with pytest.raises(InvalidArgument, match="pageToken"):
        await admin.fleet.list_events(filter="kind=Normal", page_size=2, page_token=page.next_page_token)
    async with own.http(own.admin_key) as http:
        masked = (await http.get(PATH, params={"readMask": "message", "pageSize": 1})).json()
        assert (masked["events"], masked["totalSize"]) == ([{"message": "m0"}], 30)
        for query, field in (
            ({"filter": "nope=1"}, "filter"), ({"orderBy": "nope"}, "orderBy"), ({"limit": 5, "pageSize": 5}, "limit"),
        ):  # fmt: skip
            answer = await http.get(PATH, params=query)
            assert (answer.status_code, field_of(answer)) == (400, field), answer.text


async def test_the_command_lists_the_newest_or_pages_of_all(tmp_path) -> None:
    async with served(tmp_path / "data") as (url, own):
        await fill(own, 30)

        async def firedeck(*words: str, status: int = 0) -> str:
            ends = ["--base-url", url, "--api-key", own.admin_key]
            found = await asyncio.to_thread(CliRunner().invoke, main, ["event", "list", *words, *ends])
            assert found.exit_code == status, found.output
            return str(found.output)

        assert (await firedeck("--filter", "message=m29 OR message=m3", "-q")).split() == ["4", "30"]
        paged = await firedeck("--order-by", "seq desc", "--page-size", "3")
        assert [line.split()[-1] for line in paged.splitlines()[1:4]] == ["m29", "m28", "m27"]
        assert "Total size: 30" in paged
        token = paged.rpartition("--page-token ")[2].strip()
        again = await firedeck("--order-by", "seq desc", "--page-size", "3", "--page-token", token, "-q")
        assert again.split()[:3] == ["27", "26", "25"]
        assert "--limit" in await firedeck("--limit", "5", "--page-size", "5", status=2)
