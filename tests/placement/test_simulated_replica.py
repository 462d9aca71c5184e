"""Simulated replicas on a virtual clock: their pace is that of the latency model, their ends are those of real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from engine.clock import FakeClock
from engine.placement.port import Launch, Need, Placed
from engine.placement.simulated import world
from engine.placement.simulated.driver import DRAIN_S, SimulatedDriver
from engine.placement.simulated.replica import SimulatedReplica
from engine.placement.simulated.world import Latency
from tests.processes import PATIENCE_S

WORLD = """
start_delay = "10s"
start_spread = 0
[[node]]
name = "a"
[[outage]]
node = "a"
from = "1h"
until = "2h"
"""
LAUNCH = Launch("d-1", "accounts/local/deployments/d", Path("m"), "key", slots=2, context_tokens=256, cores=1)
STEP_S = 0.01


class Stage:
    """A driver on a virtual clock, reached through its sockets."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.driver = SimulatedDriver(world.parse(WORLD), self.clock, folder, orphan_timeout_s=30.0)

    def client(self, placed: Placed) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(placed.socket))
        return httpx.AsyncClient(
            transport=transport, base_url="http://r", headers={"Authorization": "Bearer key"}, timeout=PATIENCE_S
        )

    async def run_until(self, work: asyncio.Task) -> None:
        """Turn the clock until the work is done."""
        while not work.done():
            self.clock.advance(STEP_S)
            for _ in range(3):
                await asyncio.sleep(0.0005)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for placed in made.driver.strays(frozenset()):
        made.driver.stop(placed, force=True)
    made.driver.close()


async def start(stage: Stage) -> Placed:
    return await stage.driver.start(LAUNCH)


async def test_it_loads_for_its_delay_and_says_how_far_it_is(stage: Stage):
    placed = await start(stage)
    async with stage.client(placed) as client:
        stage.clock.advance(5)
        loading = await client.get("/health")
        assert (loading.status_code, loading.json()["status"], loading.json()["progress"]) == (503, "loading", 0.5)
        asked = await client.post("/v1/completions", json={"model": "m", "prompt": "x"})
        assert asked.status_code == 503
        stage.clock.advance(5)
        assert (await client.get("/health")).json()["status"] == "ready"


async def ask(app: SimulatedReplica, clock: FakeClock, tokens: int) -> list[float]:
    """When each token of a stream was sent, from when it was asked for; without a socket, so that time is exact."""
    began, seen = clock.monotonic(), []
    body = json.dumps({"model": "m", "prompt": "x" * 396, "max_tokens": tokens, "stream": True})  # 100 tokens
    scope = {"type": "http", "path": "/v1/completions", "headers": [(b"authorization", b"Bearer key")]}

    sent = iter([{"type": "http.request", "body": body.encode()}])

    async def receive() -> dict:
        return next(sent, None) or await asyncio.Future()  # the client stays

    async def send(message: dict) -> None:
        sent = message.get("body", b"")
        if sent.startswith(b"data: {") and json.loads(sent[6:])["choices"][0]["text"]:
            seen.append(clock.monotonic() - began)

    await app(scope, receive, send)
    return seen


async def all_of(clock: FakeClock, *asked: Coroutine) -> list[list[float]]:
    """Let the clock go in small steps, each only once everybody sleeps."""
    work = asyncio.gather(*asked)
    while not work.done():
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(STEP_S)
    return await work


async def test_tokens_come_at_the_pace_of_the_latency_model():
    clock = FakeClock()
    latency = Latency(0.1, prompt_tokens_per_second=100, tokens_per_second=10, slowdown=0.5, spread=0)
    app = SimulatedReplica(LAUNCH, latency, clock, device="simulated", ready_at=0, seed=1)
    slack = 10 * STEP_S
    (alone,) = await all_of(clock, ask(app, clock, 5))
    assert alone[0] == pytest.approx(1.1, abs=slack)  # 100 ms, and 100 tokens of prompt at 100 a second
    assert alone[-1] == pytest.approx(1.5, abs=slack)  # four more at 10 a second
    first, second, third = await all_of(clock, *(ask(app, clock, 5) for _ in range(3)))
    assert first[-1] == second[-1] == pytest.approx(1.7, abs=slack)  # half as slow again beside each other
    assert third[0] == pytest.approx(first[-1] + 1.1, abs=slack)  # there are two slots


