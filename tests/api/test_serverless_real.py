"""Serverless with a real small model: `firedeck serve --serverless`, asked by our client and by fireworks-ai 0.19."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.llm import LLM
from client.resources import Client
from client.sync import SyncClient
from engine.serverless import deployment_of
from tests import adapter_files
from tests.conftest import until_ready
from tests.older_sdk import PYTHON, ask, packages
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck

pytestmark = pytest.mark.model

SHARED = deployment_of(SMOLLM2)
ASKED = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def offering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine that serves SmolLM2 serverless, with adapters."""
    arguments = ("--rehearsal", "--serverless", SMOLLM2.rpartition("/")[2], "--serverless-addons")
    running = EngineProcess(tmp_path_factory.mktemp("serverless") / "data", arguments).start()
    try:
        asyncio.run(ready(running))
        yield running
    finally:
        running.stop()


async def ready(running: EngineProcess) -> None:
    async with Client(running.context) as client:
        await until_ready(client, SHARED)


async def loaded(client: Client, name: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await client.deployed_models.get(name)).state != "DEPLOYED":
            assert found.state != "FAILED", found.status
            await asyncio.sleep(0.1)


async def made(client: Client, folder: Path, name: str) -> str:
    """An adapter of the account's own."""
    base = (await client.models.get(SMOLLM2)).firedeck
    assert base is not None
    file = adapter_files.make(folder / "a.gguf", Path(base.file or ""), seed=4)
    return (await client.models.create_from_file(name, str(file), None, SMOLLM2)).name


def answered(running: EngineProcess, model: str, kind: str) -> tuple[str, str]:
    """What an `LLM` asks for, and the answer."""
    with SyncClient(running.context) as client:
        llm = LLM(model, kind, client=client, temperature=0.0)  # type: ignore[arg-type]
        assert llm.apply() is None
        answer = llm.chat.completions.create(messages=ASKED, max_tokens=4)
        return llm.model_id(), answer.choices[0].message.content or ""


async def test_a_model_and_an_adapter_of_ones_own_are_asked_without_a_deployment(
    offering: EngineProcess, tmp_path: Path
) -> None:
    plain = await asyncio.to_thread(answered, offering, SMOLLM2, "serverless")
    assert plain[0] == SMOLLM2
    assert plain[1]
    assert await asyncio.to_thread(answered, offering, SMOLLM2, "auto") == plain
    async with Client(offering.context) as client:
        lora = await made(client, tmp_path, "lora")
        record = await client.deployed_models.load(lora, SHARED)
        assert (record.deployment, record.serverless, record.public) == (SHARED, True, False)
        assert record.name.startswith("accounts/local/")
        await loaded(client, record.name)
        tuned = await asyncio.to_thread(answered, offering, lora, "serverless")
        assert tuned[0] == lora
        assert tuned[1] != plain[1]
        usage = (await client.usage.tokens(group_by=["deployment", "adapter"])).rows
        assert {(row.deployment, row.adapter): row.requests for row in usage} == {(SHARED, None): 2, (SHARED, lora): 1}
        await client.deployed_models.unload(record.name)


async def test_an_adapter_is_loaded_there_where_no_deployment_is_named(offering: EngineProcess, tmp_path: Path) -> None:
    connection = ("--base-url", offering.context.base_url, "--api-key", offering.key)

    def run(*words: str) -> str:
        return CliRunner().invoke(main, [*words, *connection]).output

    async with Client(offering.context) as client:
        await made(client, tmp_path, "unplaced")
        try:
            told = await asyncio.to_thread(run, "load-lora", "unplaced", "--wait", "-q")
            [record] = await client.deployed_models.of_model("unplaced")
            assert (told.strip(), record.deployment, record.state) == (record.id, SHARED, "DEPLOYED")
        finally:
            await asyncio.to_thread(run, "unload-lora", "unplaced", "--wait")
    refused = await asyncio.to_thread(run, "load-lora", "fireworks/gemma-3-270m")
    assert "gemma-3-270m is not served serverless here (say where to load it with --deployment)" in refused


@pytest.mark.skipif(not PYTHON.exists(), reason="fireworks-ai 0.19 is not there: make sdk")
async def test_the_llm_class_finds_them_serverless(offering: EngineProcess, tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="gRPC is an extra: pip install 'firedeck[grpc]'")
    from engine.rpc.listener import listening

    async with Client(offering.context) as client:
        lora = await made(client, tmp_path, "llm-lora")
    async with listening("127.0.0.1", 0, packages(), offering.context.base_url, [SMOLLM2]) as port:
        told = await asyncio.to_thread(ask, "llm_class_serverless.py", offering, port, SMOLLM2, lora)
    assert {name: one["strategy"] for name, one in told.items()} == {
        "serverless": "serverless", "auto": "serverless", "lora": "serverless-lora",
    }  # fmt: skip
    assert told["serverless"]["model"] == told["auto"]["model"] == SMOLLM2
    assert told["serverless"]["answer"] == told["auto"]["answer"] != told["lora"]["answer"]
    assert told["lora"]["model"].startswith("accounts/local/deployedModels/")


def test_the_engine_ends_with_the_reason_where_a_model_cannot_be_offered(tmp_path: Path) -> None:
    command = firedeck("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--serverless", "local/mine")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, "custom model" in done.stderr) == (1, True), done.stderr
