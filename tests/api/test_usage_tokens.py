"""What requests used: counted by whom and for what, shown in any grouping, and charged to who leaves."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.errors import InvalidArgument
from client.usage_tokens_types import TokenRow
from engine.telemetry.meter import Usage
from tests.house import served
from tests.processes import PATIENCE_S
from tests.virtual import Virtual, virtual

SEED = 20_260_202
PRICES = """
[hours]
NVIDIA_L4_24GB = 1800

[[tokens]]
models = ["*simulated-8b"]
prompt = 500000
cached = 0
generated = 1000000
"""
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
PROMPT_TOKENS = 9  # of CHAT, as the virtual replica counts
SUMS = ("requests", "failed_requests", "prompt_tokens", "generated_tokens", "cost_usd", "unpriced_requests")


async def ask(http: httpx.AsyncClient, name: str = "chat", **fields: object) -> httpx.Response:
    body = CHAT | {"model": f"accounts/local/deployments/{name}"} | fields
    return await http.post("/v1/chat/completions", json=body)


async def person(at: Virtual, user: str, role: str = "inference-user") -> tuple[str, str]:
    """The id of a new key of a user, and the key."""
    record, key = await at.engine.house.keyring.create("local", user, role, "", None)
    return record.id, key


def sums(row: TokenRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in SUMS)


async def test_usage_is_attributed_to_user_key_deployment_and_tags_and_shown_by_any_of_them(at: Virtual) -> None:
    ada_id, ada = await person(at, "ada")
    bob_id, bob = await person(at, "bob")
    async with at.client() as admin:
        await at.deploy(admin, "chat")
        await at.deploy(admin, "other")
        async with at.http(ada) as http:
            assert (await ask(http, metadata={"team": "search", "env": "prod"})).status_code == 200
            assert (await ask(http, metadata={"team": "search"})).status_code == 200
        async with at.http(bob) as http:
            assert (await ask(http, metadata={"team": "ads"})).status_code == 200
            assert (await ask(http, "other")).status_code == 200
            assert (await ask(http, "other", n=2)).status_code == 400, "by the replica"
            assert (await ask(http, "nothing")).status_code == 404
        usage = admin.usage
        by_user = await usage.tokens(group_by=["user"])
        assert {row.user: sums(row) for row in by_user.rows} == {
            "ada": (2, 0, 2 * PROMPT_TOKENS, 2, None, 2), "bob": (3, 1, 2 * PROMPT_TOKENS, 2, None, 3),
        }  # fmt: skip
        assert (by_user.total.requests, by_user.total.failed_requests) == (5, 1)
        assert all(row.simulated and row.key is None and row.tags is None for row in by_user.rows)
        teams = await usage.tokens(group_by=["key", "tag:team"])
        assert {(row.key, (row.tags or {}).get("team")): row.requests for row in teams.rows} == {
            (ada_id, "search"): 2, (bob_id, "ads"): 1, (bob_id, None): 2
        }  # fmt: skip
        names = {row.deployment: row.requests for row in (await usage.tokens()).rows}
        assert names == {"accounts/local/deployments/chat": 3, "accounts/local/deployments/other": 2}
        whole = await usage.tokens(group_by=["tags"])
        assert {json.dumps(row.tags): row.requests for row in whole.rows} == {
            "null": 2, '{"env": "prod", "team": "search"}': 1, '{"team": "ads"}': 1, '{"team": "search"}': 1,
        }  # fmt: skip
        for text, found in (
            ('tags.team="search"', 2), ("tags.team=se*", 2), ("tags:env", 1), ("user=bob", 3), (f"key={bob_id}", 3),
            ('deployment="*/other" AND user=bob', 2), ("model:8b", 5), ("adapter:*", 0), ("NOT tags:team", 2),
        ):  # fmt: skip
            filtered = await usage.tokens(group_by=[], filter_text=text)
            assert (filtered.total.requests, filtered.rows) == (found, []), text
        for wrong in (["colour"], ["tag:"], ["tag:a b"], ["user"] * 9):
            with pytest.raises(InvalidArgument):
                await usage.tokens(group_by=wrong)
    async with at.client(bob) as seen:
        keys = {row.key for row in (await seen.usage.tokens(group_by=["user", "key"])).rows}
        assert keys == {bob_id, None}, "another's key is not his to see"


async def test_other_accounts_usage_is_not_shown(at: Virtual) -> None:
    _, stranger = await at.engine.house.keyring.create("elsewhere", "root", "admin", "", None)
    async with at.client() as admin, at.client(stranger, "elsewhere") as other:
        await at.deploy(admin, "chat")
        async with at.http(at.admin_key) as http:
            assert (await ask(http)).status_code == 200
        assert (await other.usage.tokens()).total.requests == 0
        async with at.http(stranger) as http:
            assert (await http.get("/firedeck/v1/accounts/local/usage:tokens")).status_code == 403


async def test_a_body_without_sense_in_its_metadata_is_counted_without_tags(at: Virtual) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        for metadata in ("x", [], 7, {"": "x", "1a": "x", "a b": "x"}, {"prose": "what was said\n"}, {"n": 1}):
            await ask(http, metadata=metadata)
        rows = (await admin.usage.tokens(group_by=["tags"])).rows
        assert [(row.tags, row.requests) for row in rows] == [
            (None, 4), ({"n": "(other)"}, 1), ({"prose": "(other)"}, 1),
        ]  # fmt: skip


async def test_a_thousand_combinations_of_tags_are_told_apart_and_the_others_are_one(at: Virtual) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        caller = at.engine.house.keyring.identify({"authorization": f"Bearer {at.admin_key}"}, "127.0.0.1")
        for number in range(998):
            at.engine.house.tally.bill(caller, "d", "m", None, {"id": f"n{number}"}, simulated=True)
        for name in ("a", "b", "c", "d", "a"):
            assert (await ask(http, metadata={"team": name})).status_code == 200
        rows = (await admin.usage.tokens(group_by=["tag:team", "tags"])).rows
        assert {json.dumps(row.tags): row.requests for row in rows} == {
            '{"team": "a"}': 2, '{"team": "b"}': 1, '{"(other)": "(other)"}': 2,
        }  # fmt: skip


async def test_prices_come_from_the_file_and_the_budget_counts_tokens_too(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    async with virtual(tmp_path / "virtual", prices=file) as at, at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        spent = (await admin.quotas.get("monthly-spend-usd")).usage or 0.0
        assert (await ask(http)).status_code == 200
        [row] = (await admin.usage.tokens(group_by=["model"])).rows
        assert (row.cost_usd, row.unpriced_requests) == (PROMPT_TOKENS / 2 + 1, 0)
        now = (await admin.quotas.get("monthly-spend-usd")).usage or 0.0
        assert now >= spent + PROMPT_TOKENS / 2 + 1
        await at.pass_time(10)
        async with asyncio.timeout(PATIENCE_S):
            while not (rows := (await admin.usage.get()).rows):  # the ledger looks twice in a real second
                await asyncio.sleep(0.05)
                await at.pass_time(1)
        [replicas] = rows
        assert replicas.cost_usd == pytest.approx(replicas.replica_seconds * 1800 / 3600), "the file's, not the node's"
        await admin.quotas.update("monthly-spend-usd", int(now) + 20)
        while (answer := await ask(http)).status_code == 200:
            pass
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "MONTHLY_SPEND_LIMIT_EXCEEDED")
        file.write_text(PRICES.replace("generated = 1000000", "generated = 500000"))
        await admin.quotas.update("monthly-spend-usd", 10**6)
        await at.pass_time(2)
        before = (await admin.usage.tokens()).total.cost_usd or 0.0
        assert (await ask(http)).status_code == 200
        assert (await admin.usage.tokens()).total.cost_usd == pytest.approx(before + PROMPT_TOKENS / 2 + 0.5)
        file.write_text("[[tokens]]\nprompt = -1")
        await at.pass_time(2)
        assert (await ask(http)).status_code == 200
        assert (await admin.usage.tokens()).total.cost_usd == pytest.approx(before + 2 * (PROMPT_TOKENS / 2 + 0.5))


async def leave_after(at: Virtual, tokens: int) -> int:
    """Ask for a stream as ASGI has it, leave after so many events; how many tokens the client was sent."""
    sent: list[bytes] = []
    asked, left = False, asyncio.Event()
    body = json.dumps(CHAT | {"model": "accounts/local/deployments/chat", "stream": True, "max_tokens": 9})

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body.encode(), "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    def count() -> int:
        return b"".join(sent).count(b'"content"')

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if count() >= tokens:
            left.set()

    headers = [
        (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {at.admin_key}".encode()),
        (b"content-type", b"application/json"),
    ]  # fmt: skip
    path = "/v1/chat/completions"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asking = asyncio.create_task(at.engine(scope, receive, send))
    if tokens == 0:
        left.set()
    while not asking.done():
        await at.pass_time(1.0)
    await asking
    return count()


async def test_who_leaves_pays_the_tokens_that_were_sent(at: Virtual) -> None:
    chance = random.Random(SEED)
    async with at.client() as admin:
        await at.deploy(admin, "chat")
        prompts = generated = 0
        for number, tokens in enumerate([0, 1, 8, chance.randint(2, 7), chance.randint(2, 7)], start=1):
            sent = await leave_after(at, tokens)
            prompts, generated = prompts + (PROMPT_TOKENS if sent else 0), generated + sent
            found = (await admin.usage.tokens()).total
            assert (found.requests, found.failed_requests) == (number, 0)
            told = f"seed {SEED}, left after {tokens} of 9, was sent {sent}"
            assert (found.prompt_tokens, found.generated_tokens) == (prompts, generated), told


async def test_the_command_shows_a_table_json_and_rows_for_a_spreadsheet(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as (url, opened):
        house = opened.engine.house
        caller = house.keyring.identify({"authorization": f"Bearer {opened.admin_key}"}, "127.0.0.1")
        used = Usage(prompt=7, cached=3, generated=5, accepted=2, rejected=1)
        for team in ("search", "ads", "search"):
            bill = house.tally.bill(
                caller, "accounts/local/deployments/chat", "accounts/a/models/m", "accounts/a/models/lora",
                {"team": team}, simulated=False,
            )  # fmt: skip
            bill.settle(used, failed=False)
            bill.settle(used, failed=False)

        async def firedeck(*words: str) -> str:
            ends = ["--base-url", url, "--api-key", opened.admin_key]
            found = await asyncio.to_thread(CliRunner().invoke, main, ["usage", *words, *ends])
            assert found.exit_code == 0, found.output
            return found.stdout

        table = (await firedeck("--by", "adapter,tag:team")).splitlines()
        assert [line.split() for line in table[1:5]] == [
            ["ADAPTER", "TAG:TEAM", "REQUESTS", "FAILED", "PROMPT", "CACHED", "GENERATED", "ACCEPTED", "REJECTED",
             "COST", "USD"],
            ["lora", "ads", "1", "0", "7", "3", "5", "2", "1", "-"],
            ["lora", "search", "2", "0", "14", "6", "10", "4", "2", "-"],
            ["TOTAL", "3", "0", "21", "9", "15", "6", "3", "-"],
        ]  # fmt: skip
        assert table[5].startswith("without a price: 3 requests")
        text = await firedeck("--by", "deployment", "--csv", "--filter", "tags.team=ads")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [(row["deployment"], row["prompt_tokens"], row["cost_usd"]) for row in rows] == [
            ("accounts/local/deployments/chat", "7", "")
        ]
        found = json.loads(await firedeck("--by", "user", "--json"))
        assert [(row["user"], row["requests"]) for row in found["rows"]] == [("admin", 3)]
        async with opened.http(opened.admin_key) as http:
            query = {"groupBy": "deployment", "format": "csv", "filter": "tags.team=ads"}
            answer = await http.get("/firedeck/v1/accounts/local/usage:tokens", params=query)
        assert answer.headers["content-type"].startswith("text/csv")
        assert list(csv.DictReader(io.StringIO(answer.text))) == rows


async def test_usage_is_grouped_by_hour_and_by_day_alone_and_with_others(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as (url, opened):
        house = opened.engine.house
        caller = house.keyring.identify({"authorization": f"Bearer {opened.admin_key}"}, "127.0.0.1")
        base = datetime(2026, 3, 1, 23, 30, 40, tzinfo=UTC)
        for minutes, team in ((0, "a"), (1, "b"), (40, "a")):
            at_ms = int((base + timedelta(minutes=minutes)).timestamp() * 1000)
            house.tally._now_ms = lambda at_ms=at_ms: at_ms
            bill = house.tally.bill(caller, "d", "m", None, {"team": team}, simulated=False)
            bill.settle(Usage(prompt=7, generated=5), failed=False)
        first, second = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
        async with opened.client() as client:
            asked = {"start": first, "end": second + timedelta(days=1)}
            days = await client.usage.tokens(group_by=["day"], **asked)
            assert [(row.time, row.requests) for row in days.rows] == [(first, 2), (second, 1)]
            both = await client.usage.tokens(group_by=["tag:team", "hour"], **asked)
            assert [((row.tags or {})["team"], row.time, row.prompt_tokens) for row in both.rows] == [
                ("a", first.replace(hour=23), 7), ("a", second, 7), ("b", first.replace(hour=23), 7),
            ]  # fmt: skip
            assert both.total.requests == days.total.requests == 3
            one = await client.usage.tokens(group_by=["hour"], filter_text=f'time="{second.isoformat()}"', **asked)
            assert [row.time for row in one.rows] == [second]
            later = await client.usage.tokens(start=base, end=base + timedelta(minutes=5))
            assert (later.start_time, later.total.requests) == (base.replace(minute=31, second=0), 1)
            assert later.end_time == base.replace(minute=36, second=0)
            with pytest.raises(InvalidArgument, match="by hour or by day"):
                await client.usage.tokens(group_by=["hour", "day"])
        ends = ["--base-url", url, "--api-key", opened.admin_key, "--start", "2026-03-01", "--end", "2026-03-03"]

        async def firedeck(*words: str) -> list[str]:
            found = await asyncio.to_thread(CliRunner().invoke, main, ["usage", *words])
            assert found.exit_code == 0, found.output
            return found.stdout.splitlines()

        table = await firedeck("--by", "day,tag:team", *ends)
        assert table[0] == "2026-03-01 00:00:00 to 2026-03-03 00:00:00 UTC"
        assert [line.split()[:3] for line in table[2:5]] == [
            ["2026-03-01", "a", "1"], ["2026-03-01", "b", "1"], ["2026-03-02", "a", "1"]
        ]  # fmt: skip
        rows = list(csv.DictReader(io.StringIO("\n".join(await firedeck("--by", "hour", "--csv", *ends)))))
        assert [(row["hour"], row["requests"]) for row in rows] == [
            ("2026-03-01T23:00:00Z", "2"), ("2026-03-02T00:00:00Z", "1")
        ]  # fmt: skip
        [told, *_] = await firedeck("--by", "day", *ends[:4], "--start", "2026-03-01T23:30:40Z", "--end", "2026-03-03")
        assert told.startswith("2026-03-01 23:31:00 to 2026-03-03 00:00:00 UTC (counted in whole minutes")
