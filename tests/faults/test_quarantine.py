"""A request that crashes or wedges replicas: found out after two, and refused, while everybody else is served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client.resources import Client
from engine.store.disk import DATABASE
from tests.conftest import deploy, events_of, until_ready
from tests.processes import EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
NAME = "accounts/local/deployments/d"
POISONOUS = Path(__file__).parent / "poisonous"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine whose replicas crash on POISON."""
    path = os.pathsep.join([str(POISONOUS), str(ROOT)])
    running = EngineProcess(tmp_path / "data", environment={"PYTHONPATH": path}).start()
    yield running
    running.stop()


async def test_a_request_that_crashes_replicas_is_refused_after_two_and_costs_nobody_else_an_answer(
    engine: EngineProcess,
) -> None:
    await deploy(engine, "d", min_replica_count=2, max_replica_count=2, max_batch_size=8)
    async with Client(engine.context) as client, _http(engine) as http:
        while sum(r.stage == "READY" for r in (await client.fleet.status("d")).replicas) < 2:
            await asyncio.sleep(0.1)
        innocent = [asyncio.create_task(_ask(http, f"Innocent {i}: 1, 2,", 80)) for i in range(8)]
        running = f'firedeck_requests_running{{deployment="{NAME}"}} 8.0'  # on both replicas
        while running not in (await http.get("/metrics")).text and not any(task.done() for task in innocent):
            await asyncio.sleep(0.01)
        poison = await _ask(http, "POISON", 5)
        assert poison.status_code == 400
        error = poison.json()["error"]
        assert error["code"] == "FAILED_PRECONDITION"
        assert "ended 2 replicas" in error["message"]
        answers = await asyncio.gather(*innocent)
        assert [answer.status_code for answer in answers] == [200] * 8
        again = await _ask(http, "POISON", 5)
        assert "ended 2 replicas" in again.json()["error"]["message"]
        while (await _reasons(client)).count("ReplicaDied") < 2:  # told by the next look at the replicas
            await asyncio.sleep(0.1)
        await until_ready(client, "d")
        events = [event.reason for event in await events_of(client, "d", "RequestQuarantined")]
        assert events.count("ReplicaDied") == 2
        assert events.count("RequestQuarantined") == 1
        [quarantined] = (await client.fleet.status("d")).quarantined
        assert quarantined.digest[:16] in error["message"]
        assert len(set(quarantined.replicas)) == 2
        assert "firedeck_requests_quarantined_total" in (await http.get("/metrics")).text
        while quarantined.digest not in _faults_on_disk(engine):
            await asyncio.sleep(0.1)
    engine.kill()
    engine.start()
    async with _http(engine) as http:
        refused = await _ask(http, "POISON", 5)
        assert refused.status_code == 400
        assert "ended 2 replicas" in refused.json()["error"]["message"]
        assert (await _ask(http, "Innocent", 5)).status_code == 200


async def test_requests_whose_replicas_are_killed_from_outside_are_answered_and_never_refused(
    engine: EngineProcess,
) -> None:
    await deploy(engine, "d", min_replica_count=2, max_replica_count=2)
    async with Client(engine.context) as client, _http(engine) as http:
        asking = asyncio.create_task(_ask(http, "Innocent: 1, 2,", 300))
        killed, under = set[int](), 0
        while under < 2:
            if asking.done():  # this machine stood still: it was answered before two had been killed under it
                assert asking.result().status_code == 200, asking.result().text
                asking, under = asyncio.create_task(_ask(http, "Innocent: 1, 2,", 300)), 0
            seen = (await client.fleet.status("d")).replicas
            busy = next((r.pid for r in seen if r.running and r.pid and r.pid not in killed), None)
            if busy is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(busy, signal.SIGKILL)
                killed.add(busy)
                under += 1
            await asyncio.sleep(0.05)
        assert (await asking).status_code == 200
        while (await _reasons(client)).count("ReplicaDied") < 2:
            await asyncio.sleep(0.1)
        assert (await client.fleet.status("d")).quarantined == []
        assert (await _ask(http, "Innocent: 1, 2,", 1)).status_code == 200


