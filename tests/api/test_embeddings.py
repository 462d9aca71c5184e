"""Embeddings and reranking through the gateway, asked by the official `openai` SDK and by our own client."""

from __future__ import annotations

import httpx
import openai
import pytest

from client.errors import InvalidArgument
from client.http import Transport
from client.inference import Inference
from tests.conftest import SHARED, all_counted
from tests.processes import PATIENCE_S, EngineProcess, poll

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
TEXTS = ["The cat sits on the mat.", "Revenue grew by nine percent."]


@pytest.mark.parametrize("base", ["/v1", "/inference/v1"])
def test_both_prefixes_embed(engine: EngineProcess, base: str) -> None:
    with openai.OpenAI(base_url=engine.context.base_url + base, api_key=engine.key, max_retries=0) as client:
        answer = client.embeddings.create(model=DEPLOYMENT, input=TEXTS, dimensions=32)
    assert answer.model == DEPLOYMENT
    assert [len(item.embedding) for item in answer.data] == [32, 32]


def series(engine: EngineProcess, name: str) -> float:
    """One number of /metrics, for the shared deployment."""
    text = httpx.get(f"{engine.context.base_url}/metrics", timeout=PATIENCE_S).text
    lines = (line for line in text.splitlines() if line.startswith(f"{name}{{") and f'/{SHARED}"' in line)
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_embeddings_are_accounted_as_prompt_tokens_and_have_no_first_token(engine: EngineProcess) -> None:
    names = ("firedeck_prompt_tokens_total", "firedeck_generated_tokens_total", "firedeck_ttft_seconds_count")
    poll(lambda: all_counted(engine))
    before = [series(engine, name) for name in names]
    with openai.OpenAI(base_url=f"{engine.context.base_url}/v1", api_key=engine.key) as client:
        used = client.embeddings.create(model=DEPLOYMENT, input=TEXTS).usage.prompt_tokens
    assert used > 10
    poll(lambda: all_counted(engine))
    assert [series(engine, name) for name in names] == [before[0] + used, *before[1:]]


async def test_our_client_embeds_and_hears_that_a_generator_is_no_reranker(engine: EngineProcess) -> None:
    async with Transport(engine.context.base_url, engine.key) as transport:
        inference = Inference(transport)
        answer = await inference.embed({"model": DEPLOYMENT, "input": TEXTS[0]})
        assert len(answer["data"][0]["embedding"]) == 576
        with pytest.raises(InvalidArgument, match="no reranker"):
            await inference.rerank({"model": DEPLOYMENT, "query": "cat", "documents": TEXTS})


def test_a_stream_of_embeddings_is_an_ordinary_answer(engine: EngineProcess) -> None:
    answer = httpx.post(
        f"{engine.context.base_url}/v1/embeddings",
        headers={"Authorization": f"Bearer {engine.key}"},
        json={"model": DEPLOYMENT, "input": "hi", "stream": True},
        timeout=PATIENCE_S,
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["object"] == "list"
