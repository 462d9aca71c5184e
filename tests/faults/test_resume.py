"""Streams whose replica is killed under them: the client reads one unbroken stream, equal to the undisturbed one."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from client.resources import Client
from client.types import DeploymentSpec
from tests import seeds
from tests.conftest import deploy
from tests.faults.test_quarantine import NAME
from tests.processes import EngineProcess

pytestmark = pytest.mark.model
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
CLIENTS, REPLICAS, KILLS, SOAK_KILLS = 8, 3, 2, 100
TOKENS = 64
MOVED_ON = 36  # events after which a stream is no suspect any more
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 40},
        "hobbies": {"type": "array", "items": {"type": "string"}, "minItems": 6, "maxItems": 20},
    },
    "required": ["name", "hobbies"],
}
NOTE = {"type": "object", "properties": {"text": {"type": "string", "minLength": 120}}, "required": ["text"]}
NOT_RESUMED = TEXT, {"prompt": "Once", "seed": 1, "mirostat_target": 5, "max_tokens": 1500, "ignore_eos": True}


def _chat(text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return CHAT, {"messages": [{"role": "user", "content": text}], **fields}


# Of every kind that keeps a state of its own between tokens.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "greedy text": (TEXT, {"prompt": "Count: 1, 2,", "temperature": 0, "ignore_eos": True}),
    "seeded text": (
        TEXT,
        {"prompt": "Once", "seed": 7, "presence_penalty": 0.5, "repetition_penalty": 1.1, "ignore_eos": True},
    ),
    "long prompt": (TEXT, {"prompt": "The fox jumps over the dog. " * 20, "seed": 9, "ignore_eos": True}),
    "greedy chat": _chat("Tell me a story about a fox.", temperature=0, ignore_eos=True),
    "stop strings": (TEXT, {"prompt": "Count: 1, 2, 3,", "temperature": 0, "stop": ["36, 37", "zzzz"]}),
    "JSON": _chat("Who?", seed=3, response_format={"type": "json_schema", "schema": PERSON}),
    "tools": _chat(
        "Write a long note.",
        seed=3,
        tool_choice="required",
        tools=[{"type": "function", "function": {"name": "note", "parameters": NOTE}}],
    ),
    "two choices": _chat("Tell me a joke.", seed=5, n=2, max_tokens=TOKENS // 2, ignore_eos=True),
    "logprobs": (TEXT, {"prompt": "Roses", "seed": 5, "logprobs": 2, "stream_options": {"include_usage": True}}),
    "characters of several tokens": (
        TEXT,
        {"prompt": "日本語: 東京、大阪、", "seed": 4, "temperature": 1.5, "return_token_ids": True, "ignore_eos": True},
    ),
}


@dataclass
class Read:
    """A stream as its client puts it together; equal when nothing but the cut into events differs."""

    choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    said_by: set[tuple[str, int, str]] = field(default_factory=set, compare=False)
    usage: list[tuple[int, int]] = field(default_factory=list)
    error: Any = None
    done: int = 0

    def take(self, data: str) -> None:
        if data == "[DONE]":
            self.done += 1
            return
        event = json.loads(data)
        if "error" in event:
            self.error = event
            return
        self.said_by.add((event["id"], event["created"], event["model"]))
        if event.get("usage"):
            self.usage.append((event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"]))
        for choice in event["choices"]:
            self._add(choice)

    def _add(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta", {})
        empty: dict[str, Any] = {"text": "", "calls": "", "roles": 0, "tokens": [], "logs": [], "ended": []}
        whole = self.choices.setdefault(choice["index"], empty)
        whole["text"] += choice.get("text") or delta.get("content") or ""
        whole["roles"] += "role" in delta
        for call in delta.get("tool_calls", []):
            whole["calls"] += call["function"].get("name", "") + call["function"].get("arguments", "")
        whole["tokens"] += choice.get("token_ids", [])
        if logs := choice.get("logprobs"):
            whole["logs"] += zip(logs["token_ids"], logs["token_logprobs"], logs["text_offset"], strict=True)
        if choice["finish_reason"]:
            whole["ended"].append(choice["finish_reason"])


async def _nothing(_events: int) -> None:
    return


async def _read(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], seen: Callable[[int], Awaitable[None]] = _nothing
) -> Read:
    """Read a stream to its end; `seen` is told how many events have come."""
    read, events = Read(), 0
    body = {"model": NAME, "stream": True, "max_tokens": TOKENS, **body}
    async with http.stream("POST", path, json=body, headers={"x-firedeck-journal": "7"}) as response:
        assert response.status_code == 200, await response.aread()
        assert "x-firedeck-journal" not in response.headers
        async for line in response.aiter_lines():
            assert not line or line.startswith("data: "), line
            if line:
                events += 1
                read.take(line.removeprefix("data: "))
                await seen(events)
    return read


def _chance() -> random.Random:
    seed = seeds.of_run()
    print(f"FIREDECK_SEED={seed}")
    return random.Random(seed)


def _http(engine: EngineProcess) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=300)


async def _ready(client: Client, count: int) -> None:
    while sum(r.stage == "READY" for r in (await client.fleet.status("d")).replicas) < count:
        await asyncio.sleep(0.05)


async def _resumed(http: httpx.AsyncClient) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("firedeck_streams_resumed_total{"))


@dataclass(frozen=True)
class Home:
    """An engine with one deployment, and what its streams are when nothing disturbs them."""

    engine: EngineProcess
    unbroken: dict[str, Read]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    engine = EngineProcess(tmp_path_factory.mktemp("engine") / "data").start()
    try:
        yield Home(engine, asyncio.run(_undisturbed(engine)))
    finally:
        engine.stop()


async def _undisturbed(engine: EngineProcess) -> dict[str, Read]:
    await deploy(engine, "d", min_replica_count=1, max_replica_count=1, max_batch_size=len(KINDS) + 1)
    async with _http(engine) as http:
        return dict(zip(KINDS, await asyncio.gather(*(_read(http, *kind) for kind in KINDS.values())), strict=True))


@pytest.mark.timeout(400)
async def test_streams_of_every_kind_go_on_where_their_replica_was_killed(home: Home) -> None:
    """All at once on the only replica, which is killed when they are under way. Only Mirostat is beyond going on."""
    chance, engine = _chance(), home.engine
    async with Client(engine.context) as client, _http(engine) as http:
        await _scaled(client, 1)
        before = await _resumed(http)
        at = {name: chance.randint(1, 8) for name in KINDS}
        under_way, [victim] = set[str](), engine.replicas()

        async def counted(name: str, events: int) -> None:
            if events >= at[name]:
                under_way.add(name)
            if len(under_way) == len(KINDS):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()

        def read(name: str) -> Awaitable[Read]:
            return _read(http, *KINDS[name], lambda events: counted(name, events))

        cut = asyncio.create_task(_read(http, *NOT_RESUMED))
        broken = dict(zip(KINDS, await asyncio.gather(*(read(name) for name in KINDS)), strict=True))
        assert "ended while it was answering" in (await cut).error["error"]["message"]
        for name in KINDS:
            _equal(broken[name], home.unbroken[name], name)
        assert await _resumed(http) > before
        assert (await client.fleet.status("d")).quarantined == []


@pytest.mark.timeout(400)
async def test_replicas_killed_under_many_streams_cost_none_of_them(home: Home) -> None:
    await _kill_again_and_again(home, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_a_hundred_replicas_killed_under_many_streams_cost_none_of_them(home: Home) -> None:
    await _kill_again_and_again(home, SOAK_KILLS)


async def _kill_again_and_again(home: Home, kills: int) -> None:
    chance, engine = _chance(), home.engine
    async with Client(engine.context) as client, _http(engine) as http:
        await _scaled(client, REPLICAS)
        before = await _resumed(http)
        crowd = Crowd(http, home.unbroken, chance)
        reading = [asyncio.create_task(crowd.go_on_reading(number)) for number in range(CLIENTS)]
        for _ in range(kills):
            await _ready(client, REPLICAS)
            await crowd.all_moved_on(reading)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            with suppress(psutil.NoSuchProcess):
                chance.choice(engine.replicas()).kill()
            crowd.moved = dict.fromkeys(range(CLIENTS), 0)
        crowd.over = True
        await asyncio.gather(*reading)
        resumed = await _resumed(http) - before
        print(f"{kills} replicas killed under {crowd.read} streams: {resumed:.0f} went on elsewhere, 0 failed")
        assert resumed >= 1
        assert (await client.fleet.status("d")).quarantined == []


async def _scaled(client: Client, count: int) -> None:
    await client.deployments.update("d", DeploymentSpec(min_replica_count=count, max_replica_count=count))
    await _ready(client, count)
    while len((await client.fleet.status("d")).replicas) != count:
        await asyncio.sleep(0.05)


class Crowd:
    """Clients that stream one answer after the other. `moved`: how many events each has seen since the last kill."""

    def __init__(self, http: httpx.AsyncClient, unbroken: dict[str, Read], chance: random.Random) -> None:
        self.over = False
        self.read = 0
        self.moved = dict.fromkeys(range(CLIENTS), 0)
        self._http, self._unbroken, self._chance = http, unbroken, chance

    async def go_on_reading(self, number: int) -> None:
        while not self.over:
            name = self._chance.choice(list(KINDS))
            path, body = KINDS[name]

            async def seen(_events: int) -> None:
                self.moved[number] += 1

            # Of its own for each request: equal ones are one and the same to those who look for the guilty.
            read = await _read(self._http, path, {**body, "user": f"{number} {self.read}"}, seen)
            _equal(read, self._unbroken[name], name)
            self.read += 1
            self.moved[number] += MOVED_ON

    async def all_moved_on(self, reading: list[asyncio.Task[None]]) -> None:
        while min(self.moved.values()) < MOVED_ON:
            for task in reading:
                if task.done():
                    task.result()
            await asyncio.sleep(0.02)


def _equal(read: Read, unbroken: Read, name: str) -> None:
    assert read == unbroken, name
    assert (read.done, read.error, len(read.said_by)) == (1, None, 1), name