async def test_a_request_whose_clients_give_up_before_each_crash_is_refused_all_the_same(engine: EngineProcess) -> None:
    await deploy(engine, "d", min_replica_count=2, max_replica_count=2)
    async with Client(engine.context) as client, _http(engine) as http:
        while sum(r.stage == "READY" for r in (await client.fleet.status("d")).replicas) < 2:
            await asyncio.sleep(0.1)
        for deaths in (1, 2):
            asking = asyncio.create_task(http.post("/v1/completions", json={"model": NAME, "prompt": "LATER"}))
            while _logged(engine, b"LATER is here") < deaths:
                await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            while (await _reasons(client)).count("ReplicaDied") < deaths:
                await asyncio.sleep(0.1)
        while not (await client.fleet.status("d")).quarantined:
            await asyncio.sleep(0.1)
        refused = await http.post("/v1/completions", json={"model": NAME, "prompt": "LATER"})
        assert refused.status_code == 400
        assert "ended 2 replicas" in refused.json()["error"]["message"]


async def test_a_stream_that_crashes_replicas_midway_goes_on_once_and_then_ends_with_an_error(
    engine: EngineProcess,
) -> None:
    await deploy(engine, "d", min_replica_count=2, max_replica_count=2)
    async with Client(engine.context) as client, _http(engine) as http:
        while sum(r.stage == "READY" for r in (await client.fleet.status("d")).replicas) < 2:
            await asyncio.sleep(0.1)
        body = {"model": NAME, "prompt": "MIDWAY", "max_tokens": 80, "ignore_eos": True}
        streamed = await http.post("/v1/completions", json={**body, "stream": True})
        assert streamed.status_code == 200
        *_events, last = streamed.text.strip().split("\n\n")
        assert "ended while it was answering" in last
        assert "[DONE]" not in streamed.text
        [quarantined] = (await client.fleet.status("d")).quarantined
        assert len(set(quarantined.replicas)) == 2
        refused = await http.post("/v1/completions", json={**body, "stream": True})
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("word", "why", "patience_s"),
    [
        ("WEDGE", "made no token", 5),
        pytest.param("WEDGE", "made no token", 30, marks=pytest.mark.soak),
        pytest.param("VANISH", "says it has no work", 30, marks=pytest.mark.soak),
    ],
)
async def test_a_wedged_replica_is_ended_although_it_answers_every_look_and_its_request_is_found_out(
    tmp_path: Path, word: str, why: str, patience_s: int
) -> None:
    path = os.pathsep.join([str(POISONOUS), str(ROOT)])
    patience = {"PYTHONPATH": path, "FIREDECK_TEST_STALLED_AFTER_S": str(patience_s)}
    engine = EngineProcess(tmp_path / "data", environment=patience).start()
    try:
        await deploy(engine, "d", min_replica_count=1)
        async with Client(engine.context) as client, _http(engine) as http:
            answer = await _ask(http, word, 5)
            assert answer.status_code == 400
            assert "ended 2 replicas" in answer.json()["error"]["message"]
            await until_ready(client, "d")
            told = [event.message for event in await client.fleet.events("d") if event.reason == "ReplicaUnhealthy"]
            assert sum(why in message for message in told) >= 2
            assert (await _ask(http, "Innocent", 5)).status_code == 200
    finally:
        engine.stop()


@pytest.mark.soak  # the same, twice
async def test_a_request_that_wedges_replicas_is_found_out_though_its_clients_give_up_and_try_again(
    engine: EngineProcess,
) -> None:
    await deploy(engine, "d", min_replica_count=1)
    async with Client(engine.context) as client, _http(engine) as http:
        while not (await client.fleet.status("d")).quarantined:
            with contextlib.suppress(httpx.TimeoutException):
                await http.post("/v1/completions", json={"model": NAME, "prompt": "WEDGE"}, timeout=5)
            await asyncio.sleep(0.5)
        refused = await http.post("/v1/completions", json={"model": NAME, "prompt": "WEDGE"})
        assert "ended 2 replicas" in refused.json()["error"]["message"]
        await until_ready(client, "d")
        assert (await _ask(http, "Innocent", 5)).status_code == 200


async def _reasons(client: Client) -> list[str]:
    return [event.reason for event in await client.fleet.events("d")]


def _faults_on_disk(engine: EngineProcess) -> str:
    with contextlib.closing(sqlite3.connect(engine.data_dir / DATABASE)) as db:
        return "".join(doc for (doc,) in db.execute("SELECT doc FROM faults"))


def _logged(engine: EngineProcess, words: bytes) -> int:
    """How often replicas have said so, those that are gone included."""
    return sum(log.read_bytes().count(words) for log in (engine.data_dir / "logs").glob("d-*.log"))


def _http(engine: EngineProcess) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=300)


async def _ask(http: httpx.AsyncClient, prompt: str, tokens: int) -> httpx.Response:
    body = {"model": NAME, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
    return await http.post("/v1/completions", json=body)
