"""Replicas that lose their socket, flood their log, take too much memory, or are never ready, below one engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from client.resources import Client
from client.types import DeploymentSpec
from engine.placement.rlimits import FILE_BYTES
from engine.replica.log_limit import CUT, LIMIT_BYTES
from tests.conftest import deploy, until_ready
from tests.faults.test_quarantine import NAME, POISONOUS, ROOT
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, poll

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
MISBEHAVING = {"PYTHONPATH": os.pathsep.join([str(POISONOUS), str(ROOT)])}
FULL_SIZE = (pytest.mark.soak, pytest.mark.timeout(1800))
SPARE_BYTES = 64 << 20  # what a replica may take on top of what it has, where it shall run out of memory


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine whose replicas misbehave when asked to, with one of them ready."""
    running = EngineProcess(tmp_path_factory.mktemp("engine") / "data", environment=MISBEHAVING).start()
    asyncio.run(deploy(running, "d", min_replica_count=1))
    yield running
    running.stop()


async def ask(engine: EngineProcess, prompt: str = "Count:") -> httpx.Response:
    headers = {"Authorization": f"Bearer {engine.key}"}
    body = {"model": NAME, "prompt": prompt, "max_tokens": 4}
    async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        return await http.post("/v1/completions", json=body)


async def statuses(engine: EngineProcess, count: int) -> set[int]:
    """Of so many requests at once: more than there are connections to the replica that are open already."""
    return {answer.status_code for answer in await asyncio.gather(*(ask(engine) for _ in range(count)))}


async def said(client: Client, deployment: str) -> dict[str, list[str]]:
    """The messages of each reason among its events, the oldest first."""
    told: dict[str, list[str]] = {}
    for event in await client.fleet.events(deployment):
        told.setdefault(event.reason, []).append(event.message)
    return told


def end_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 100))
        return opened.read(100)


def option(replica: psutil.Process, name: str) -> str:
    """What it was started with."""
    words = replica.cmdline()
    return words[words.index(name) + 1]


def only(engine: EngineProcess) -> psutil.Process:
    [replica] = engine.replicas()
    return replica


async def test_a_replica_that_floods_its_log_fills_no_disk_and_goes_on_answering(engine: EngineProcess) -> None:
    replica = only(engine)
    log = engine.data_dir / "logs" / f"{option(replica, '--replica')}.log"
    flooding = asyncio.create_task(ask(engine, "FLOOD"))
    largest = 0
    async with asyncio.timeout(PATIENCE_S):
        while b"the flood is over" not in end_of(log):
            largest = max(largest, log.stat().st_size)
            await asyncio.sleep(0.005)
    assert largest <= FILE_BYTES
    assert (await flooding).status_code == 200
    assert await statuses(engine, 4) == {200}
    assert only(engine).pid == replica.pid
    await asyncio.to_thread(poll, lambda: len(kept := log.read_bytes()) <= LIMIT_BYTES and CUT in kept)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system limits no other process")
async def test_a_request_that_takes_all_the_memory_there_is_costs_nobody_else_an_answer(engine: EngineProcess) -> None:
    replica = only(engine)
    lines = Path(f"/proc/{replica.pid}/status").read_text().splitlines()
    [taken] = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")]
    given = resource.prlimit(replica.pid, resource.RLIMIT_DATA)
    assert resource.RLIM_INFINITY not in given  # the driver's own limit; a nearer one spares this machine
    resource.prlimit(replica.pid, resource.RLIMIT_DATA, (taken + SPARE_BYTES, given[1]))
    greedy, *others = await asyncio.gather(ask(engine, "GREEDY"), *(ask(engine) for _ in range(4)))
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(replica.pid, resource.RLIMIT_DATA, given)
    assert greedy.status_code in {400, 500}, greedy.text  # 400: replicas ended under it, and it was found out
    assert {answer.status_code for answer in others} == {200}
    assert await statuses(engine, 4) == {200}


@pytest.mark.parametrize("stolen", [False, True], ids=["removed", "stolen"])
async def test_a_replica_whose_socket_is_taken_away_is_replaced_and_no_request_fails(
    engine: EngineProcess, stolen: bool
) -> None:
    replica = only(engine)
    name, socket = option(replica, "--replica"), Path(option(replica, "--socket"))
    assert (await ask(engine)).status_code == 200  # a connection that stays open
    thief = None
    socket.unlink()
    if stolen:
        thief = await asyncio.start_unix_server(lambda reader, writer: writer.close(), socket)
    try:
        assert await statuses(engine, 8) == {200}
        await asyncio.to_thread(poll, lambda: replica.pid not in {r.pid for r in engine.replicas()})
    finally:
        if thief is not None:
            thief.close()
    async with Client(engine.context) as client:
        await until_ready(client, "d")
        told: list[str] = []
        while not any("removed or replaced this replica's socket" in message for message in told):
            await asyncio.sleep(0.1)  # told by the next look after the process has gone
            told = [event.message for event in await client.fleet.events("d") if event.replica == name]
    assert await statuses(engine, 8) == {200}


@pytest.mark.parametrize(
    ("deployment", "patience", "seconds", "why"),
    [
        ("never-ready", "START_TIMEOUT_S", 3, "not ready after 3s"),
        pytest.param("never-ready", "START_TIMEOUT_S", 600, "not ready after 600s", marks=FULL_SIZE),
        # In the suite a real loader says that it hangs, and what follows from that is shown on virtual clocks.
        pytest.param("stuck-loader", "LOAD_STALLED_AFTER_S", 60, "while it started", marks=FULL_SIZE),
    ],
)
async def test_a_replica_that_is_never_ready_is_given_up_and_tried_again_with_the_reason(
    tmp_path: Path, deployment: str, patience: str, seconds: int, why: str
) -> None:
    patient = MISBEHAVING | {f"FIREDECK_TEST_{patience}": str(seconds)}
    engine = EngineProcess(tmp_path / "data", environment=patient).start()
    try:
        async with Client(engine.context) as client:
            await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1), deployment)
            async with asyncio.timeout(seconds + PATIENCE_S):
                while "ReplicaFailed" not in (told := await said(client, deployment)):
                    await asyncio.sleep(0.1)
                assert why in (reason := told["ReplicaUnhealthy"][0])
                assert told["ReplicaFailed"][0] == f"start 1 failed, the next not before 1s from now: {reason}"
                while len((await said(client, deployment))["ReplicaStarted"]) < 2:
                    await asyncio.sleep(0.1)
    finally:
        engine.stop()
