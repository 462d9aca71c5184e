"""A disk that is full: nothing new is acknowledged, and serving goes on in every respect, over kills of replicas and of
the engine too. What happened meanwhile is written once there is room."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from client.config import ADMIN_KEY_FILE, Context
from client.errors import Unavailable
from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import deploy, events_of, until_ready
from tests.faults.simulated import FLEET, answers, deploy_simulated
from tests.faults.test_survival import ask
from tests.processes import PATIENCE_S, EngineProcess, environment, firedeck, poll

FULL = "disk is full .*make room"


@dataclass
class Aside(EngineProcess):
    """An engine whose log is beside its disk, and whose port is known: the file that tells it may find no room."""

    port: int = 0

    @property
    def log(self) -> Path:
        return self.data_dir.parent.with_name("engine.log")

    @property
    def context(self) -> Context:
        key = (self.data_dir / ADMIN_KEY_FILE).read_text().strip()
        return Context(base_url=f"http://127.0.0.1:{self.port}", api_key=key)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=PATIENCE_S).is_success
        return False


@dataclass
class Disk:
    folder: Path

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.folder / "fill").open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def empty(self) -> None:
        (self.folder / "fill").unlink()

    def engine(self, *arguments: str) -> Aside:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return Aside(self.folder / "data", ("--rehearsal", "--port", str(port), *arguments), port=port)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder]).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def refused(engine: EngineProcess) -> None:
    async with Client(engine.context) as client:
        with pytest.raises(Unavailable, match=FULL):
            await client.deployments.update("d", DeploymentSpec(description="refused"))
        with pytest.raises(Unavailable, match=FULL):  # it has as many, and could not be put into the audit log
            await client.deployments.scale("d", 1)


@pytest.mark.model
async def test_a_replica_that_dies_is_replaced_at_once_and_that_is_told_once_there_is_room(disk: Disk) -> None:
    engine = disk.engine().start()
    try:
        await deploy(engine, "d", min_replica_count=1)
        disk.fill()
        await refused(engine)
        [replica] = engine.replicas()
        replica.kill()
        poll(lambda: [r.pid for r in engine.replicas()] not in ([], [replica.pid]))
        async with Client(engine.context) as client:
            await until_ready(client, "d")
            assert ask(engine.context)
            disk.empty()
            reasons = [event.reason for event in await events_of(client, "d", "ReplicaDied", "ReplicaReady")]
            assert reasons.count("ReplicaFailed") == 0
        log = engine.log.read_text()
        assert "Traceback" not in log
        assert log.count("in memory alone until they can be written") == 1
    finally:
        engine.stop()


async def test_an_engine_that_was_killed_on_it_starts_on_it_and_takes_over_its_replicas(disk: Disk) -> None:
    quick = disk.folder.with_name("fleet.toml")
    text = FLEET.read_text().replace('start_delay = "6s"', 'start_delay = "50ms"')
    quick.write_text(text.replace("preemptions_per_day = 24", "preemptions_per_day = 0"))
    engine = disk.engine("--simulate", str(quick)).start()
    try:
        await deploy_simulated(engine)
        disk.fill()
        await refused(engine)
        engine.kill()
        disk.fill()
        engine.start()
        await refused(engine)
        async with Client(engine.context) as client:
            await until_ready(client, "d")
            assert await answers(engine)
            disk.empty()
            await events_of(client, "d", "ReplicaAdopted", "ReplicaReady")
            await client.deployments.scale("d", 1)
    finally:
        engine.stop()


def test_one_that_is_full_before_the_first_start_is_told_with_the_remedy(disk: Disk) -> None:
    engine = disk.engine()
    engine.data_dir.mkdir()
    disk.fill()
    ended = subprocess.run(
        firedeck("serve", "--data-dir", str(engine.data_dir), *engine.arguments), env=environment(),
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "make room on the disk" in ended.stderr
