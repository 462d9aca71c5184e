"""Replicas that answer with garbage: a 502 or a clean error event, never a traceback or a hang; the engine goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
import pytest

from client.resources import Client
from tests.conftest import deploy
from tests.faults.broken_replica import BROKEN, REPORTS, TEXT, UNBEGUN, WELL, WHOLE
from tests.faults.test_quarantine import NAME, ROOT
from tests.processes import PATIENCE_S, EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
PATH = os.pathsep.join([str(ROOT / "tests" / "faults" / "broken"), str(ROOT)])
# A replica that dies looks the same.
CUT_OFF = ("half a head", "shorter than it says", "half a chunk", "half an event", "nothing")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine with one replica, which says what it is told to."""
    running = EngineProcess(tmp_path_factory.mktemp("engine") / "data", environment={"PYTHONPATH": PATH}).start()
    try:
        asyncio.run(deploy(running, "d", min_replica_count=1))
        yield running
    finally:
        running.stop()


@pytest.fixture
async def http(engine: EngineProcess) -> AsyncIterator[httpx.AsyncClient]:
    """At the end the same replica serves the same engine, and nothing unforeseen is in the log."""
    [before] = engine.replicas()
    headers = {"Authorization": f"Bearer {engine.key}"}
    async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as client:
        yield client
        good = await ask(client, "good")
        assert (good.status_code, good.json()["choices"][0]["text"]) == (200, TEXT)
    assert [replica.pid for replica in engine.replicas()] == [before.pid]
    assert "Traceback" not in engine.log.read_text()


async def ask(http: httpx.AsyncClient, prompt: str, *, stream: bool = False) -> httpx.Response:
    return await http.post("/v1/completions", json={"model": NAME, "prompt": prompt, "stream": stream})


async def answers(http: httpx.AsyncClient, names: Iterable[str], *, stream: bool) -> dict[str, httpx.Response]:
    """To each script, all asked at once."""
    asked = list(names)
    return dict(
        zip(asked, await asyncio.gather(*(ask(http, f"SCRIPT {n}", stream=stream) for n in asked)), strict=True)
    )


def statuses(told: dict[str, httpx.Response]) -> dict[str, int]:
    """Of what comes in the one envelope, when it is refused."""
    for answer in told.values():
        if answer.status_code != 200:
            assert answer.json()["error"]["code"] == {502: "BAD_GATEWAY", 503: "UNAVAILABLE"}[answer.status_code]
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return {name: answer.status_code for name, answer in told.items()}


def events(answer: httpx.Response) -> list[Any]:
    """Every event of a stream; each is whole."""
    *lines, rest = answer.text.split("\n\n")
    assert not rest
    data = [line.removeprefix("data: ") for line in lines if not line.startswith(":")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def text_of(told: list[Any]) -> str:
    return "".join(one["choices"][0]["text"] for one in told if "choices" in one)


async def test_an_answer_that_is_none_is_a_502(http: httpx.AsyncClient) -> None:
    told = await answers(http, WHOLE, stream=False)
    assert statuses(told) == {name: 503 if name in CUT_OFF else 502 for name in WHOLE}


async def test_a_stream_that_never_begins_is_a_502(http: httpx.AsyncClient) -> None:
    told = await answers(http, UNBEGUN, stream=True)
    assert statuses(told) == {name: 503 if name in CUT_OFF else 502 for name in UNBEGUN}


async def test_a_stream_that_breaks_ends_with_an_error_event_and_every_event_is_whole(http: httpx.AsyncClient) -> None:
    told = await answers(http, BROKEN, stream=True)
    assert set(statuses(told).values()) == {200}
    for name, answer in told.items():
        *before, last = events(answer)
        assert (text_of(before), last["error"]["code"]) == (TEXT, "INTERNAL"), name
        assert "[DONE]" not in before


async def test_a_stream_in_odd_pieces_is_passed_on_whole(http: httpx.AsyncClient) -> None:
    told = await answers(http, WELL, stream=True)
    assert set(statuses(told).values()) == {200}
    for name, answer in told.items():
        sent = events(answer)
        assert (text_of(sent), sent[-1]) == (TEXT, "[DONE]"), name


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "good"])
async def test_figures_that_are_none_cost_nobody_an_answer_or_a_view(
    engine: EngineProcess, http: httpx.AsyncClient, name: str
) -> None:
    assert (await ask(http, f"REPORT {name}")).status_code == 200
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await ask(http, "LOOKS")).json()["id"] in ("cmpl-0", "cmpl-1"):
                await asyncio.sleep(0.05)
        assert (await http.get("/firedeck/v1/fleet")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200
        answer = await ask(http, f"REPORT {name}")
        assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, TEXT)
    finally:
        await ask(http, "REPORT good")
    async with Client(engine.context) as client:
        assert (await client.fleet.status("d")).replicas
