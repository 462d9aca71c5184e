"""Drafting as a deployment declares it: from the declaration to the replica's command line, and never to its text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from client.errors import FailedPrecondition, NotFound
from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import PATIENCE_S, SHARED, removed_afterwards, until_ready
from tests.processes import SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
ACCOUNT = "accounts/local/deployments"
AGAIN = "one two three four five six one two three four five six one two three"


@pytest.fixture
async def own(fleet: Client) -> AsyncIterator[Client]:
    """The engine, with whatever a test deploys as `drafts` removed afterwards."""
    async with removed_afterwards(fleet, "drafts"):
        yield fleet


async def text(engine: EngineProcess, deployment: str) -> str:
    url = f"{engine.context.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=engine.key, max_retries=0) as client:
        answer = await client.completions.create(
            model=f"{ACCOUNT}/{deployment}", prompt=AGAIN, max_tokens=24, temperature=0
        )
    return answer.choices[0].text


def started_with(engine: EngineProcess, replica: str = "") -> dict[str, str]:
    """The arguments of the one replica process of `drafts`, or of that of its replicas."""
    lines = [process.cmdline() for process in engine.replicas()]
    (line,) = [line for line in lines if f"{ACCOUNT}/drafts" in line and (not replica or replica in line)]
    return dict(zip(line[3::2], line[4::2], strict=True))


async def test_ngram_speculation_reaches_the_replica_and_changes_no_text(own: Client, engine: EngineProcess) -> None:
    spec = DeploymentSpec(base_model=SMOLLM2, ngram_speculation_length=3, draft_token_count=6)
    await own.deployments.create(spec, "drafts")
    await until_ready(own, "drafts")
    given = started_with(engine)
    assert (given["--ngram-speculation-length"], given["--draft-token-count"]) == ("3", "6")
    assert await text(engine, "drafts") == await text(engine, SHARED)


async def test_a_draft_model_is_loaded_beside_the_model_and_changes_no_text(own: Client, engine: EngineProcess) -> None:
    model = await own.models.get(SMOLLM2)
    assert model.firedeck is not None
    await own.models.create_from_file("draft", model.firedeck.file or "")
    try:
        spec = DeploymentSpec(base_model=SMOLLM2, draft_model="draft", draft_token_count=2)
        made = await own.deployments.create(spec, "drafts")
        assert made.draft_model == "accounts/local/models/draft"
        await until_ready(own, "drafts")
        assert started_with(engine)["--draft-model"] == model.firedeck.file
        assert await text(engine, "drafts") == await text(engine, SHARED)
        with pytest.raises(FailedPrecondition, match="drafts"):
            await own.models.delete("draft")
        await own.deployments.delete("drafts", hard=True, ignore_checks=True)
    finally:
        await own.models.delete("draft")


async def test_changed_drafting_rolls_out_and_switched_off_drafting_is_left_out(
    own: Client, engine: EngineProcess
) -> None:
    spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, num_peft_device_cached=2, max_peft_batch_size=3)
    await own.deployments.create(spec, "drafts")
    await until_ready(own, "drafts")
    first = started_with(engine)
    assert (first["--adapters-cached"], first["--adapter-sequences"]) == ("2", "3")
    assert "--draft-token-count" not in first
    await own.deployments.update("drafts", DeploymentSpec(ngram_speculation_length=2, draft_token_count=4))
    async with asyncio.timeout(PATIENCE_S):
        while len(replicas := (await own.fleet.status("drafts")).replicas) != 1 or replicas[0].id == first["--replica"]:
            await asyncio.sleep(0.1)
    assert started_with(engine, replicas[0].id)["--draft-token-count"] == "4"


@pytest.mark.parametrize("model", ["accounts/fireworks/models/nope", "nope"])
async def test_an_unknown_draft_model_is_not_found_by_its_field(own: Client, model: str) -> None:
    spec = DeploymentSpec(base_model=SMOLLM2, draft_model=model, draft_token_count=2)
    with pytest.raises(NotFound, match="nope") as refused:
        await own.deployments.create(spec, "drafts")
    assert refused.value.field == "draftModel"
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "drafts")
    with pytest.raises(NotFound) as refused:
        await own.deployments.update("drafts", DeploymentSpec(draft_model=model, draft_token_count=2))
    assert refused.value.field == "draftModel"
    assert (await own.deployments.get("drafts")).draft_model is None


def test_disable_speculative_decoding_switches_declared_drafting_off(engine: EngineProcess) -> None:
    body: dict[str, Any] = {"baseModel": SMOLLM2, "draftModel": SMOLLM2, "draftTokenCount": 4}
    query = {"validateOnly": "true", "disableSpeculativeDecoding": "true"}
    url = f"{engine.context.base_url}/v1/{ACCOUNT}"
    key = {"Authorization": f"Bearer {engine.key}"}
    made = httpx.post(url, params=query, json=body, headers=key, timeout=PATIENCE_S).json()
    assert (made["draftModel"], made["draftTokenCount"]) == (SMOLLM2, 0)
