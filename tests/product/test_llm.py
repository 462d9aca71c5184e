"""Every argument and every line of Python that the documents show, with our own `LLM`, on the embedded model.

`tests/api/test_llm_class.py` has the same lines with the class of fireworks-ai 0.19.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from client.config import Context
from client.errors import NotFound, Unimplemented
from client.llm import LLM
from client.resources import Client
from client.sync import SyncClient
from client.training import Reinforcement
from tests import adapter_files
from tests.conftest import SHARED
from tests.processes import SMOLLM2, EngineProcess
from tests.product.documents import run_here

APPLY, APPLY_LORA, TUNE = "llm.apply(wait=True)", "fine_tuned_with_lora.apply()", "job = llm.create_supervised"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0}
# A value of the documented type for each argument; those that exclude each other are given apart.
TOGETHER: dict[str, Any] = {
    "id": "my-deployment", "deployment_display_name": "Mine", "api_key": "k", "base_url": "http://127.0.0.1:9",
    "max_retries": 10, "scale_up_window": timedelta(seconds=1), "scale_down_window": timedelta(minutes=1),
    "scale_to_zero_window": timedelta(minutes=5), "accelerator_type": "NVIDIA_H100_80GB", "multi_region": "EUROPE",
    "min_replica_count": 1, "max_replica_count": 2, "accelerator_count": 2, "precision": "FP16", "world_size": 1,
    "generator_count": 1, "disaggregated_prefill_count": 0, "disaggregated_prefill_world_size": 0,
    "max_batch_size": 4, "max_peft_batch_size": 2, "kv_cache_memory_pct": 80, "enable_addons": True,
    "draft_token_count": 4, "draft_model": "small", "long_prompt_optimized": True, "temperature": 0.5,
    "num_peft_device_cached": 2, "enable_metrics": True, "perf_metrics_in_response": True, "description": "What for",
    "annotations": {"team": "a"}, "enable_session_affinity": True, "direct_route_api_keys": [],
    "direct_route_type": "INTERNET",
}  # fmt: skip
APART: list[dict[str, Any]] = [
    {"replica_count": 1}, {"region": "US_IOWA_1"}, {"ngram_speculation_length": 3, "draft_token_count": 4},
    {"live_merge": True}, {"base_id": "my-deployment"},
]  # fmt: skip
NOT_FOR_OWN = {"cluster", "direct_route_handle"}  # told by the platform: whoever sets one is refused by its name


def test_every_argument_of_the_class_is_taken_or_refused_by_name() -> None:
    assert {name for given in (TOGETHER, *APART) for name in given} | NOT_FOR_OWN | {"model", "deployment_type"} == set(
        run_here("argument of LLM")
    )
    with LLM("m", "on-demand", **TOGETHER) as llm:
        assert llm.model == "m"
    for given in APART:
        kind: Any = "on-demand-lora" if "base_id" in given else "auto"
        with LLM(model="m", deployment_type=kind, **given) as other:
            assert other.deployment_type == kind
    for name in NOT_FOR_OWN:
        with pytest.raises(ValueError, match=name):
            LLM("m", "auto", **{name: "x"})  # type: ignore[misc]


def test_every_method_takes_what_its_documentation_says() -> None:
    calls = {call.partition("(")[0]: call for call in run_here("call") if "(" in call}
    assert calls.keys() == {"apply", "create_supervised_fine_tuning_job", "reinforcement_step"}
    assert inspect.signature(LLM.apply).parameters["wait"].default is True
    assert "wait: bool = True" in calls["apply"]
    for name in calls:
        assert inspect.isfunction(getattr(LLM, name))
    assert set(run_here("argument of reinforcement_step")) == set(Reinforcement.__dataclass_fields__)


@pytest.mark.model
def test_the_keyword_for_streams_gives_one(openai_client: openai.OpenAI) -> None:
    [keyword] = [call for call in run_here("call") if "(" not in call]
    given = eval(f"dict({keyword})")
    chunks = list(openai_client.chat.completions.create(model=f"accounts/local/deployments/{SHARED}", **ASKED, **given))
    assert len(chunks) > 1
    assert chunks[0].object == "chat.completion.chunk"


@pytest.mark.model
async def test_every_line_of_python_does_what_the_page_says(
    engine: EngineProcess, fleet: Client, tmp_path: Path
) -> None:
    lines = {line.partition("_fine")[0] if line.startswith("job") else line: line for line in run_here("code")}
    assert lines.keys() == {APPLY, APPLY_LORA, TUNE}
    base = (await fleet.models.get(SMOLLM2)).firedeck
    assert base is not None
    file = adapter_files.make(tmp_path / "a.gguf", Path(base.file or ""), seed=4)
    adapter = await fleet.models.create_from_file("product-lora", str(file), None, SMOLLM2)
    try:
        await asyncio.to_thread(_typed, engine.context, adapter.name, lines)
        assert (await fleet.deployments.get("product-llm")).state == "READY"
    finally:
        with suppress(NotFound):
            await fleet.deployments.delete("product-llm", hard=True, ignore_checks=True)
        await fleet.models.delete(adapter.name)


def _typed(context: Context, adapter: str, lines: dict[str, str]) -> None:
    """As in a program without an event loop."""
    with SyncClient(context) as client:
        make = partial(LLM, client=client)
        llm = make(SMOLLM2, "on-demand", id="product-llm", enable_addons=True, max_replica_count=1)
        lora = make(model=adapter, deployment_type="on-demand-lora", base_id="product-llm")
        names = {"llm": llm, "fine_tuned_with_lora": lora, "dataset": "my-dataset"}
        exec(lines[APPLY], names)
        plain = llm.chat.completions.create(**ASKED)
        exec(lines[APPLY_LORA], names)
        assert lora.chat.completions.create(**ASKED).choices != plain.choices
        with pytest.raises(Unimplemented, match="not available on this engine"):
            exec(lines[TUNE], names)
        assert "job" not in names
