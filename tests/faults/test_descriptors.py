"""An engine with 64 file descriptors: more clients than it has places for are told to come back, and it recovers."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from tests import processes
from tests.conftest import deploy
from tests.processes import PATIENCE_S, EngineProcess, firedeck

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
NAME = "accounts/local/deployments/d"
CLIENTS = 120


def few(*words: str) -> list[str]:
    return ["sh", "-c", 'ulimit -n 64; exec "$0" "$@"', *firedeck(*words)]


async def test_clients_beyond_the_descriptors_are_told_to_come_back_and_the_engine_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "firedeck", few)
    engine = await asyncio.to_thread(EngineProcess(tmp_path / "data").start)
    try:
        await deploy(engine, "d", min_replica_count=1)
        [replica] = engine.replicas()
        idle = []
        host, port = engine.context.base_url.removeprefix("http://").split(":")
        for _ in range(CLIENTS):
            idle.append((await asyncio.open_connection(host, int(port)))[1])
        for writer in idle:
            writer.close()
        told = {answer.status_code: answer for answer in await asyncio.gather(*(ask(engine) for _ in range(CLIENTS)))}
        assert set(told) <= {200, 503}
        if 503 in told:
            assert int(told[503].headers["retry-after"]) >= 1
            assert told[503].json()["error"]["code"] == "UNAVAILABLE"
        async with asyncio.timeout(PATIENCE_S):
            while (await ask(engine)).status_code != 200:
                await asyncio.sleep(0.2)
        assert [one.pid for one in engine.replicas()] == [replica.pid]
        assert "Traceback" not in engine.log.read_text()
    finally:
        await asyncio.to_thread(engine.stop)


async def ask(engine: EngineProcess) -> httpx.Response:
    """One request on a connection of its own; tried again where there was no room to be told."""
    headers = {"Authorization": f"Bearer {engine.key}"}
    body = {"model": NAME, "prompt": "Count:", "max_tokens": 2}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=60) as http:
                    return await http.post("/v1/completions", json=body)
            await asyncio.sleep(0.2)
