"""`client.llm.LLM` against an engine: declared once, found again, changed where it differs, and asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from client.config import Context
from client.errors import FailedPrecondition, FiredeckError, NotFound, Unimplemented
from client.llm import LLM
from client.llm_options import BadArgument, LLMOptions
from client.resources import Client
from client.sync import SyncClient
from client.training import OutputModelExists
from tests import adapter_files
from tests.house import served
from tests.processes import SMOLLM2, EngineProcess

HELLO = [{"role": "user", "content": "Say hello."}]
OFF: dict[str, Any] = {"replica_count": 0}  # declared, with no replica behind it


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Context]:
    """An engine without replicas."""
    async with served(tmp_path / "data") as (url, home):
        yield Context(url, home.admin_key)


async def run(context: Context, work: Callable[[Callable[..., LLM]], Any]) -> Any:
    """`work` in a thread, as code without an event loop does it: it gets what makes LLMs."""

    def all_of_it() -> Any:
        with making(context) as make:
            return work(make)

    return await asyncio.to_thread(all_of_it)


@contextmanager
def making(context: Context) -> Iterator[Callable[..., LLM]]:
    with SyncClient(context) as client:

        def make(model: str = SMOLLM2, kind: Any = "on-demand", **options: Any) -> LLM:
            return LLM(model, kind, client=client, **LLMOptions(**options))

        yield make


async def test_a_second_apply_finds_all_as_declared_and_a_change_is_told_and_made(at: Context) -> None:
    def work(make: Callable[..., LLM]) -> None:
        told: list[str] = []
        first = make(id="chat", **OFF)
        made = first.apply(tell=told.append)
        assert made is not None
        assert (made.id, made.state, made.display_name) == ("chat", "READY", "test_llm.py")
        assert first.model_id() == f"{SMOLLM2}#accounts/local/deployments/chat"
        again = make("fireworks/smollm2-135m-instruct", id="chat", **OFF).apply(tell=told.append)
        assert again is not None
        assert again.update_time == made.update_time
        assert [one for one in told if "will be" in one] == told[:1]
        assert told[0].startswith("accounts/local/deployments/chat will be created\n")
        assert told[-1] == "READY: 0 of 0 replicas ready", "what it waits for is told, and the end of it"
        changed = make(id="chat", description="mine", **OFF)
        assert str(changed.plan()).splitlines()[1:] == ['  + description: "mine"']
        found = changed.apply(tell=told.append)
        assert found is not None
        assert found.description == "mine"
        assert sum("will be changed" in one for one in told) == 1

    await run(at, work)


async def test_a_deployment_is_found_by_its_display_name_and_model(at: Context) -> None:
    def work(make: Callable[..., LLM]) -> None:
        quiet: list[str] = []
        options = {"deployment_display_name": "Mine", **OFF}
        made = make(kind="auto", **options).apply(tell=quiet.append)
        again = make(kind="auto", **options).apply(tell=quiet.append)
        other = make(kind="auto", **options | {"deployment_display_name": "Other"}).apply(tell=quiet.append)
        assert made is not None
        assert again is not None
        assert other is not None
        assert made.name == again.name != other.name

    await run(at, work)


async def test_what_was_deleted_comes_back_and_what_is_removed_is_gone(at: Context) -> None:
    def work(make: Callable[..., LLM]) -> None:
        llm = make(id="chat", **OFF)
        llm.apply(tell=str)
        with SyncClient(at) as client:
            client.deployments.delete("chat", ignore_checks=True)
        assert llm.plan().action == "undelete"
        back = llm.apply(tell=str)
        assert back is not None
        assert (back.state, back.delete_time) == ("READY", None)
        llm.delete_deployment(ignore_checks=True)
        with pytest.raises(FailedPrecondition, match="not applied"):
            llm.model_id()

    await run(at, work)


async def test_what_cannot_be_is_refused(at: Context) -> None:
    def work(make: Callable[..., LLM]) -> None:
        make(id="chat", **OFF).apply(tell=str)
        with pytest.raises(FailedPrecondition, match="placement"):
            make(id="chat", multi_region="EUROPE", **OFF).apply()
        with pytest.raises(BadArgument, match="not available on serverless"):
            make(kind="serverless").apply()
        with pytest.raises(NotFound, match="no deployment nowhere"):
            make(kind="on-demand-lora", base_id="nowhere").apply()
        with pytest.raises(NotFound):
            make("no-such-model", id="chat").apply()

    await run(at, work)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"world_size": 2}, "worldSize"), ({"generator_count": 2}, "generatorCount"),
        ({"disaggregated_prefill_count": 2}, "disaggregatedPrefillCount"),
        ({"disaggregated_prefill_world_size": 2}, "disaggregatedPrefillWorldSize"),
        ({"direct_route_api_keys": ["k"]}, "directRouteApiKeys"), ({"precision": "FP8"}, "precision"),
        ({"region": "US_IOWA_1"}, "placement"), ({"accelerator_type": "NVIDIA_L4_24GB"}, "acceleratorType"),
        ({"direct_route_type": "MAIL"}, "directRouteType"),
    ],
)  # fmt: skip
async def test_what_this_engine_does_not_do_is_refused_by_name_with_the_reason(
    at: Context, given: dict[str, Any], field: str
) -> None:
    def work(make: Callable[..., LLM]) -> None:
        with pytest.raises(FiredeckError) as refused:
            make(id="chat", **OFF, **given).apply(wait=False)
        assert refused.value.field == field
        assert len(refused.value.text) > 20
        assert make(id="chat", **OFF).get_deployment() is None

    await run(at, work)


async def test_trainings_are_checked_and_then_said_to_be_not_available(at: Context) -> None:
    def work(make: Callable[..., LLM]) -> None:
        llm = make(kind="auto")
        with pytest.raises(Unimplemented, match="supervised fine-tuning is not available on this engine"):
            llm.create_supervised_fine_tuning_job("job", "data", epochs=3, learning_rate=1e-5)
        with pytest.raises(BadArgument, match="epochs"):
            llm.create_supervised_fine_tuning_job("job", "data", epochs=0)
        with pytest.raises(Unimplemented, match="reinforcement learning is not available on this engine"):
            llm.reinforcement_step("rollouts", "checkpoint-1")
        with pytest.raises(OutputModelExists) as taken:
            llm.reinforcement_step("rollouts", SMOLLM2)
        assert isinstance(taken.value, ValueError)

    await run(at, work)


@pytest.mark.model
async def test_an_applied_llm_answers_and_so_does_an_adapter_on_it(
    engine: EngineProcess, fleet: Client, tmp_path: Path
) -> None:
    base = (await fleet.models.get(SMOLLM2)).firedeck
    assert base is not None
    file = adapter_files.make(tmp_path / "a.gguf", Path(base.file or ""), seed=4)
    adapter = await fleet.models.create_from_file("own-llm-lora", str(file), None, SMOLLM2)
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 6, "temperature": 0}

    def work(make: Callable[..., LLM]) -> None:
        llm = make(id="own-llm", max_replica_count=1, enable_addons=True)
        made = llm.apply(tell=str)
        assert made is not None
        assert made.state == "READY"
        whole = llm.chat.completions.create(**asked)
        assert whole.model == llm.model_id()
        chunks = list(llm.chat.completions.create(**asked, stream=True))
        assert (
            "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
        )
        assert chunks[-1].usage is not None
        assert asyncio.run(llm.chat.completions.acreate(**asked)).choices == whole.choices
        lora = make(adapter.name, "on-demand-lora", base_id="own-llm")
        lora.apply(tell=str)
        lora.apply(tell=pytest.fail)
        assert lora.chat.completions.create(**asked).choices != whole.choices

    try:
        await run(engine.context, work)
    finally:
        with suppress(NotFound):
            await fleet.deployments.delete("own-llm", hard=True, ignore_checks=True)
        await fleet.models.delete(adapter.name)
