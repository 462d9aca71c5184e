"""Who may ask how much: accounts and keys, limits and budgets, reached and released on a clock that the tests turn."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from client.access_types import UserSpec
from client.cli.main import main
from client.errors import InvalidArgument, NotFound
from client.resources import Client
from engine.gateway.admit import Admission
from engine.gateway.exchange import MOST_TOKENS_HEADER
from engine.keys import Principal
from engine.telemetry import metrics
from tests.conftest import SHARED
from tests.house import Home, home, served
from tests.processes import PATIENCE_S, EngineProcess
from tests.virtual import Virtual

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
PROMPT_TOKENS = 9  # of CHAT, as the virtual replica counts
WINDOW_MS = 60_000
SEED = 20_260_101


async def ask(http: httpx.AsyncClient, account: str = "local", **fields: object) -> httpx.Response:
    body = CHAT | {"model": f"accounts/{account}/deployments/chat"} | fields
    return await http.post("/v1/chat/completions", json=body)


def told(answer: httpx.Response) -> dict[str, str]:
    prefix = "x-ratelimit-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


class Expected:
    """What is admitted, found in the plainest way: by counting. Instants are milliseconds."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = limits
        self.admitted: dict[str, list[int]] = {holder: [] for holder in limits}

    def _lately(self, holder: str, now: int) -> list[int]:
        return [at for at in self.admitted[holder] if now - WINDOW_MS < at <= now]

    def wait_ms(self, holders: list[str], now: int) -> int:
        """0 when a request of all these holders is admitted."""
        waits = [0]
        for holder in holders:
            lately = self._lately(holder, now)
            over = len(lately) - self.limits[holder]
            if over >= 0:
                waits.append(lately[over] + WINDOW_MS - now)
        return max(waits)

    def left(self, holders: list[str], now: int) -> tuple[int, int]:
        """(remaining, limit) of the holder of whose limit less is left."""
        return min((max(0, self.limits[h] - len(self._lately(h, now))), self.limits[h]) for h in holders)

    def count(self, holders: list[str], now: int) -> None:
        for holder in holders:
            self.admitted[holder].append(now)


