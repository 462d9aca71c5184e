"""Backups while the engine writes, and many writers at once: whole copies, no refusal, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, FiredeckError
from client.resources import Client
from client.types import Deployment, DeploymentSpec
from engine.backup import back_up
from tests.conftest import deploy, until_ready
from tests.faults.simulated import MODEL as SIMULATED_MODEL
from tests.faults.simulated import simulated_engine
from tests.faults.test_survival import ask
from tests.house import home
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck

COPIES = 2
WRITERS = 8
CHANGES_EACH = 8
SOAK_S = 60


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    running = EngineProcess(tmp_path / "data").start()
    yield running
    running.stop()


@pytest.mark.model
async def test_backups_taken_while_the_engine_writes_are_whole_and_another_engine_can_start_from_one(
    engine: EngineProcess, tmp_path: Path
) -> None:
    await deploy(engine, "d", min_replica_count=1)
    [replica] = engine.replicas()
    acknowledged: list[str] = []
    async with Client(engine.context) as client:
        writing = asyncio.create_task(_create_on(client, acknowledged))
        for copy in range(COPIES):
            while len(acknowledged) < 10 * (copy + 1):
                await asyncio.sleep(0.01)
            before = list(acknowledged)
            folder = tmp_path / f"copy{copy}"
            assert "firedeck serve --data-dir" in (await asyncio.to_thread(_back_up, engine.data_dir, folder)).stdout
            with contextlib.closing(sqlite3.connect(folder / "firedeck.db")) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                names = {name.rpartition("/")[2] for (name,) in db.execute("SELECT name FROM deployments")}
            assert set(before) <= names
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError, FiredeckError):
            await writing
    key = engine.key
    restored = EngineProcess(folder).start()
    try:
        assert restored.key == key
        async with Client(restored.context) as client:
            assert set(before) <= {d.id for d in await client.deployments.list()}
            assert (await client.audit_logs.verify()).valid
            await until_ready(client, "d")  # with a replica of its own: the other engine's is none of its business
    finally:
        assert restored.stop() == 0
    assert [r.pid for r in engine.replicas()] == [replica.pid]
    assert await asyncio.to_thread(ask, engine.context)


async def test_a_backup_of_an_engine_that_was_killed_holds_what_its_log_held(tmp_path: Path) -> None:
    engine = simulated_engine(tmp_path).start()
    async with Client(engine.context) as client:
        await client.deployments.create(DeploymentSpec(base_model=SIMULATED_MODEL, max_replica_count=0), "last")
    engine.kill()
    assert (engine.data_dir / "firedeck.db-wal").stat().st_size
    _back_up(engine.data_dir, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "firedeck.db")) as db:
        assert db.execute("SELECT name FROM deployments").fetchall() == [("accounts/local/deployments/last",)]
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "copy").iterdir()} == {0}


def test_a_backup_that_cannot_be_made_says_why_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir, full, copy = tmp_path / "data", tmp_path / "full", tmp_path / "copy"
    with pytest.raises(FailedPrecondition) as nothing:
        back_up(data_dir, copy)
    assert "--data-dir" in nothing.value.text
    data_dir.mkdir()
    (data_dir / "firedeck.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(FailedPrecondition, match="not a database"):
        back_up(data_dir, copy)
    full.mkdir()
    (full / "somebody's").touch()
    with pytest.raises(FailedPrecondition, match="not empty"):
        back_up(data_dir, full)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "full"]


async def test_eight_writers_a_reader_and_backups_never_meet_a_locked_database(tmp_path: Path) -> None:
    await _write_together(tmp_path, lambda changes: changes < CHANGES_EACH)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_eight_writers_a_reader_and_backups_never_meet_a_locked_database_for_a_minute(tmp_path: Path) -> None:
    until = time.monotonic() + SOAK_S
    await _write_together(tmp_path, lambda changes: time.monotonic() < until)


async def _write_together(folder: Path, go_on: Callable[[int], bool]) -> None:
    """Any refusal is an exception, and a change that is not there at the end was lost."""
    engine = simulated_engine(folder).start()
    last: dict[str, str] = {}

    async def write(name: str) -> None:
        async with Client(engine.context) as client:
            await client.deployments.create(DeploymentSpec(base_model=SIMULATED_MODEL, max_replica_count=0), name)
            changes = 0
            while go_on(changes):
                changes += 1
                await client.deployments.update(name, DeploymentSpec(description=f"change {changes}"))
                last[name] = f"change {changes}"

    try:
        with contextlib.closing(sqlite3.connect(engine.data_dir / "firedeck.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM deployments").fetchone()  # it keeps its view for as long as it reads
            writing = asyncio.gather(*(write(f"w{i}") for i in range(WRITERS)))
            backups = 0
            while not writing.done():
                await asyncio.to_thread(back_up, engine.data_dir, folder / f"copy{backups}")
                backups += 1
            await writing
        found = {d.id: d.description for d in await _listed(engine)}
        print(f"{sum(int(text.split()[1]) for text in last.values())} changes by {WRITERS} writers, {backups} backups")
        assert len(last) == WRITERS
        assert found == last
    finally:
        engine.stop()


async def _listed(engine: EngineProcess) -> list[Deployment]:
    async with Client(engine.context) as client:
        return await client.deployments.list()


async def _create_on(client: Client, acknowledged: list[str]) -> None:
    for i in range(10_000):
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), f"w{i}")
        acknowledged.append(f"w{i}")


def _back_up(data_dir: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        firedeck("backup", str(folder), "--data-dir", str(data_dir)), env=environment(), capture_output=True,
        text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.parametrize("name", ["admin.key", "secrets.key", "audit.head"])
async def test_a_file_that_cannot_be_read_is_named_not_the_copy(tmp_path: Path, name: str) -> None:
    data, folder = tmp_path / "data", tmp_path / "copy"
    async with home(data):
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()
        with pytest.raises(FailedPrecondition, match=f"{name} cannot be read"):
            back_up(data, folder)
        (data / name).rmdir()
    assert not folder.exists()
