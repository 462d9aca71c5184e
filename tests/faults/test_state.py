"""The engine's state under faults: a locked database, writes that fail, a copy taken while it is written."""

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

from client.errors import FiredeckError, Unavailable
from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import deploy
from tests.faults.test_survival import ask
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck

pytestmark = pytest.mark.model
COPIES = 3


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    running = EngineProcess(tmp_path / "data").start()
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


async def test_a_copy_taken_while_the_engine_writes_is_whole_and_another_engine_can_start_from_it(
    engine: EngineProcess, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    async with Client(engine.context) as client:
        writing = asyncio.create_task(_create_on(client, acknowledged))
        for copy in range(COPIES):
            while len(acknowledged) < 10 * (copy + 1):
                await asyncio.sleep(0.01)
            before = list(acknowledged)
            folder = tmp_path / f"copy{copy}"
            folder.mkdir()
            await asyncio.to_thread(_copy, engine.data_dir / "firedeck.db", folder / "firedeck.db")
            with contextlib.closing(sqlite3.connect(folder / "firedeck.db")) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                names = {name.rpartition("/")[2] for (name,) in db.execute("SELECT name FROM deployments")}
            assert set(before) <= names
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError, FiredeckError):
            await writing
    restored = EngineProcess(folder).start()
    try:
        async with Client(restored.context) as client:
            assert set(before) <= {d.id for d in await client.deployments.list()}
    finally:
        restored.stop()


async def _create_on(client: Client, acknowledged: list[str]) -> None:
    for i in range(10_000):
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), f"w{i}")
        acknowledged.append(f"w{i}")


def _copy(source: Path, target: Path) -> None:
    """SQLite's own online copy, as `sqlite3 firedeck.db ".backup FILE"` makes it."""
    with contextlib.closing(sqlite3.connect(source)) as live, contextlib.closing(sqlite3.connect(target)) as copy:
        live.backup(copy, pages=1)
