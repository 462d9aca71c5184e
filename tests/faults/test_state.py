"""The engine's state under faults from outside: a locked database, writes that fail, a read-only disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.errors import Unavailable
from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import deploy
from tests.faults.test_survival import HASTY, ask
from tests.processes import PATIENCE_S, EngineProcess, environment, firedeck

pytestmark = pytest.mark.model


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    running = EngineProcess(tmp_path / "data", environment=HASTY).start()  # it does not wait long for a lock
    yield running
    running.stop()


async def test_a_database_that_somebody_locks_refuses_changes_and_inference_goes_on(engine: EngineProcess) -> None:
    await deploy(engine, "d", min_replica_count=1)
    [replica] = engine.replicas()
    async with Client(engine.context) as client:
        with contextlib.closing(sqlite3.connect(engine.data_dir / "firedeck.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await client.deployments.update("d", DeploymentSpec(description="refused"))
            assert await asyncio.to_thread(ask, engine.context)
            assert (await client.deployments.get("d")).description != "refused"
            other.execute("ROLLBACK")
        changed = await client.deployments.update("d", DeploymentSpec(description="unlocked"))
        assert changed.description == "unlocked"
    assert [r.pid for r in engine.replicas()] == [replica.pid]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system limits no other process")
async def test_writes_that_fail_refuse_changes_and_inference_goes_on(engine: EngineProcess) -> None:
    await deploy(engine, "d", min_replica_count=1)
    assert engine.process is not None
    with file_size_limit(engine.process.pid, 0):
        async with Client(engine.context) as client:
            with pytest.raises(Unavailable, match="cannot be read or written"):
                await client.deployments.update("d", DeploymentSpec(description="refused"))
            assert await asyncio.to_thread(ask, engine.context)
    async with Client(engine.context) as client:
        changed = await client.deployments.update("d", DeploymentSpec(description="written"))
        assert changed.description == "written"


@contextlib.contextmanager
def file_size_limit(pid: int, size: int) -> Iterator[None]:
    """A process that can write no file beyond `size` bytes: what EFBIG, a full or a broken disk look like to it."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_read_only_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,ro", "none", disk]).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        for folder in (disk, disk / "below"):
            ended = subprocess.run(
                firedeck("serve", "--data-dir", str(folder), "--port", "0"), env=environment(), capture_output=True,
                text=True, timeout=PATIENCE_S,
            )  # fmt: skip
            assert ended.returncode == 1
            assert "not writable" in ended.stderr
            assert "--data-dir" in ended.stderr
    finally:
        subprocess.run(["umount", disk], check=True)