@pytest.mark.parametrize("steps", [110, pytest.param(3000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
async def test_two_accounts_and_ten_keys_reach_their_limits_and_are_let_in_again(at: Virtual, steps: int) -> None:
    keys: dict[str, tuple[str, str]] = {}  # by name of the key: its account, and itself
    expected = Expected({"local": 9, "elsewhere": 14, "local-0": 2, "local-1": 4, "elsewhere-0": 1, "elsewhere-1": 5})
    for account in ("local", "elsewhere"):
        admin_key = at.admin_key
        if account != "local":
            _, admin_key = await at.engine.house.keyring.create(account, "root", "admin", "", None)
        async with at.client(admin_key, account) as admin:
            await at.deploy(admin, "chat")
            await admin.quotas.update("requests-per-minute", expected.limits[account])
            for number in range(5):
                user, name = f"user-{number}", f"{account}-{number}"
                record, key = await at.engine.house.keyring.create(account, user, "inference-user", "", None)
                keys[name] = account, key
                if name in expected.limits:
                    await admin.api_keys.update_quota(user, record.id, "requests-per-minute", expected.limits[name])
    chance = random.Random(SEED)
    seen = {200: 0, 429: 0}
    refused_before = metrics.REFUSED.labels("requests-per-minute")._value.get()
    async with at.http(at.admin_key) as http:
        for step in range(steps):
            name = chance.choice(sorted(keys))
            account, key = keys[name]
            now = round(at.clock.monotonic() * 1000)
            holders = [account, name] if name in expected.limits else [account]
            wait_ms = expected.wait_ms(holders, now)
            http.headers["authorization"] = f"Bearer {key}"
            answer = await ask(http, account)
            seen[answer.status_code] += 1
            at_fault = f"seed {SEED}, step {step}, {name}: {answer.text}"
            if wait_ms:
                assert answer.status_code == 429, at_fault
                assert int(answer.headers["retry-after-ms"]) == pytest.approx(wait_ms, abs=1), at_fault
                assert int(answer.headers["retry-after"]) == math.ceil(wait_ms / 1000), at_fault
                assert answer.headers["x-should-retry"] == "true"
                assert answer.json()["error"]["code"] == "RESOURCE_EXHAUSTED"
            else:
                assert answer.status_code == 200, at_fault
                expected.count(holders, now)
            remaining, limit = expected.left(holders, now)
            assert told(answer) == {
                "limit-requests": str(limit), "remaining-requests": str(remaining),
                "over-limit": "yes" if wait_ms else "no",
            }, at_fault  # fmt: skip
            await at.pass_time(chance.choice((0.0, 0.25, 0.5, 1.5, 4.0)))
    assert min(seen.values()) > 20, "both were to be seen"
    assert metrics.REFUSED.labels("requests-per-minute")._value.get() == refused_before + seen[429]
    print(f"seed {SEED}: {seen[200]} admitted, {seen[429]} refused, as counted")


async def test_an_account_at_its_budget_is_refused_at_once_and_let_in_when_it_is_raised(at: Virtual) -> None:
    _, other_key = await at.engine.house.keyring.create("elsewhere", "root", "admin", "", None)
    async with at.client() as admin, at.client(other_key, "elsewhere") as other:
        await at.deploy(admin, "chat")
        await at.deploy(other, "chat")
        spent = (await admin.quotas.get("monthly-spend-usd")).usage or 0.0
        budget = math.ceil(spent) + 10
        await admin.quotas.update("monthly-spend-usd", budget)
        last_admitted = -1.0
        async with at.http(at.admin_key) as http, at.http(other_key) as others:
            for _ in range(200):
                await at.pass_time(0.25)  # a dollar a second
                spent = (await admin.usage.get()).total.cost_usd or 0.0  # added up from the database
                answer = await ask(http)
                if answer.status_code != 200:
                    break
                last_admitted = spent
            assert answer.status_code == 402, answer.text
            assert answer.json()["error"]["code"] == "MONTHLY_SPEND_LIMIT_EXCEEDED"
            assert "retry-after" not in answer.headers
            for path in ("/v1/completions", "/inference/v1/chat/completions", "/v1/embeddings", "/v1/rerank"):
                assert (await http.post(path, json={"model": "accounts/local/deployments/chat"})).status_code == 402
            assert 0 <= last_admitted < budget + 1e-5, "at once"
            assert spent >= budget, "and not before"
            assert (await ask(others, "elsewhere")).status_code == 200, "the other account has a budget of its own"
            await admin.quotas.update("monthly-spend-usd", budget + 1000)
            assert (await ask(http)).status_code == 200


async def test_tokens_are_set_aside_and_settled_by_what_was_used(at: Virtual) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        for kind, value in (("generated", 300), ("prompt", 1000), ("cache-adjusted-prompt", 900)):
            await admin.quotas.update(f"{kind}-tokens-per-minute", value)
        began_at = at.clock.monotonic()
        whole = asyncio.create_task(ask(http, max_tokens=None))  # its length is the replica's to choose: 1 to 128

        async def used(kind: str) -> float | None:
            return (await admin.quotas.get(f"{kind}-tokens-per-minute")).usage

        async with asyncio.timeout(PATIENCE_S):
            while await used("generated") != 300:
                await asyncio.sleep(0.01)
        refused = await ask(http, max_tokens=45)
        assert (refused.status_code, told(refused)["over-limit"]) == (429, "yes")
        assert told(refused)["remaining-tokens-generated"] == "0"
        assert MOST_TOKENS_HEADER not in refused.headers
        while not whole.done():
            await at.pass_time(1.0)
        answer = await whole
        assert answer.headers[MOST_TOKENS_HEADER] == "300"
        usage = answer.json()["usage"]
        # What began over a minute ago has gone by; what is younger counts as what it was.
        young = at.clock.monotonic() < began_at + 60
        spent = usage["completion_tokens"] if young else 0
        settled = spent, PROMPT_TOKENS if young else 0
        async with asyncio.timeout(PATIENCE_S):
            while (await used("generated"), await used("prompt")) != settled:
                await asyncio.sleep(0.01)
        small = await ask(http, max_tokens=1)
        assert small.status_code == 200
        assert MOST_TOKENS_HEADER not in small.headers
        assert told(small)["limit-tokens-prompt"] == "1000"
        assert told(small)["limit-tokens-cache-adjusted-prompt"] == "900"
        assert told(small)["remaining-tokens-generated"] == str(300 - spent - 1)


@pytest.mark.parametrize(("limit", "asked"), [(1, None), (5, 45)])
async def test_no_answer_is_longer_than_what_is_left_of_a_limit(at: Virtual, limit: int, asked: int | None) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        await admin.quotas.update("generated-tokens-per-minute", limit)
        began_at = at.clock.monotonic()
        asking = asyncio.create_task(ask(http, max_tokens=asked))
        while not asking.done():
            await at.pass_time(1.0)
        answer = await asking
        assert answer.status_code == 200
        assert answer.json()["usage"]["completion_tokens"] == limit == int(answer.headers[MOST_TOKENS_HEADER])
        after = await ask(http, max_tokens=1)
        if at.clock.monotonic() < began_at + 60:  # a slow machine may have let the minute go by
            assert after.status_code == 429
            said = f"has 0 left of its {limit} tokens of this minute, and this request may take 1"
            assert said in after.json()["error"]["message"]


async def test_who_leaves_is_charged_what_was_sent_and_makes_room(at: Virtual) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        await admin.quotas.update("generated-tokens-per-minute", 1000)
        await admin.quotas.update("concurrent-requests", 1)
        body = CHAT | {"model": "accounts/local/deployments/chat", "stream": True, "max_tokens": 40}
        asked = at.http(at.admin_key)
        async with asked as leaving, leaving.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.aiter_lines()
            for _ in range(3):
                async for line in lines:
                    if line.startswith("data: "):
                        break
                at.clock.advance(1.0)
            second = await ask(http)
            assert second.status_code == 429
            assert second.json()["error"]["message"].startswith("account 'local' has 1 requests under way")
            assert (second.headers["retry-after"], second.headers["x-should-retry"]) == ("1", "true")
        async with asyncio.timeout(PATIENCE_S):
            while (await admin.quotas.get("concurrent-requests")).usage:
                await asyncio.sleep(0.01)
        assert 3 <= ((await admin.quotas.get("generated-tokens-per-minute")).usage or 0) <= 4
        assert (await ask(http)).status_code == 200


async def test_what_is_not_answered_costs_no_tokens(at: Virtual) -> None:
    async with at.client() as admin, at.http(at.admin_key) as http:
        await at.deploy(admin, "chat")
        await admin.quotas.update("prompt-tokens-per-minute", 1000)
        assert (await ask(http, n=2)).status_code == 400  # the replica's own refusal
        assert (await ask(http, model="nothing")).status_code == 404
        assert (await admin.quotas.get("prompt-tokens-per-minute")).usage == 0
        assert (await admin.quotas.get("requests-per-minute")).usage == 2
        assert (await ask(http, max_tokens=1)).status_code == 200
        assert (await admin.quotas.get("prompt-tokens-per-minute")).usage == PROMPT_TOKENS


async def test_a_request_refused_for_its_tokens_does_not_count_as_one_of_the_minute(own: Home, admin: Client) -> None:
    await admin.quotas.update("requests-per-minute", 2)
    visit = own.engine.gateway.admission.visit(Principal("local", "admin", "admin", "admin"))
    await admin.quotas.update("prompt-tokens-per-minute", 10)
    visit.enter()
    visit.charge({}, b"x" * 40, generates=False)
    other = own.engine.gateway.admission.visit(Principal("local", "admin", "admin", "admin"))
    other.enter()
    with pytest.raises(Exception, match="prompt-tokens-per-minute"):
        other.charge({}, b"x", generates=False)
    other.leave()
    assert (await admin.quotas.get("requests-per-minute")).usage == 1
    assert (await admin.quotas.get("concurrent-requests")).usage == 1
    visit.leave()
    assert (await admin.quotas.get("concurrent-requests")).usage == 0


async def test_a_limit_of_nothing_is_not_worth_another_try(own: Home, admin: Client) -> None:
    await admin.quotas.update("requests-per-minute", 0)
    async with own.http(own.admin_key) as http:
        answer = await http.post("/v1/completions", json={"model": "nothing"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in answer.headers


async def test_holders_that_are_idle_are_forgotten(own: Home) -> None:
    now = 0.0
    admission = Admission(own.engine.house.access.quotas.rates, lambda: now)

    def pass_by(account: str) -> None:
        visit = admission.visit(Principal(account, "u", "user", "k"))
        visit.enter()
        visit.leave()

    staying = admission.visit(Principal("staying", "u", "user", "k"))
    staying.enter()
    for number in range(1000):
        pass_by(f"account-{number}")
    assert len(admission) == 1001
    now = 61.0
    for _ in range(600):
        pass_by("local")
    assert len(admission) == 2, "the one that asks, and the one that is still answered"
    staying.leave()
    now = 200.0
    pass_by("local")
    pass_by("local")
    assert len(admission) == 1


async def test_limits_of_keys_are_kept_and_go_with_the_key(tmp_path: Path) -> None:
    async with home(tmp_path) as first, first.client() as admin:
        await admin.users.create(UserSpec(role="user"), "ada")
        made, gone = [await admin.api_keys.create("ada") for _ in range(2)]
        for key in (made, gone):
            changed = await admin.api_keys.update_quota("ada", key.key_id, "requests-per-minute", 7)
        assert changed.name == f"accounts/local/users/ada/apiKeys/{gone.key_id}/quotas/requests-per-minute"
        assert (changed.value, changed.usage) == ("7", 0)
        await admin.api_keys.delete("ada", gone.key_id)
        with pytest.raises(NotFound):
            await admin.api_keys.quotas("ada", gone.key_id)
        with pytest.raises(NotFound, match="does not exist here"):
            await admin.api_keys.update_quota("ada", made.key_id, "replica-count", 1)
        with pytest.raises(InvalidArgument, match="more than maxValue"):
            await admin.api_keys.update_quota("ada", made.key_id, "concurrent-requests", 10**6)
    async with home(tmp_path) as second, second.client() as admin:
        found = {quota.id: quota for quota in await admin.api_keys.quotas("ada", made.key_id)}
        assert found["requests-per-minute"].value == "7"
        assert all(q.value == q.max_value for name, q in found.items() if name != "requests-per-minute")
        stored = [row.name for row in await second.engine.house.access.records.quotas()]
        assert stored == [f"accounts/local/users/ada/apiKeys/{made.key_id}/quotas/requests-per-minute"]
        async with second.http(made.key) as http:
            answer = await http.post("/v1/completions", json={"model": "nothing"})
        assert told(answer) == {"limit-requests": "7", "remaining-requests": "6", "over-limit": "no"}
        await admin.api_keys.update_quota("ada", made.key_id, "requests-per-minute", 1_000_000)
        async with second.http(made.key) as http:
            assert told(await http.post("/v1/completions", json={"model": "nothing"})) == {}


@pytest.mark.parametrize("value", [None, "x", -1, 1.5, [], "9" * 400, 10**30])
async def test_no_number_of_tokens_makes_admission_fail(own: Home, admin: Client, value: object) -> None:
    await admin.quotas.update("generated-tokens-per-minute", 100)
    async with own.http(own.admin_key) as http:
        for field in ("max_tokens", "max_completion_tokens", "n", "best_of", "prompt"):
            body = json.dumps({"model": "nothing", field: value})
            answer = await http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 404


async def test_a_key_is_limited_from_the_command_line(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as (url, opened):
        await opened.person("ada", "user")
        async with opened.client() as admin:
            [key] = await admin.api_keys.list("ada")

        async def firedeck(words: str) -> Result:
            ends = ["--base-url", url, "--api-key", opened.admin_key]
            return await asyncio.to_thread(CliRunner().invoke, main, [*words.split(), *ends])

        whose = f"--user ada --key-id {key.key_id}"
        changed = await firedeck(f"quota update generated-tokens-per-minute --value 5000 {whose}")
        assert changed.exit_code == 0, changed.output
        assert "5000" in changed.stdout
        got = await firedeck(f"quota get generated-tokens-per-minute {whose}")
        assert "Value: 5000\n" in got.stdout
        assert "Value: off\n" in (await firedeck("quota get generated-tokens-per-minute")).stdout
        dry = await firedeck(f"quota update generated-tokens-per-minute --value 7 {whose} --dry-run")
        assert (dry.exit_code, dry.stderr.endswith("/quotas/generated-tokens-per-minute would be changed\n")) == (
            0,
            True,
        )
        assert dry.stdout == "Value: 5000 -> 7\n"
        shown = await firedeck(f"quota list {whose} -o json")
        assert {q["name"].rpartition("/")[2]: q["value"] for q in json.loads(shown.stdout)} == {
            "requests-per-minute": "1000000", "prompt-tokens-per-minute": "1000000000",
            "cache-adjusted-prompt-tokens-per-minute": "1000000000", "generated-tokens-per-minute": "5000",
            "concurrent-requests": "100000",
        }  # fmt: skip
        dry = await firedeck(f"quota delete generated-tokens-per-minute {whose} --dry-run")
        assert dry.stderr.endswith("/quotas/generated-tokens-per-minute would be deleted\n")
        assert "Value: 5000\n" in dry.stdout
        gone = await firedeck(f"delete quota generated-tokens-per-minute {whose}")
        assert gone.stderr == "deleted generated-tokens-per-minute\n"
        assert got.stdout != (await firedeck(f"quota get generated-tokens-per-minute {whose}")).stdout
        again = await firedeck(f"quota delete generated-tokens-per-minute {whose}")
        assert again.exit_code == 1
        assert "is not set: it is at its maximum" in again.stderr
        for verb in ("get", "delete", "update --value 5"):
            no_key = await firedeck(f"quota {verb} generated-tokens-per-minute --user ada")
            assert no_key.exit_code == 2, "it would be the account's"
            assert "--key-id" in no_key.stderr
        part = await firedeck("quota update monthly-spend-usd --value 0.2")
        assert part.exit_code == 2
        assert "'0.2' is no whole number of 0 or more" in part.stderr
        unknown = await firedeck("quota list --user ada --key-id 00000000")
        assert unknown.exit_code == 1
        assert "firedeck api-key list shows the ids" in unknown.stderr
        assert len(json.loads((await firedeck("quota list -o json")).stdout)) == 9, "the account's own"


async def test_who_is_one_too_many_is_told_before_the_body_is_read(own: Home, admin: Client) -> None:
    await admin.quotas.update("concurrent-requests", 0)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    headers = [
        (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {own.admin_key}".encode()),
        (b"content-type", b"application/json"), (b"content-length", b"8000000"),
    ]  # fmt: skip
    path = "/v1/completions"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
    await own.engine(scope, receive, send)
    assert sent[0]["status"] == 429


@pytest.fixture
async def metered(engine: EngineProcess) -> AsyncIterator[str]:
    """A user of the shared engine."""
    async with Client(engine.context) as admin:
        await admin.users.create(UserSpec(role="user", service_account=True), "metered")
        yield "metered"
        await admin.users.delete("metered")


@pytest.mark.model
async def test_on_a_real_replica_answers_are_settled_by_what_their_usage_says(
    engine: EngineProcess, metered: str
) -> None:
    async with Client(engine.context) as admin:
        made = await admin.api_keys.create(metered)
        for kind in ("prompt", "cache-adjusted-prompt", "generated"):
            await admin.api_keys.update_quota("metered", made.key_id, f"{kind}-tokens-per-minute", 100_000)
        body = {"model": f"accounts/local/deployments/{SHARED}", "prompt": "One, two, three", "temperature": 0}
        headers = {"authorization": f"Bearer {made.key}"}
        answers = []
        async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
            for stream in (False, True):
                answer = await http.post("/v1/completions", json=body | {"max_tokens": 9, "stream": stream})
                assert told(answer)["limit-tokens-generated"] == "100000"
                last = answer.json() if not stream else json.loads(answer.text.split("data: ")[-2])
                answers.append(last["usage"])
        cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in answers]
        prompts = sum(usage["prompt_tokens"] for usage in answers)
        generated = sum(usage["completion_tokens"] for usage in answers)
        expected = {"prompt": prompts, "cache-adjusted-prompt": prompts - sum(cached), "generated": generated}

        async def used() -> dict[str, float | None]:
            found = {quota.id: quota.usage for quota in await admin.api_keys.quotas("metered", made.key_id)}
            return {kind: found[f"{kind}-tokens-per-minute"] for kind in expected}

        async with asyncio.timeout(PATIENCE_S):
            while (now := await used()) != expected:
                assert any(now.values()), "a minute has gone by"
                await asyncio.sleep(0.05)
        limit = int(expected["generated"]) + 25
        await admin.api_keys.update_quota("metered", made.key_id, "generated-tokens-per-minute", limit)
        async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
            answer = await http.post("/v1/completions", json=body | {"ignore_eos": True})
        assert answer.json()["choices"][0]["finish_reason"] == "length", "it has no end of its own"
        most = int(answer.headers[MOST_TOKENS_HEADER])
        assert 25 <= most == answer.json()["usage"]["completion_tokens"] <= limit
