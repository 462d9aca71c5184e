"""The `LLM` class of fireworks-ai 0.19, unmodified and in a virtualenv of its own, through the gRPC listener."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest

from client.errors import NotFound
from client.resources import Client
from tests import adapter_files
from tests.older_sdk import PYTHON, ask, packages
from tests.processes import SMOLLM2, EngineProcess
from tests.product.documents import run_here

pytest.importorskip("grpc", reason="gRPC is an extra: pip install 'firedeck[grpc]'")
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(900),  # the class itself looks every nine seconds, three times at least
    pytest.mark.skipif(not PYTHON.exists(), reason="fireworks-ai 0.19 is not there: make sdk"),
]


async def test_an_llm_is_applied_asked_and_left_alone_when_nothing_has_changed(
    engine: EngineProcess, fleet: Client, tmp_path: Path
) -> None:
    from engine.rpc.listener import listening

    base = (await fleet.models.get(SMOLLM2)).firedeck
    assert base is not None
    file = adapter_files.make(tmp_path / "a.gguf", Path(base.file or ""), seed=4)
    lora = await fleet.models.create_from_file("llm-lora", str(file), None, SMOLLM2)
    lines = {line.partition(".")[0]: line for line in run_here("code")}
    shown = {"llm": lines["llm"], "lora": lines["fine_tuned_with_lora"], "job": lines["job = llm"]}
    arguments = run_here("argument of LLM")
    draft = await fleet.models.create_from_file("llm-draft", base.file or "")
    try:
        async with listening("127.0.0.1", 0, packages(), engine.context.base_url) as port:
            names = (SMOLLM2, lora.name, draft.name, json.dumps(shown), json.dumps(arguments))
            told = await asyncio.to_thread(ask, "llm_class.py", engine, port, *names)
        deployment = "accounts/local/deployments/llm-class"
        assert told["version"].startswith("0.19")
        assert told["plain"]["name"] == deployment
        assert told["plain"]["windows"] == [1, 60, 300]
        assert told["plain"]["addons"]
        assert told["plain"]["untouched"], "a second apply() changed something"
        assert told["plain"]["answer"] == told["plain"]["streamed"]
        assert (told["drafted"]["draft"], told["drafted"]["count"]) == (draft.name, 4)
        assert told["drafted"]["answer"] == told["plain"]["answer"]
        assert told["lora"]["deployment"] == deployment
        assert told["lora"]["answer"] != told["plain"]["answer"]
        assert "not available on serverless" in told["serverless"]
        assert "datasets are not available on this engine" in told["job"], "what is trained on goes first"
        assert told["lacks"] == ["live_merge"]  # documented, and not in this version of the package
    finally:
        for made in ("llm-class", "llm-drafted"):
            with suppress(NotFound):
                await fleet.deployments.delete(made, hard=True, ignore_checks=True)
        for model in (lora, draft):
            await fleet.models.delete(model.name)
