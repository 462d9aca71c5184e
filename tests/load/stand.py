"""What load tests stand on: a real engine whose replicas replay timings, asked through it and beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from client.bench.wire import Endpoint
from client.resources import Client
from client.types import ColdOptions, DeploymentSpec
from engine.placement.sockets import run_dir
from tests.conftest import until_ready
from tests.processes import SMOLLM2, EngineProcess

ROOT = Path(__file__).parents[2]
REPLAYING = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("replaying")), str(ROOT)])}


@dataclass(frozen=True)
class Stand:
    """A running engine with one deployment, whose replica runs `slots` requests at once."""

    engine: EngineProcess
    deployment: str

    @property
    def model(self) -> str:
        return f"accounts/local/deployments/{self.deployment}"

    @property
    def gateway(self) -> Endpoint:
        return Endpoint.of(f"{self.engine.context.base_url}/inference", self.engine.key)

    @property
    def replica(self) -> Endpoint:
        """The replica's own socket: what an answer takes without a gateway."""
        [process] = self.engine.replicas()
        socket = next(run_dir(self.engine.data_dir).glob("*.sock"))
        return Endpoint.of("http://replica", process.environ()["FIREDECK_REPLICA_KEY"], str(socket))

    @property
    def process(self) -> psutil.Process:
        assert self.engine.process is not None
        return psutil.Process(self.engine.process.pid)

    def body(self, tokens: int, *, first_ms: float = 0, token_ms: float = 0, stream: bool = True) -> dict[str, object]:
        prompt = f"first_ms={first_ms:g} token_ms={token_ms:g}"
        return {"model": self.model, "prompt": prompt, "max_tokens": tokens, "stream": stream}


@contextmanager
def engine_of_replays(data_dir: Path, *arguments: str) -> Iterator[EngineProcess]:
    running = EngineProcess(data_dir, ("--rehearsal", *arguments), environment=REPLAYING).start()
    try:
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def stand(data_dir: Path, slots: int, own: ColdOptions | None = None) -> AsyncIterator[Stand]:
    """An engine of its own, ready to be asked; `own`: firedeck's options of its deployment."""
    with engine_of_replays(data_dir) as running:
        yield await deployed(running, slots, own)


async def deployed(running: EngineProcess, slots: int, own: ColdOptions | None = None) -> Stand:
    async with Client(running.context) as client:
        spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=1, firedeck=own)
        await client.deployments.create(spec, f"replay-{slots}")
        await until_ready(client, f"replay-{slots}")
    return Stand(running, f"replay-{slots}")


def cpu_s(process: psutil.Process) -> float:
    """Processor time of one process alone: no other one on the machine changes it much."""
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass
class Usage:
    """What a process used between two moments."""

    process: psutil.Process
    began_cpu_s: float = field(init=False)
    began_rss: int = field(init=False)

    def __post_init__(self) -> None:
        self.began_cpu_s, self.began_rss = cpu_s(self.process), self.process.memory_info().rss

    @property
    def cpu_s(self) -> float:
        return cpu_s(self.process) - self.began_cpu_s

    @property
    def grown_bytes(self) -> int:
        return int(self.process.memory_info().rss) - self.began_rss


async def settled(seconds: float = 0.2) -> None:
    await asyncio.sleep(seconds)
