"""`/metrics` on a real engine: what replicas measure, read by Prometheus' own parser; what models can do, as listed."""

from __future__ import annotations

from collections import defaultdict

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import SHARED, all_counted
from tests.processes import GEMMA, PATIENCE_S, SMOLLM2, EngineProcess, poll

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
TOKENS = 9


def exported(engine: EngineProcess, deployment: str = DEPLOYMENT) -> dict[str, float]:
    """The deployment's samples by name, buckets by name and bound."""
    answer = httpx.get(f"{engine.context.base_url}/metrics", timeout=PATIENCE_S)
    families = text_string_to_metric_families(answer.text)
    return {
        sample.name + (f"/{sample.labels['le']}" if "le" in sample.labels else ""): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("deployment") == deployment
    }


def test_what_a_replica_measures_is_exported(engine: EngineProcess, openai_client: openai.OpenAI) -> None:
    poll(lambda: all_counted(engine))
    before = exported(engine)
    openai_client.completions.create(
        model=DEPLOYMENT, prompt="One, two,", max_tokens=TOKENS, extra_body={"ignore_eos": True}
    )

    def grown() -> dict[str, float]:
        return defaultdict(float, {name: value - before.get(name, 0.0) for name, value in exported(engine).items()})

    def counted() -> bool:
        # What earlier tests asked may be counted meanwhile too: replicas are looked at twice a second.
        more = grown()
        names = ("ttft_seconds", "request_seconds", "request_queue_seconds", "request_prefill_seconds")
        counts = [(more[f"firedeck_replica_{n}_count"], more[f"firedeck_replica_{n}_bucket/+Inf"]) for n in names]
        assert all(count == up_to_infinity for count, up_to_infinity in counts), counts
        return (
            more["firedeck_replica_request_generated_tokens_sum"] >= TOKENS
            and min(counts) >= (1, 1)
            and more["firedeck_replica_decode_seconds_total"] > 0
            and more["firedeck_replica_batch_sequences_count"] == more["firedeck_replica_decode_steps_total"] >= 1
        )

    poll(counted)
    poll(lambda: exported(engine)["firedeck_replica_free_slots"] == 8)
    now, more = exported(engine), grown()
    assert now["firedeck_replica_kv_capacity_tokens"] >= now["firedeck_replica_kv_used_tokens"] >= 0
    assert now["firedeck_replica_model_load_seconds"] > 0
    assert now["firedeck_replica_prefix_cache_bytes"] >= 0
    assert more["firedeck_replica_preemptions_total"] == more["firedeck_replica_adapter_switches_total"] == 0


async def test_tools_and_chat_are_listed_for_models_with_a_chat_template(
    engine: EngineProcess, openai_client: openai.OpenAI
) -> None:
    async with Client(engine.context) as fleet:
        await fleet.deployments.create(DeploymentSpec(base_model=GEMMA, max_replica_count=0), "plain")
        try:
            listed = {model.id: model.to_dict() for model in openai_client.models.list()}
        finally:
            await fleet.deployments.delete("plain", hard=True)
    assert (listed[SMOLLM2]["supports_chat"], listed[SMOLLM2]["supports_tools"]) == (True, True)
    assert (listed[GEMMA]["supports_chat"], listed[GEMMA]["supports_tools"]) == (False, False)
