"""Models prepared in other precisions: made once, measured, served by; and what becomes of them when it goes wrong.

The model is a tiny one of random weights: nothing here is about how good its text is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.enums import PRECISION_LABEL
from client.errors import FailedPrecondition, ResourceExhausted
from client.resources import Client
from client.types import DeploymentSpec, PreparedPrecision
from engine.models import gguf
from engine.preparing import preparations
from tests import hugging_face_files as hf
from tests.conftest import until_ready
from tests.house import Home, served
from tests.processes import PATIENCE_S, replica_processes

pytestmark = pytest.mark.model
MINE = "accounts/local/models/mine"


@asynccontextmanager
async def with_mine(data_dir: Path) -> AsyncIterator[tuple[str, Home, Client]]:
    """An engine that has the model, its URL, and a client of it."""
    async with served(data_dir, orphan_timeout_s=600) as (url, at), at.client() as client:
        if not at.engine.house.library.has(MINE):
            await client.models.create_from_file("mine", str(hf.tiny(data_dir / "hf", max_position_embeddings=1024)))
        yield url, at, client


async def prepared(client: Client, precision: str) -> PreparedPrecision:
    """What there is of this precision once it is no longer being made."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            file = (await client.models.get(MINE)).firedeck
            found = {one.precision: one for one in (file.prepared if file else None) or []}.get(precision)
            if found is not None and found.state != "PREPARING":
                return found
            await asyncio.sleep(0.1)


def files(data_dir: Path) -> list[str]:
    return sorted(file.name for file in (data_dir / "prepared").rglob("*") if file.is_file())


# Stops each process that makes a file in the middle of that, for good.
STOPS = """
import os, signal, sys
from contextlib import contextmanager
if "engine.preparing.job" in sys.orig_argv:
    from engine.models import appearing as module
    whole = module.appearing
    @contextmanager
    def half(target):
        with whole(target) as path:
            path.write_bytes(b"half a model")
            os.kill(os.getpid(), signal.SIGSTOP)
            yield path
    module.appearing = half
"""


@pytest.fixture
def stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every process that makes a file stops in the middle of it until this is undone."""
    folder = tmp_path / "stops"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STOPS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    return monkeypatch


async def stopped(data_dir: Path) -> psutil.Process:
    """The process that has made half a file, once there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(name.endswith(".part") for name in files(data_dir)) or not jobs():
            await asyncio.sleep(0.05)
    [child] = jobs()
    return child


def jobs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "engine.preparing.job" in child.cmdline()]


async def test_a_precision_is_refused_prepared_reported_and_served(tmp_path: Path) -> None:
    async with with_mine(tmp_path) as (url, at, client):
        spec = DeploymentSpec(base_model=MINE, precision="FP8", min_replica_count=1)
        with pytest.raises(FailedPrecondition, match=f"firedeck model prepare {MINE} --precision FP8"):
            await client.deployments.create(spec, "d")
        words = ["--base-url", url, "--api-key", at.admin_key]
        line = ["model", "prepare", MINE, "--precision", "FP8", "--wait", *words]
        told = await asyncio.to_thread(CliRunner().invoke, main, line)
        assert told.exit_code == 0, told.output
        assert "agreement" in told.stdout.lower()
        found = await prepared(client, "FP8")
        report = found.report
        assert (found.state, found.quantization, report is not None) == ("READY", "Q8_0", True), found.status
        assert report is not None
        assert (report.source.quantization, report.made.quantization, report.tokens > 400) == ("F16", "Q8_0", True)
        assert 0 < report.agreement <= 1
        assert report.made.size_bytes < report.source.size_bytes
        assert min(report.made.prefill_speed, report.made.decode_speed, report.made.perplexity) > 0
        assert "FP8" in ((await client.models.get(MINE)).supported_precisions or [])
        shown = await asyncio.to_thread(CliRunner().invoke, main, ["model", "get", MINE, "-o", "json", *words])
        assert json.loads(shown.stdout)["firedeck"]["prepared"][0]["report"]["agreement"] == report.agreement

        auto = await client.deployments.create(spec.model_copy(update={"precision": "AUTO"}), validate_only=True)
        assert auto.precision in (None, "FP8")
        assert "model's own file" in (auto.annotations or {})[PRECISION_LABEL]

        await client.deployments.create(spec, "d")
        await until_ready(client, "d")
        [replica] = replica_processes(tmp_path)
        command = replica.cmdline()
        assert gguf.read(Path(command[command.index("--model") + 1])).quantization == "Q8_0"


async def test_one_that_is_killed_leaves_no_half_file_and_can_be_asked_for_again(
    tmp_path: Path, stopping: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    async with with_mine(data) as (_url, _at, client):
        await client.models.prepare(MINE, "FP4")
        await client.models.prepare(MINE, "FP4")  # twice is once
        os.kill((await stopped(data)).pid, signal.SIGKILL)
        found = await prepared(client, "FP4")
        assert found.state == "FAILED"
        assert found.status is not None
        assert "SIGKILL" in found.status.message
        assert (files(data), jobs()) == (["FP4.json"], [])
        await client.models.prepare(MINE, "FP4")
        await stopped(data)
    assert (files(data), jobs()) == (["FP4.json"], [])
    stopping.undo()
    async with with_mine(data) as (_url, _at, client):  # the next engine goes on with what this one was asked for
        assert (await prepared(client, "FP4")).state == "READY"
        assert files(data) == ["FP4.gguf", "FP4.json"]


async def test_what_the_disk_cannot_take_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparations, "SPARE_BYTES", 1 << 60)
    async with with_mine(tmp_path) as (_url, _at, client):
        with pytest.raises(ResourceExhausted, match="are free"):
            await client.models.prepare(MINE, "FP8")
        assert (await client.models.get(MINE)).firedeck is not None
    assert files(tmp_path) == []


async def test_what_llama_cpp_refuses_is_told(tmp_path: Path) -> None:
    async with with_mine(tmp_path) as (_url, _at, client):
        await client.models.prepare(MINE, "FP4_MX_MOE")
        found = await prepared(client, "FP4_MX_MOE")
    assert found.state == "FAILED"
    assert found.status is not None
    assert "no mixture of experts" in found.status.message
