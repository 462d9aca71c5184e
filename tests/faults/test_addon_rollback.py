"""A version of an adapter whose requests fail gives its place back to the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from client.types import DeploymentSpec
from engine.control import addon_trial
from engine.models import fetch
from engine.models.catalogue import find
from tests import adapter_files
from tests.faults.test_broken_replicas import PATH
from tests.house import home
from tests.processes import PATIENCE_S, SMOLLM2

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
HOST = "accounts/local/deployments/d"


async def until(seen: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await seen():
            await asyncio.sleep(0.05)


async def test_it_does_so_by_itself_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PATH)
    monkeypatch.setattr(addon_trial, "MIN_REQUESTS", 4)
    file = adapter_files.make(tmp_path / "a.gguf", fetch.path_of(find(SMOLLM2)), seed=1, layers=1)
    async with home(tmp_path / "data") as at, at.client() as client, at.http(at.admin_key) as http:

        async def ask(**body: object) -> int:
            wanted = {"model": HOST, "prompt": "good", "max_tokens": 2, **body}
            return (await http.post("/inference/v1/completions", json=wanted)).status_code

        async def load(name: str, *, replace: bool) -> str:
            await client.models.create_from_file(name, str(file), base_model=SMOLLM2)
            return (await client.deployed_models.load(name, "d", replace_merged=replace)).name

        async def states() -> dict[str, str]:
            found = await client.deployed_models.list()
            return {(one.model or "").rpartition("/")[2]: one.state for one in found if one.model != SMOLLM2}

        async def served_by(name: str) -> bool:
            return await states() == {name: "DEPLOYED"}

        spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, enable_hot_reload_latest_addon=True)
        await client.deployments.create(spec, "d")
        await load("v1", replace=False)
        await until(lambda: served_by("v1"))
        assert [await ask() for _ in range(4)] == [200] * 4
        await load("v2-bad", replace=True)
        await until(lambda: served_by("v2-bad"))
        assert [await ask() for _ in range(4)] == [500] * 4
        await until(lambda: served_by("v1"))
        assert await ask() == 200
        events = (await http.get(f"/firedeck/v1/{HOST}/events", params={"limit": 100})).json()["events"]
        [told] = [event for event in events if event["reason"] == "AddonRolledBack"]
        assert told["kind"] == "Warning"
        assert "4 of 4 requests failed (100 %), above 0.1 %; before, 0 of 4 requests failed (0 %)" in told["message"]
        assert "firedeck load-lora v2-bad --deployment d --replace-merged-addon" in told["message"]
