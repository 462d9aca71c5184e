"""The engine's state on a disk that fails, and files that vanish under it: changes are refused with the remedy,
inference goes on, and what was acknowledged is there at the next start."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.errors import Unavailable
from client.resources import Client
from client.types import DeploymentSpec
from tests.faults.preload import built
from tests.faults.simulated import answers, deploy_simulated, simulated_engine
from tests.processes import PATIENCE_S, EngineProcess, environment, firedeck

PAGE_BYTES = 4096


@dataclass
class Failing:
    """An engine whose disk fails as long as `flag` holds the letters of what fails."""

    engine: EngineProcess
    flag: Path

    @contextlib.contextmanager
    def on(self, kinds: str) -> Iterator[None]:
        self.flag.write_text(kinds)
        try:
            yield
        finally:
            self.flag.unlink()


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failing]:
    folder = tmp_path_factory.mktemp("disk")
    flag = folder / "failing"
    given = {"LD_PRELOAD": built("failing_disk", folder), "FAILING_DISK": str(flag)}
    engine = simulated_engine(folder, given).start()
    asyncio.run(deploy_simulated(engine))
    yield Failing(engine, flag)
    engine.stop()


async def described(engine: EngineProcess) -> str | None:
    async with Client(engine.context) as client:
        return (await client.deployments.get("d")).description


async def describe(engine: EngineProcess, text: str) -> None:
    async with Client(engine.context) as client:
        await client.deployments.update("d", DeploymentSpec(description=text))


async def again(engine: EngineProcess) -> None:
    """The engine dies and another one starts."""
    engine.kill()
    await asyncio.to_thread(engine.start)


@pytest.mark.parametrize("kinds", ["w", "s"])
async def test_a_disk_that_fails_refuses_changes_and_goes_on_when_it_works_again(failing: Failing, kinds: str) -> None:
    await describe(failing.engine, "before")
    with failing.on(kinds):
        with pytest.raises(Unavailable, match="disk I/O error") as refused:
            await describe(failing.engine, "refused")
        assert "the disk fails" in (refused.value.hint or refused.value.message)
        assert await answers(failing.engine)
        assert await described(failing.engine) == "before"
    await describe(failing.engine, f"after {kinds}")
    assert await described(failing.engine) == f"after {kinds}"


async def test_a_disk_that_cannot_be_read_at_the_start_is_told_and_nothing_is_changed(failing: Failing) -> None:
    await describe(failing.engine, "before the start")
    failing.engine.kill()
    with failing.on("r"):
        refused = serve(failing.engine)
    assert refused.returncode == 1
    assert "firedeck.db cannot be opened: disk I/O error" in refused.stderr
    await asyncio.to_thread(failing.engine.start)
    assert await described(failing.engine) == "before the start"


async def test_a_write_ahead_log_that_somebody_removes_costs_no_acknowledged_change(failing: Failing) -> None:
    database = failing.engine.data_dir / "firedeck.db"
    await describe(failing.engine, "in the log alone")
    database.with_name("firedeck.db-wal").unlink()
    await describe(failing.engine, "after the log was removed")
    assert await answers(failing.engine)
    await again(failing.engine)
    assert await described(failing.engine) == "after the log was removed"
    with contextlib.closing(sqlite3.connect(database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_database_that_somebody_removes_takes_no_change_until_it_is_back(failing: Failing) -> None:
    database = failing.engine.data_dir / "firedeck.db"
    await describe(failing.engine, "before it went")
    elsewhere = database.rename(database.with_name("elsewhere"))
    with pytest.raises(Unavailable, match="removed or replaced") as refused:
        await describe(failing.engine, "refused")
    assert "put the file back" in str(refused.value.hint or refused.value.message)
    assert await answers(failing.engine)
    elsewhere.rename(database)
    await describe(failing.engine, "after it was put back")
    assert await described(failing.engine) == "after it was put back"


async def test_damaged_pages_refuse_changes_let_inference_go_on_and_are_told_at_the_next_start(tmp_path: Path) -> None:
    engine = simulated_engine(tmp_path).start()
    database = engine.data_dir / "firedeck.db"
    try:
        await deploy_simulated(engine)
        damage(database)
        with pytest.raises(Unavailable, match=r"malformed|not a database") as refused:
            await describe(engine, "refused")
        assert "backup" in (refused.value.hint or refused.value.message)
        assert await answers(engine)
    finally:
        engine.kill()
    damaged = database.read_bytes()[PAGE_BYTES:]  # the first page may take what the log held for it
    told = serve(engine)
    assert told.returncode == 1
    assert "firedeck.db cannot be opened" in told.stderr
    assert database.read_bytes()[PAGE_BYTES:] == damaged


def damage(database: Path) -> None:
    """Garbage in every page but the first, for whoever reads them next: what is cached is out of date after a write."""
    log = database.with_name(f"{database.name}-wal")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        while True:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("BEGIN IMMEDIATE")  # from now on nobody else writes
            if not log.stat().st_size:
                break
            other.execute("ROLLBACK")
        size = database.stat().st_size
        with database.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(b"\xff" * (size - PAGE_BYTES))
        other.execute("PRAGMA application_id = 1")
        other.execute("COMMIT")


def serve(engine: EngineProcess) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end at once."""
    ended = subprocess.run(
        firedeck("serve", "--port", "0", "--data-dir", str(engine.data_dir), *engine.arguments),
        env=environment(engine.environment), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended
