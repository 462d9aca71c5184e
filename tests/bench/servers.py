"""The servers that are compared, as processes: our replica on its unix socket, llama-server on a port of loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from client.bench.wire import Endpoint
from tests.bench.assets import Body
from tests.bench.peer import NoPeer

KEY = "bench"
PATIENCE_S = 120.0
POLL_S = 0.002  # fine enough to time a start by
# The same for both: spinning barriers would make the idle server and the load generator fight for cores.
OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
ROOT = Path(__file__).parents[2]


class NotServed(Exception):
    """A server ended instead of serving; carries the last line it wrote."""


@dataclass(frozen=True)
class Shape:
    """What both servers are started with."""

    model: Path
    slots: int = 8
    context: int = 2048  # tokens of each slot
    threads: int = 1


@dataclass
class Server:
    """A running server. `name` is how rows call it."""

    name: str
    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    log: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def cpu_s(self) -> float:
        """Processor time used until now, by all threads."""
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def http(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=self.endpoint.uds) if self.endpoint.uds else None
        base = self.endpoint.url.removesuffix("/v1")
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=base, headers=headers, transport=transport, timeout=600, trust_env=False)

    async def ready(self) -> None:
        """Wait until /health says 200. Raises NotServed when the process ends first."""
        async with self.http() as http, asyncio.timeout(PATIENCE_S):
            while not await _healthy(http):
                if self.process.poll() is not None:
                    lines = self.log.read_text(errors="replace").split("\n")
                    raise NotServed(next((line for line in reversed(lines) if line.strip()), "it ended at once"))
                await asyncio.sleep(POLL_S)

    async def answer(self, body: Body) -> dict[str, Any]:
        """The whole answer to a completion, not streamed. Raises NotServed when it is refused."""
        async with self.http() as http:
            got = await http.post("/v1/completions", json=body | {"stream": False, "stream_options": None})
        if got.status_code != 200:
            raise NotServed(f"{self.name} answered HTTP {got.status_code}: {got.text[:200]}")
        found: dict[str, Any] = got.json()
        return found

    async def text(self, body: Body) -> str:
        return str((await self.answer(body))["choices"][0]["text"])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


async def _healthy(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health")).status_code == 200
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Starter:
    """Starts servers. `tree` is the checkout whose replica is measured; `peer` a binary, or why there is none."""

    peer: Path | NoPeer
    folder: Path
    tree: Path = ROOT

    def start_ours(self, shape: Shape, *options: str) -> Server:
        """Step costs are remembered between starts, as an engine lets its replicas do."""
        path = tempfile.mktemp(dir=self.folder, suffix=".sock")
        command = [sys.executable, "-m", "engine.replica", "--deployment", "accounts/local/deployments/bench"]
        command += ["--replica", "bench-0", "--socket", path, "--model", str(shape.model)]
        command += ["--slots", str(shape.slots), "--context", str(shape.context), "--threads", str(shape.threads)]
        command += ["--costs", str(self.folder / "costs.json"), "--orphan-timeout", "600", *options]
        endpoint = Endpoint.of("http://replica", KEY, path)
        return self._start("firedeck", command, endpoint, {"FIREDECK_REPLICA_KEY": KEY}, self.tree)

    def start_peer(self, shape: Shape, *options: str) -> Server:
        if isinstance(self.peer, NoPeer):
            raise self.peer
        port = _free_port()
        command = [str(self.peer), "-m", str(shape.model), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--parallel", str(shape.slots), "-c", str(shape.slots * shape.context)]
        command += ["-t", str(shape.threads), "-tb", str(shape.threads), *options]
        return self._start("llama-server", command, Endpoint.of(f"http://127.0.0.1:{port}", KEY), {}, self.folder)

    def _start(
        self, name: str, command: Sequence[str], endpoint: Endpoint, environment: dict[str, str], cwd: Path
    ) -> Server:
        log = Path(tempfile.mktemp(dir=self.folder, suffix=".log"))
        every = {**os.environ, **OPENMP, **environment}
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=every)
        return Server(name, process, endpoint, log)

    @asynccontextmanager
    async def ours(self, shape: Shape, *options: str) -> AsyncIterator[Server]:
        """Our replica, ready; gone afterwards."""
        server = self.start_ours(shape, *options)
        try:
            await server.ready()
            yield server
        finally:
            server.stop()

    @asynccontextmanager
    async def both(self, shape: Shape, *peer_options: str) -> AsyncIterator[tuple[Server, Server]]:
        """Our replica and the peer, both ready. Raises NoPeer or NotServed."""
        async with self.ours(shape) as ours:
            peer = self.start_peer(shape, *peer_options)
            try:
                await peer.ready()
                yield ours, peer
            finally:
                peer.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
