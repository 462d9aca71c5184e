"""The documents' way from a model to an answer and to an adapter on it, typed line by line, on the embedded model."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client.cli.main import main
from client.errors import NotFound
from client.resources import Client
from tests import adapter_files
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess
from tests.product.documents import run_here
from tests.product.test_command_line import CREATE, DELETE, DEPLOY, GET, words

pytestmark = pytest.mark.model
API = "https://api.fireworks.ai"
OWN = ("--deployment-id", "product-cli", "--enable-addons", "--min-replica-count=1")  # it must not end under the test


async def type_in(engine: EngineProcess, *typed: str) -> Result:
    own = {"FIREDECK_API_KEY": engine.key, "FIREWORKS_BASE_URL": engine.context.base_url}
    done = await asyncio.to_thread(CliRunner(env=own).invoke, main, list(typed))
    assert done.exit_code == 0, done.output
    return done


async def test_a_model_is_deployed_asked_given_an_adapter_and_torn_down(
    engine: EngineProcess, fleet: Client, tmp_path: Path
) -> None:
    base = (await fleet.models.get(SMOLLM2)).firedeck
    assert base is not None
    file = adapter_files.make(tmp_path / "a.gguf", Path(base.file or ""), seed=4)
    try:
        await type_in(engine, *words(CREATE, MODEL_ID="smollm2-135m-instruct"), *OWN)
        assert "State: READY" in (await type_in(engine, *words(GET, DEPLOYMENT_ID="product-cli"))).stdout
        assert len(await asyncio.to_thread(asked, engine)) > 0
        await fleet.models.create_from_file("product-own", str(file), None, SMOLLM2)
        await type_in(engine, *words(DEPLOY, MODEL_ID="product-own", DEPLOYMENT_ID="product-cli"), "--wait")
        [loaded] = (await fleet.models.get("product-own")).deployed_model_refs or []
        assert (loaded.state, loaded.deployment) == ("DEPLOYED", "accounts/local/deployments/product-cli")
        await type_in(engine, *words(DELETE, DEPLOYMENT_ID="product-cli"), "--ignore-checks")
        assert (await fleet.deployments.get("product-cli")).delete_time is not None
    finally:
        with suppress(NotFound):
            await fleet.deployments.delete("product-cli", hard=True, ignore_checks=True)
        with suppress(NotFound):
            await fleet.models.delete("product-own")


def asked(engine: EngineProcess) -> str:
    """What the documents' request by curl says, sent to this engine."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not there")
    [line] = [line for line in run_here("command") if line.startswith("curl")]
    filled = {
        API: engine.context.base_url, "<FIREWORKS_API_KEY>": engine.key, "<MODEL_ID>": "smollm2-135m-instruct",
        "<ACCOUNT_ID>": "local", "<DEPLOYMENT_ID>": "product-cli",
    }  # fmt: skip
    for place, value in filled.items():
        assert place in line
        line = line.replace(place, value)
    typed = shlex.split(line.replace("\\\n", " "))
    done = subprocess.run([*typed, "--silent"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return str(json.loads(done.stdout)["choices"][0]["text"])
