"""The `LLM` class of fireworks-ai 0.19, unmodified and in a virtualenv of its own, through the gRPC listener."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from client.errors import NotFound
from client.resources import Client
from tests import adapter_files
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment

PYTHON = Path(os.environ.get("FIREDECK_LLM_PYTHON", Path(__file__).parents[2] / ".venv-llm" / "bin" / "python"))

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
    draft = await fleet.models.create_from_file("llm-draft", base.file or "")
    packages = next(PYTHON.parents[1].glob("lib/python*/site-packages"))
    try:
        async with listening("127.0.0.1", 0, packages, engine.context.base_url) as port:
            told = await asyncio.to_thread(run, engine, port, SMOLLM2, lora.name, draft.name)
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
    finally:
        for made in ("llm-class", "llm-drafted"):
            with suppress(NotFound):
                await fleet.deployments.delete(made, hard=True, ignore_checks=True)
        for model in (lora, draft):
            await fleet.models.delete(model.name)


def run(engine: EngineProcess, port: int, *names: str) -> dict:
    """What the script says of the engine, asked through the listener on `port`."""
    where = {
        "FIREWORKS_API_KEY": engine.key, "FIREWORKS_API_BASE_URL": engine.context.base_url,
        "FIREWORKS_GATEWAY_ADDR": f"127.0.0.1:{port}", "PYTHONPATH": "",
    }  # fmt: skip
    script = Path(__file__).with_name("llm_class.py")
    done = subprocess.run(
        [PYTHON, script, *names], env=environment(where), capture_output=True, text=True, timeout=6 * PATIENCE_S
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found
