"""What is charged on the real model when clients leave, replicas die, the engine is killed, or a budget is reached."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.access_types import UserSpec
from client.resources import Client
from client.types import DeploymentSpec
from client.usage_tokens_types import TokenSums
from tests.conftest import deploy, until_ready
from tests.house import home
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
NAME = "accounts/local/deployments/d"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
LEAVES, TOKENS = 20, 48
KILLS, CLIENTS = 3, 6
FREE = {"ignore_eos": True, "max_tokens": TOKENS, "return_token_ids": True}
KINDS: list[tuple[str, dict[str, Any]]] = [
    (TEXT, {"prompt": "Count: 1, 2,", "temperature": 0}),
    (CHAT, {"messages": [{"role": "user", "content": "Tell me a story."}], "seed": 3}),
    (TEXT, {"prompt": "Once", "seed": 5, "n": 2}),
    (TEXT, {"prompt": "Once", "seed": 5, "mirostat_target": 5}),  # nobody could go on with it
    (TEXT, {"prompt": "Once upon a time", "seed": 1, "stop": ["zzzz"], "temperature": 1.5}),
]


def chance() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def tokens_in(stream: bytes) -> int:
    """Tokens of the events that a client was sent, by their ids."""
    events = [json.loads(part[6:]) for part in stream.split(b"\n\n") if part.startswith(b"data: {")]
    return sum(len(choice.get("token_ids") or []) for event in events for choice in event.get("choices", []))


@dataclass
class Caller:
    """A client as ASGI has it, which leaves when it was sent so many tokens."""

    key: str
    leaves_at: int
    sent: bytearray = field(default_factory=bytearray)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, engine: Any, path: str, body: dict[str, Any]) -> None:
        content, asked = json.dumps({"model": NAME, **FREE, **body}).encode(), False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": content, "more_body": False}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent += message.get("body", b"")
            if tokens_in(bytes(self.sent)) >= self.leaves_at:
                self.left.set()

        headers = [
            (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {self.key}".encode()),
            (b"content-type", b"application/json"),
        ]  # fmt: skip
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
        await engine(scope | {"client": ("127.0.0.1", 1)}, receive, send)


async def test_at_twenty_random_points_who_leaves_is_charged_what_was_sent(tmp_path: Path) -> None:
    points = chance()
    async with home(tmp_path / "data") as own, own.client() as admin:
        await admin.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1), "d")
        async with asyncio.timeout(PATIENCE_S):
            await until_ready(admin, "d")
        async with own.http(own.admin_key) as http:
            prompts = []
            for path, body in KINDS:
                whole = (await http.post(path, json={"model": NAME, **FREE, **body, "max_tokens": 1})).json()
                prompts.append(whole["usage"]["prompt_tokens"])
        before = (await admin.usage.tokens()).total
        sent = told = left = asked = 0
        while left < LEAVES:
            kind = left % len(KINDS)
            path, body = KINDS[kind]
            caller = Caller(own.admin_key, points.randint(1, TOKENS - 8))
            await caller.ask(own.engine, path, {**body, "stream": True})
            sent, told = sent + tokens_in(bytes(caller.sent)), told + prompts[kind]
            now = (await admin.usage.tokens()).total
            left += b"[DONE]" not in caller.sent  # where this machine stood still, it came whole before anybody left
            asked += 1
            assert now.generated_tokens - before.generated_tokens == sent, (left, body)
            assert now.prompt_tokens - before.prompt_tokens == told, (left, body)
            assert now.cached_prompt_tokens <= now.prompt_tokens
        whole = Caller(own.admin_key, 0)
        whole.left.set()
        await whole.ask(own.engine, *KINDS[0])
        now = (await admin.usage.tokens()).total
        assert (now.requests - before.requests, now.generated_tokens - before.generated_tokens) == (asked + 1, sent)
        [replica] = own.engine.house.fleet.get(NAME).replicas
        async with asyncio.timeout(PATIENCE_S):
            while json.loads(await replica.hop.get("/stats", 1 << 20))["running"]:  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
    print(f"{LEAVES} left: {sent} tokens sent, {sent} charged")


@dataclass
class Counted:
    """What one client saw end, and how many requests ended in a way that it could not see."""

    whole: int = 0
    cut: int = 0
    prompt: int = 0
    generated: int = 0

    def count(self, usage: dict[str, Any]) -> None:
        self.whole += 1
        self.prompt += usage["prompt_tokens"]
        self.generated += usage["completion_tokens"]


async def client_of(engine: EngineProcess, key: str, number: int, seen: Counted, over: asyncio.Event) -> None:
    """Ask again and again, streams and whole answers, whatever becomes of the engine."""
    body = {
        "model": NAME, "prompt": f"Count: {number},", "max_tokens": 4 + number, "ignore_eos": True, "temperature": 0,
        "stream": bool(number % 2), "metadata": {"client": f"c{number}"},
    }  # fmt: skip
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S) as http:
        while not over.is_set():
            try:
                url = engine.context.base_url
                async with http.stream("POST", url + TEXT, json=body) as answer:
                    text = "".join([part async for part in answer.aiter_text()])
                if answer.status_code == 200:
                    last = text.split("data: ")[-2] if body["stream"] else text
                    assert not body["stream"] or text.endswith("data: [DONE]\n\n")
                    seen.count(json.loads(last)["usage"])
            except (httpx.ConnectError, FileNotFoundError):
                await asyncio.sleep(0.05)  # nobody took it
            except (httpx.HTTPError, AssertionError):
                seen.cut += 1


async def test_after_kill_9_under_load_the_sums_are_what_the_clients_counted(own_engine: EngineProcess) -> None:
    points = chance()
    await deploy(own_engine, "d", min_replica_count=1, max_replica_count=1)
    keys = []
    async with Client(own_engine.context) as admin:
        for user in ("ada", "bob"):
            await admin.users.create(UserSpec(role="user"), user)
            keys.append((await admin.api_keys.create(user)).key or "")
    over = asyncio.Event()
    seen = [Counted() for _ in range(CLIENTS)]
    clients = [asyncio.create_task(client_of(own_engine, keys[n % 2], n, one, over)) for n, one in enumerate(seen)]
    for kill in range(KILLS + 1):
        before = [one.whole for one in seen]
        async with asyncio.timeout(PATIENCE_S):
            while not all(one.whole > was for one, was in zip(seen, before, strict=True)):
                await asyncio.sleep(0.01)
        if kill < KILLS:
            await asyncio.sleep(points.uniform(0, 0.3))
            await asyncio.to_thread(own_engine.kill)
            await asyncio.to_thread(own_engine.start)
    over.set()
    await asyncio.gather(*clients)
    async with Client(own_engine.context) as admin, asyncio.timeout(PATIENCE_S):
        while True:  # a client may learn of an end before it is counted
            rows = (await admin.usage.tokens(group_by=["user", "tag:client"])).rows
            by_user = {row.user: row.requests for row in (await admin.usage.tokens(group_by=["user"])).rows}
            ended = {(row.tags or {}).get("client"): row.requests - row.failed_requests for row in rows}
            whole = all(ended.get(f"c{number}", 0) >= counted.whole for number, counted in enumerate(seen))
            if whole and sum(by_user.values()) == sum(row.requests for row in rows):
                break
            await asyncio.sleep(0.05)
    found = {(row.tags or {}).get("client"): row for row in rows}
    for number, counted in enumerate(seen):
        row = found[f"c{number}"]
        assert row.user == ("ada", "bob")[number % 2]
        answered = row.requests - row.failed_requests
        assert counted.whole <= answered <= counted.whole + counted.cut, (number, counted, row)
        each = counted.prompt // counted.whole, counted.generated // counted.whole
        assert each[0] * counted.whole == counted.prompt, "all requests of a client are alike"
        assert row.prompt_tokens >= counted.prompt
        assert each[0] * answered >= row.prompt_tokens
        assert counted.generated <= row.generated_tokens <= each[1] * answered
    assert by_user == dict(
        Counter({"ada": sum(found[f"c{n}"].requests for n in range(0, CLIENTS, 2))})
        + Counter({"bob": sum(found[f"c{n}"].requests for n in range(1, CLIENTS, 2))})
    )
    print(f"{KILLS} kills: {sum(one.whole for one in seen)} seen to end, {sum(one.cut for one in seen)} cut off")


async def total_of(engine: EngineProcess) -> TokenSums:
    async with Client(engine.context) as admin:
        return (await admin.usage.tokens()).total


async def test_a_stream_that_goes_on_elsewhere_is_charged_once_and_one_that_cannot_what_it_sent(
    own_engine: EngineProcess,
) -> None:
    await deploy(own_engine, "d", min_replica_count=2, max_replica_count=2)
    headers = {"authorization": f"Bearer {own_engine.key}"}
    usages, sent = [], 0
    async with httpx.AsyncClient(base_url=own_engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        async with asyncio.timeout(PATIENCE_S):
            while await ready(own_engine) < 2:
                await asyncio.sleep(0.05)
        for kind, most in ((2, 400), (3, 4000)):
            path, body = KINDS[kind]
            text, killed = b"", False
            stream = {"model": NAME, **FREE, **body, "stream": True, "max_tokens": most}
            async with http.stream("POST", path, json=stream) as answer:
                async for chunk in answer.aiter_bytes():
                    text += chunk
                    if not killed and tokens_in(text) > 5:
                        killed = True
                        await kill_the_busy(own_engine)
            if b"[DONE]" in text:
                usages.append(json.loads(text.split(b"data: ")[-2])["usage"])
            else:
                assert b'"error"' in text
                sent = tokens_in(text)
    assert len(usages) == 1
    assert sent
    async with asyncio.timeout(PATIENCE_S):
        while (found := await total_of(own_engine)).requests < 2:
            await asyncio.sleep(0.05)
    assert found.requests == 2
    assert found.failed_requests == 1
    assert found.generated_tokens == usages[0]["completion_tokens"] + sent
    assert found.generated_tokens == 2 * 400 + sent


async def ready(engine: EngineProcess) -> int:
    async with Client(engine.context) as admin:
        return sum(replica.stage == "READY" for replica in (await admin.fleet.status("d")).replicas)


async def kill_the_busy(engine: EngineProcess) -> None:
    async with Client(engine.context) as admin:
        [asked] = (await admin.requests.list(status="open")).requests
    for process in engine.replicas():
        if any(str(asked.replica) in word for word in process.cmdline()):
            with suppress(ProcessLookupError):
                process.kill()


async def test_on_the_running_engine_a_budget_that_is_reached_refuses_every_call(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path / "data", ("--rehearsal", "--price-per-hour", "720000"))  # 200 dollars a second
    await asyncio.to_thread(engine.start)
    try:
        await deploy(engine, "d", min_replica_count=1, max_replica_count=1)
        headers = {"authorization": f"Bearer {engine.key}"}
        calls: dict[str, dict[str, Any]] = {
            TEXT: {"prompt": "a", "max_tokens": 1}, "/v1/embeddings": {"input": "a"},
            CHAT: {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1},
            "/inference/v1/completions": {"prompt": "a", "max_tokens": 1, "stream": True},
            "/v1/rerank": {"query": "a", "documents": ["b"]},
        }  # fmt: skip
        async with (
            Client(engine.context) as admin,
            httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http,
        ):
            budget = int((await admin.quotas.get("monthly-spend-usd")).usage or 0) + 300
            await admin.quotas.update("monthly-spend-usd", budget)
            admitted = 0
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    reached = ((await admin.quotas.get("monthly-spend-usd")).usage or 0) >= budget
                    answers = {path: await http.post(path, json={"model": NAME, **b}) for path, b in calls.items()}
                    refused = [answer.status_code == 402 for answer in answers.values()]
                    if reached:  # known to the engine: from then on nobody comes in
                        assert all(refused), {path: answer.text for path, answer in answers.items()}
                        break
                    admitted += not all(refused)
            assert admitted, "and not before"
            assert {a.json()["error"]["code"] for a in answers.values()} == {"MONTHLY_SPEND_LIMIT_EXCEEDED"}
            await admin.quotas.update("monthly-spend-usd", 10**9)
            assert (await http.post(TEXT, json={"model": NAME, **calls[TEXT]})).status_code == 200
            counted = 'firedeck_requests_refused_total{reason="monthly-spend-usd"}'
            async with asyncio.timeout(PATIENCE_S):
                while counted not in (await http.get("/metrics")).text:
                    await asyncio.sleep(0.05)
    finally:
        engine.stop()
