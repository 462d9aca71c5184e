"""What a request starts ends with it: tasks of the engine before and after clients of every kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.processes import PATIENCE_S
from tests.virtual import Virtual, virtual

LEFT_TOKENS = 5
NAME = "accounts/local/deployments/d"


async def _leaves(at: Virtual, http: httpx.AsyncClient) -> None:
    """A client that goes while its stream is under way."""
    body = {"model": NAME, "prompt": "a", "max_tokens": LEFT_TOKENS, "stream": True}
    async with http.stream("POST", f"{at.url}/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        await anext(answer.aiter_raw())


async def test_no_task_outlives_its_request(tmp_path: Path) -> None:
    async with virtual(tmp_path) as at:
        async with at.client() as client:
            await at.deploy(client, "d")
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"authorization": f"Bearer {at.admin_key}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S, limits=limits) as http:
            whole = {"model": NAME, "prompt": "a", "max_tokens": 1}
            assert (await http.post(f"{at.url}/v1/completions", json=whole)).status_code == 200
            [keeper] = at.engine.house.fleet.keepers()
            await at.until(lambda: not keeper.running())
            before = len(asyncio.all_tasks())
            for _ in range(3):
                asked = [http.post(f"{at.url}/v1/completions", json=whole) for _ in range(20)]
                bad = [http.post(f"{at.url}/v1/completions", content=b"{") for _ in range(10)]
                answers = await asyncio.gather(*asked, *bad)
                assert {answer.status_code for answer in answers} == {200, 415}
                await asyncio.gather(*(_leaves(at, http) for _ in range(4)))
                await at.pass_time(2.0 * LEFT_TOKENS)  # a simulated replica talks on to those who left
            await at.until(lambda: not keeper.running() and len(asyncio.all_tasks()) <= before)
