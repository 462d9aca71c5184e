"""kill -9 of the engine under streams: each ends for its client, its slot is free again, and the books balance."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from client.resources import Client
from client.usage_types import UsageRow
from tests.conftest import deploy, until_ready
from tests.faults.test_survival import ask
from tests.processes import PATIENCE_S, EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
NAME = "accounts/local/deployments/d"
STREAMS = 4


async def read(engine: EngineProcess, begun: asyncio.Event) -> str:
    """The text of one long stream, as far as it came."""
    body = {"model": NAME, "prompt": "Count: 1, 2,", "max_tokens": 1500, "ignore_eos": True, "stream": True}
    headers, text = {"authorization": f"Bearer {engine.key}"}, ""
    async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        with contextlib.suppress(httpx.HTTPError):
            async with http.stream("POST", "/v1/completions", json=body) as answer:
                async for piece in answer.aiter_text():
                    text += piece
                    begun.set()
    return text


async def test_streams_end_the_replica_is_free_again_and_what_it_ran_is_charged_once(own_engine: EngineProcess) -> None:
    await deploy(own_engine, "d", min_replica_count=1, max_batch_size=STREAMS, max_context_length=2048)
    async with Client(own_engine.context) as client:
        (replica,) = (await client.fleet.status("d")).replicas
        assert replica.ready_at is not None
    begun = [asyncio.Event() for _ in range(STREAMS)]
    streams = [asyncio.create_task(read(own_engine, one)) for one in begun]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(one.wait() for one in begun))
    own_engine.kill()
    async with asyncio.timeout(PATIENCE_S):
        texts = await asyncio.gather(*streams)
    assert not any("[DONE]" in text for text in texts), "none of them claims to be whole"
    own_engine.start()
    async with Client(own_engine.context) as client, asyncio.timeout(PATIENCE_S):
        await until_ready(client, "d")
        while True:
            (found,) = (await client.fleet.status("d")).replicas
            if found.stage == "READY" and found.running == 0:
                break
            await asyncio.sleep(0.1)
        assert (found.id, found.pid) == (replica.id, replica.pid)
        assert await asyncio.to_thread(ask, own_engine.context)
        rows: list[UsageRow] = []
        while not rows:  # the books are written every few seconds
            usage = await client.usage.get(start=replica.ready_at - timedelta(hours=1))
            asked_at = datetime.now(UTC)
            rows = [one for one in usage.rows if one.deployment == NAME]
            await asyncio.sleep(0.1)
    (row,) = rows
    assert 0 < row.replica_seconds <= (asked_at - replica.ready_at).total_seconds() + 1.0, "not twice"
