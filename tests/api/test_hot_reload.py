"""A deployment that runs every request with one adapter gets another version of it while requests run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.addon_types import DeployedModel
from client.resources import Client
from client.types import DeploymentSpec
from engine.fleet import addons
from engine.fleet.replica import Replica
from engine.models import fetch
from engine.models.catalogue import find
from tests import adapter_files
from tests.conftest import until_ready
from tests.house import served
from tests.processes import PATIENCE_S, SMOLLM2

pytestmark = pytest.mark.model
HOST = "accounts/local/deployments/d"
LOAD_S = 1.0
AT_ONCE = 4  # who asks one after another without a pause, each
PROMPT = "The lighthouse keeper"


class Asking:
    """Requests without a pause until `done`: what came of each, in the order in which they were asked."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self.done = http, False
        self.said: list[str] = []

    async def one(self) -> str:
        body = {"model": HOST, "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
        answer = await self._http.post("/inference/v1/completions", json=body, timeout=PATIENCE_S)
        return str(answer.json()["choices"][0]["text"]) if answer.status_code == 200 else answer.text

    async def run(self) -> None:
        while not self.done:
            said = await self.one()
            self.said.append(said)


async def until(seen: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await seen():
            await asyncio.sleep(0.05)


async def adapters(client: Client) -> dict[str, DeployedModel]:
    found = await client.deployed_models.list()
    return {(one.model or "").rpartition("/")[2]: one for one in found if one.model != SMOLLM2}


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas take a while to have read an adapter: many requests come meanwhile."""
    ask = addons._ask

    async def slowly(replica: Replica, method: str, *rest: Any) -> dict[str, Any]:
        if method == "PUT":
            await asyncio.sleep(LOAD_S)
        return await ask(replica, method, *rest)

    monkeypatch.setattr(addons, "_ask", slowly)


@pytest.mark.parametrize(("replicas", "at_once"), [(1, 8), (2, 8), (1, 1)])
async def test_every_request_meanwhile_is_answered_with_one_version_or_the_other(
    tmp_path: Path, slow_disk: None, replicas: int, at_once: int
) -> None:
    base = fetch.path_of(find(SMOLLM2))
    async with (
        served(tmp_path / "data") as (url, at),
        at.client() as client,
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {at.admin_key}"}) as http,
    ):
        counts = {"min_replica_count": replicas, "max_batch_size": at_once}
        spec = DeploymentSpec(base_model=SMOLLM2, enable_hot_reload_latest_addon=True, **counts)
        await client.deployments.create(spec, "d")
        await until_ready(client, "d")
        asking = Asking(http)
        plain = await asking.one()
        for seed, name in enumerate(("v1", "v2"), 1):
            file = adapter_files.make(tmp_path / f"{name}.gguf", base, seed=seed, strength=0.3)
            await client.models.create_from_file(name, str(file), base_model=SMOLLM2)

        async def served_by(name: str) -> bool:
            return {model: one.state for model, one in (await adapters(client)).items()} == {name: "DEPLOYED"}

        await client.deployed_models.load("v1", "d")
        await until(lambda: served_by("v1"))
        first = await asking.one()
        askers = [asyncio.create_task(asking.run()) for _ in range(AT_ONCE)]
        try:
            await until(lambda: asyncio.sleep(0, len(asking.said) >= AT_ONCE))
            await client.deployed_models.load("v2", "d", replace_merged=True)
            await until(lambda: served_by("v2"))
            so_far = len(asking.said)
            await until(lambda: asyncio.sleep(0, len(asking.said) >= so_far + 2 * AT_ONCE))
        finally:
            asking.done = True
            await asyncio.gather(*askers)
        second = asking.said[-1]
        assert len({plain, first, second}) == 3
        assert Counter(asking.said).keys() == {first, second}
