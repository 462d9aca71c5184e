"""Replicas that exist only in this process, each on a unix socket of its own: reached, stopped and lost like real ones.

They end with the engine, however it ends: an engine that is started again finds none of them alive.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from engine.clock import Clock
from engine.placement.port import Launch, Node, Placed
from engine.placement.simulated.cloud import Cloud
from engine.placement.simulated.replica import SimulatedReplica
from engine.placement.simulated.world import World

DRAIN_S = 30.0  # how long running requests get after a polite stop, as with real replicas
FIRST_PID = 1 << 22  # past every real pid of Linux: nobody signals a real process by mistake


@dataclass(slots=True)
class _Running:
    app: SimulatedReplica
    server: asyncio.AbstractServer
    state: ServerState
    placed: Placed
    stop_by: float = math.inf

    def cut(self) -> None:
        """As when a process dies: nothing listens any more, and what was under way breaks off."""
        self.app.ended = True
        self.server.close()
        for connection in list(self.state.connections):
            transport = getattr(connection, "transport", None)
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        for task in list(self.state.tasks):
            task.cancel()
        self.placed.socket.unlink(missing_ok=True)


class SimulatedDriver:
    """The virtual nodes of `world`, from now on."""

    simulated = True
    reads_files = False

    def __init__(self, world: World, clock: Clock) -> None:
        self.cloud = Cloud(world)
        self._clock, self._began_at = clock, clock.monotonic()
        self._running: dict[str, _Running] = {}
        self._words: dict[str, str] = {}
        self._started = 0
        self._run_dir = Path(tempfile.mkdtemp(prefix="firedeck-simulated-"))

    async def open(self) -> None:
        """Nothing of an earlier engine is left."""

    def nodes(self) -> list[Node]:
        return self.cloud.nodes(self._now())

    def socket_of(self, replica: str) -> Path:
        return self._run_dir / f"{replica.rpartition('-')[2]}.sock"

    async def start(self, launch: Launch) -> Placed:
        spot = self.cloud.place(launch.replica, launch.need, self._now())
        self._started += 1
        node = self.cloud.node(spot.node, self._now())
        app = SimulatedReplica(
            launch, self.cloud.world.latency_of(node.accelerator_type), self._clock,
            device=node.device, ready_at=self._began_at + spot.ready_at, seed=self.cloud.world.seed + self._started,
        )  # fmt: skip
        placed = Placed(launch.replica, self.socket_of(launch.replica), FIRST_PID + self._started)
        try:
            server, state = await _listen(app, placed.socket)
        except BaseException:
            self.cloud.release(launch.replica)
            raise
        self._running[launch.replica] = _Running(app, server, state, placed)
        self._words[launch.replica] = f"[simulated] started on {spot.node}"
        return placed

    def alive(self, placed: Placed) -> bool:
        running = self._running.get(placed.replica)
        if running is None or running.placed != placed:
            return False
        now = self._now()
        if not self.cloud.living(placed.replica, now):
            self._end(placed.replica, f"[simulated] {self.cloud.spots[placed.replica].node} took the replica away")
        elif running.app.draining and (not running.app.running or now >= running.stop_by):
            self._end(placed.replica, "[simulated] ended as it was told")
        return placed.replica in self._running

    def node_of(self, placed: Placed) -> Node | None:
        spot = self.cloud.spots.get(placed.replica)
        return self.cloud.node(spot.node, self._now()) if spot and self.alive(placed) else None

    def stop(self, placed: Placed, *, force: bool) -> None:
        if not self.alive(placed):
            return
        running = self._running[placed.replica]
        if force:
            self._end(placed.replica, "[simulated] killed")
        elif not running.app.draining:
            running.app.draining, running.stop_by = True, self._now() + DRAIN_S

    def forget(self, placed: Placed) -> None:
        running = self._running.get(placed.replica)
        if running is None or running.placed == placed:
            self._end(placed.replica, "[simulated] forgotten")
            self._words.pop(placed.replica, None)

    def last_words(self, replica: str) -> str:
        return self._words.get(replica, "")

    def strays(self, known: frozenset[Path]) -> list[Placed]:
        living = [one.placed for one in list(self._running.values()) if self.alive(one.placed)]
        return [placed for placed in living if placed.socket not in known]

    def close(self) -> None:
        shutil.rmtree(self._run_dir, ignore_errors=True)

    def _end(self, replica: str, words: str) -> None:
        running = self._running.pop(replica, None)
        self.cloud.release(replica)
        if running is not None:
            self._words[replica] = words
            running.cut()

    def _now(self) -> float:
        return self._clock.monotonic() - self._began_at


async def _listen(app: SimulatedReplica, socket: Path) -> tuple[asyncio.AbstractServer, ServerState]:
    """uvicorn's protocol on a unix socket, in a folder that only we can enter.

    Without uvicorn's server: its idle loop, a thousand times, is a busy one.
    """
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False, ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: HttpToolsProtocol(config, state, {}), str(socket))
    return server, state