async def test_an_answer_says_when_it_was_made(stage: Stage):
    client = stage.client(await start(stage))
    stage.clock.advance(10)
    asked = asyncio.create_task(client.post("/v1/completions", json={"model": "m", "prompt": "x", "max_tokens": 1}))
    began = int(stage.clock.wall().timestamp())
    await stage.run_until(asked)
    assert 0 <= asked.result().json()["created"] - began <= 1
    await client.aclose()


async def stream(client: httpx.AsyncClient, tokens: int) -> int:
    """Tokens of a stream that came to its end."""
    asked = {"model": "m", "prompt": "x", "max_tokens": tokens, "stream": True}
    async with client.stream("POST", "/v1/completions", json=asked) as answer:
        lines = [line async for line in answer.aiter_lines() if line.startswith("data: {")]
    return sum(bool(json.loads(line[6:])["choices"][0]["text"]) for line in lines)


@asynccontextmanager
async def answering(stage: Stage, tokens: int) -> AsyncIterator[tuple[Placed, httpx.AsyncClient, asyncio.Task[int]]]:
    """A loaded replica that is in the middle of a stream."""
    placed = await start(stage)
    stage.clock.advance(10)
    async with stage.client(placed) as client:
        asking = asyncio.create_task(stream(client, tokens))
        while not stage.driver._running["d-1"].app.running:
            await asyncio.sleep(0.001)
        yield placed, client, asking


async def test_told_to_end_it_finishes_what_runs_and_takes_no_more(stage: Stage):
    async with answering(stage, tokens=5) as (placed, client, asking):
        stage.driver.stop(placed, force=False)
        assert stage.driver.alive(placed)
        assert (await client.post("/v1/completions", json={"prompt": "x"})).status_code == 503
        await stage.run_until(asking)
        assert asking.result() == 5
        assert not stage.driver.alive(placed)


async def test_what_does_not_finish_in_time_is_cut(stage: Stage):
    async with answering(stage, tokens=200) as (placed, _, asking):
        stage.driver.stop(placed, force=False)
        stage.clock.advance(DRAIN_S)
        assert not stage.driver.alive(placed)
        with pytest.raises(httpx.HTTPError):
            await asking


@pytest.mark.parametrize("streams", [True, False])
async def test_who_leaves_frees_the_slot_at_once(stage: Stage, streams: bool):
    placed = await start(stage)
    stage.clock.advance(10)
    app = stage.driver._running["d-1"].app
    async with stage.client(placed) as client:
        body = {"model": "m", "prompt": "x", "max_tokens": 200, "stream": streams}
        asking = asyncio.create_task(client.post("/v1/completions", json=body))
        while not app.running:
            await asyncio.sleep(0.001)
        asking.cancel()
        while app.running:  # while the clock stands still
            await asyncio.sleep(0.001)
    stage.driver.stop(placed, force=False)
    assert not stage.driver.alive(placed)


async def test_an_outage_breaks_streams_off_and_frees_the_room(stage: Stage):
    async with answering(stage, tokens=200) as (placed, _, asking):
        stage.clock.advance(3600)
        assert not stage.driver.alive(placed)
        with pytest.raises(httpx.HTTPError):
            await asking
    assert "went out of service" in stage.driver.ending(placed)
    assert all(node.free_threads == node.threads for node in stage.driver.nodes())
    assert not placed.socket.exists()


async def test_a_request_that_it_cannot_serve_is_refused_by_name(stage: Stage):
    placed = await start(stage)
    stage.clock.advance(10)
    async with stage.client(placed) as client:
        for body, field in (
            ({"n": 2}, "n"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "x"}, "max_tokens"),
            ({"response_format": {"type": "json_object"}}, "response_format"), ({"logprobs": 1}, "logprobs"),
            ({"tool_choice": "required"}, "tool_choice"), ({"echo": True}, "echo"),
        ):  # fmt: skip
            refused = await client.post("/v1/completions", json={"prompt": "x", **body})
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == field
        assert (await client.post("/v1/embeddings", json={"input": "x"})).status_code == 404
        assert (await client.post("/v1/completions", content=b"{")).status_code == 400


async def test_it_takes_what_it_was_launched_for_and_no_more(stage: Stage):
    placed = await stage.driver.start(replace(LAUNCH, need=Need(threads=3, model_bytes=1 << 30)))
    node = stage.driver.node_of(placed)
    assert node is not None
    assert (node.free_threads, node.free_memory_bytes) == (61, (256 << 30) - (1 << 30))
