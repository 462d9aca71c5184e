"""A change that needs new replicas, under requests that never stop: none of them fails, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from client.resources import Client
from client.types import Deployment, DeploymentSpec
from tests.conftest import deploy, events_of
from tests.faults.test_survival import HASTY
from tests.processes import GEMMA, PATIENCE_S, EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
NAME = "accounts/local/deployments/d"
ASKERS = 4
FULL = int(os.environ.get("FIREDECK_TEST_REQUESTS", "10000"))  # of the full-size roll-out


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    running = EngineProcess(tmp_path / "data").start()
    yield running
    running.stop()


@asynccontextmanager
async def asked_without_end(engine: EngineProcess) -> AsyncIterator[Counter[str]]:
    """Streams and whole answers turn about, each asker one after the other; what came of them, by outcome."""
    outcomes: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {engine.key}"}
    async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        askers = [asyncio.create_task(_ask_on(http, i % 2 == 0, outcomes)) for i in range(ASKERS)]
        try:
            yield outcomes
        finally:
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)


async def _ask_on(http: httpx.AsyncClient, stream: bool, outcomes: Counter[str]) -> None:
    body = {"model": NAME, "prompt": "Count: 1, 2,", "max_tokens": 8, "ignore_eos": True, "stream": stream}
    while True:
        answer = await http.post("/v1/completions", json=body)
        good = answer.status_code == 200 and (
            _whole(answer.text) if stream else bool(answer.json()["choices"][0]["text"])
        )
        outcomes["answered" if good else f"{answer.status_code} {answer.text[:100]} ... {answer.text[-300:]}"] += 1


def _whole(stream: str) -> bool:
    """Told by its events: text may well say "error"."""
    *events, last = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    return last == "[DONE]" and not any("error" in json.loads(event) for event in events)


async def _rolled(client: Client, slots: int, replicas: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = await client.fleet.status("d")
            new = [r for r in status.replicas if r.stage == "READY" and r.slots == slots]
            if len(new) == len(status.replicas) == replicas and status.deployment.state == "READY":
                return
            await asyncio.sleep(0.1)


async def _roll_out(engine: EngineProcess, requests: int) -> None:
    """Change the settings again and again until so many requests were answered."""
    replicas = 2
    await deploy(engine, "d", min_replica_count=replicas, max_replica_count=replicas, max_batch_size=4)
    changes = 0
    async with Client(engine.context) as client, asked_without_end(engine) as outcomes:
        await _rolled(client, 4, replicas)
        while not changes or outcomes.total() < requests:
            slots = 3 + changes % 2
            await client.deployments.update("d", DeploymentSpec(max_batch_size=slots))
            await _rolled(client, slots, replicas)
            changes += 1
        events = await events_of(client, "d", "RolloutStarted", "RolloutDone")
    print(f"{outcomes.total()} requests during {changes} roll-outs over {replicas} replicas: {dict(outcomes)}")
    print(*(f"{event.reason}: {event.message}" for event in events if event.kind == "Warning"), sep="\n")
    assert outcomes.keys() == {"answered"}


def _says(deployment: Deployment) -> str:
    return deployment.status.message if deployment.status else ""


async def test_a_rolling_update_under_requests_that_never_stop_fails_none(engine: EngineProcess) -> None:
    await _roll_out(engine, 1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_rolling_updates_under_ten_thousand_requests_fail_none(engine: EngineProcess) -> None:
    await _roll_out(engine, FULL)


async def test_a_roll_out_whose_replicas_do_not_start_stops_says_so_and_heals_when_taken_back(
    tmp_path: Path,
) -> None:
    engine = EngineProcess(tmp_path / "data", environment=HASTY).start()
    try:
        await _roll_out_what_cannot_start(engine)
    finally:
        engine.stop()


async def _roll_out_what_cannot_start(engine: EngineProcess) -> None:
    await deploy(engine, "d", min_replica_count=1)
    async with Client(engine.context) as client, asked_without_end(engine) as outcomes:
        [serving] = engine.replicas()
        # Another vocabulary than its big model's: no such replica can ever start.
        await client.deployments.update("d", DeploymentSpec(draft_model=GEMMA, draft_token_count=4))
        async with asyncio.timeout(PATIENCE_S):
            while not (status := await client.fleet.status("d")).conditions:
                await asyncio.sleep(0.2)
        stopped, [condition] = status.deployment, status.conditions
        assert condition.type == "RolloutStopped"
        assert "vocabular" in condition.message
        assert "take the change back" in condition.message
        async with asyncio.timeout(PATIENCE_S):  # the document is written after the condition holds
            while "roll-out stopped" not in _says(stopped):
                await asyncio.sleep(0.2)
                stopped = await client.deployments.get("d")
        assert stopped.status is not None
        assert (stopped.state, stopped.status.code) == ("READY", "ABORTED")
        await events_of(client, "d", "RolloutStopped")
        answered = outcomes.total()
        async with asyncio.timeout(PATIENCE_S):
            while outcomes.total() < answered + 3 * ASKERS:
                await asyncio.sleep(0.1)
        await client.deployments.update("d", DeploymentSpec(draft_token_count=0))
        async with asyncio.timeout(PATIENCE_S):
            while (healed := await client.deployments.get("d")).state != "READY" or _says(healed):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE_S):
            while (await client.fleet.status("d")).conditions or [r.pid for r in engine.replicas()] != [serving.pid]:
                await asyncio.sleep(0.1)
    assert outcomes.keys() == {"answered"}
