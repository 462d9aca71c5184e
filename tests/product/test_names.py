"""Every name of a model or deployment that the documents show is one here: the library's own, and the forms, filled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from client.types import DeploymentSpec
from tests.house import home
from tests.processes import SMOLLM2
from tests.product.documents import run_here

FILLED = {
    "<MODEL_ID>": "smollm2-135m-instruct", "<model-id>": "smollm2-135m-instruct", "<DEPLOYMENT_ID>": "d",
    "account_id": "local", "model_id": "d",
}  # fmt: skip
NAMES = run_here("name")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with home(tmp_path / "data") as opened, opened.client() as client:
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "d")
        async with opened.http(opened.admin_key) as asking:
            yield asking


def filled(name: str) -> str:
    """The library's models are `fireworks`', deployments one's own."""
    for place, value in FILLED.items():
        name = name.replace(place, value)
    return name.replace("<ACCOUNT_ID>", "local" if "/deployments/" in name else "fireworks")


async def test_what_is_named_alone_is_there(http: httpx.AsyncClient) -> None:
    asked = {name: (await http.get(f"/v1/{filled(name)}")) for name in NAMES if "#" not in name}
    assert len(asked) > 5
    assert {name: answer.status_code for name, answer in asked.items()} == dict.fromkeys(asked, 200)
    assert all(answer.json()["name"] == filled(name) for name, answer in asked.items())


async def test_a_model_on_somebody_elses_deployment_is_not_found_in_the_documented_words(
    http: httpx.AsyncClient,
) -> None:
    [name] = [name for name in NAMES if "#" in name]
    answer = await http.post("/inference/v1/completions", json={"model": name, "prompt": "Hi"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model")
    assert "Model not found, inaccessible, and/or not deployed" in answer.json()["error"]["message"]
