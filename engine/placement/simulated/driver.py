"""Replicas that exist only in this process, each on a unix socket of its own: reached, stopped and lost like real ones.

They outlive a killed engine as real ones do: the next one finds them where they stood, as old as they are by then, and
answers for them. What they had counted is gone, as are the requests that were in them. When no engine comes for as long
as a real replica waits for one, they end; the simulation's own time goes on all the same. It begins anew after a clean
end of the engine.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from engine.clock import Clock
from engine.placement import sockets
from engine.placement.endings import UNSEEN
from engine.placement.port import Launch, Need, Node, Placed, Taken
from engine.placement.simulated import records
from engine.placement.simulated.cloud import Cloud, Spot
from engine.placement.simulated.records import Beat, Kept
from engine.placement.simulated.replica import SimulatedReplica
from engine.placement.simulated.world import World

DRAIN_S = 30.0  # how long running requests get after a polite stop, as with real replicas
BEAT_EVERY_S = 1.0
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
    """The virtual nodes of `world`; from now on, or since an earlier engine began it in this data folder."""

    simulated = True
    reads_files = False

    def __init__(self, world: World, clock: Clock, data_dir: Path, *, orphan_timeout_s: float) -> None:
        self.cloud = Cloud(world)
        self._clock, self._began_at = clock, clock.monotonic()
        self._running: dict[str, _Running] = {}
        self._words: dict[str, str] = {}
        self._endings: dict[str, str] = {}
        self._taken: dict[str, Taken] = {}
        self._unkept: dict[str, Kept] = {}  # by replica: what the disk has not taken yet
        self._started = 0
        self._run_dir = sockets.open_folder(data_dir)
        self._orphan_timeout_s = orphan_timeout_s
        self._beat_at = -math.inf

    async def open(self) -> None:
        """Go on with the simulation that an earlier engine was killed in."""
        kept, beat, wall = records.read(self._run_dir), records.last_beat(self._run_dir), self._wall()
        kept_up = beat is not None and wall - beat.wall <= self._orphan_timeout_s
        if beat is not None:
            passed = beat.simulated + max(0.0, wall - beat.wall)
            self._began_at = self._clock.monotonic() - passed
        self._started = max((one.pid - FIRST_PID for one in kept), default=0)
        for one in kept:
            placed = Placed(one.launch.replica, self.socket_of(one.launch.replica), one.pid)
            lives = kept_up and self._now() < one.spot.ends_at
            if lives and self.cloud.restore(placed.replica, one.spot):
                await self._stand(one.launch, one.spot, placed)
            else:
                records.drop(placed.socket)
        self._beat()

    def nodes(self) -> list[Node]:
        return self.cloud.nodes(self._now())

    def would_be(self, node: str, gone: Collection[Placed], come: Collection[Need]) -> Node | None:
        return self.cloud.would_be(node, [one.replica for one in gone], come, self._now())

    def socket_of(self, replica: str) -> Path:
        return sockets.path_of(self._run_dir, replica)

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        spot = self.cloud.place(launch.replica, launch.need, self._now(), kept)
        self._started += 1
        placed = Placed(launch.replica, self.socket_of(launch.replica), FIRST_PID + self._started)
        try:
            self._keep(placed.socket, Kept(launch, spot, placed.pid))
            await self._stand(launch, spot, placed)
        except BaseException:
            self.cloud.release(launch.replica)
            self._drop(placed)
            raise
        return placed

    async def _stand(self, launch: Launch, spot: Spot, placed: Placed) -> None:
        node = self.cloud.node(spot.node, self._now())
        app = SimulatedReplica(
            launch, self.cloud.world.latency_of(node.accelerator_type), self._clock, device=node.device,
            ready_at=self._began_at + spot.ready_at, seed=self.cloud.world.seed + placed.pid - FIRST_PID,
        )  # fmt: skip
        server, state = await _listen(app, placed.socket)
        self._running[launch.replica] = _Running(app, server, state, placed)
        self._words[launch.replica] = f"[simulated] started on {spot.node}"

    def alive(self, placed: Placed) -> bool:
        self._beat()
        running = self._running.get(placed.replica)
        if running is None or running.placed != placed:
            return False
        now = self._now()
        if not self.cloud.living(placed.replica, now):
            self._take_away(placed.replica, self.cloud.spots[placed.replica])
        elif running.app.draining and (not running.app.running or now >= running.stop_by):
            self._end(placed.replica, "[simulated] ended with exit status 0, as it was told")
        return placed.replica in self._running

    def node_of(self, placed: Placed) -> Node | None:
        spot = self.cloud.spots.get(placed.replica)
        return self.cloud.node(spot.node, self._now()) if spot and self.alive(placed) else None

    def stop(self, placed: Placed, *, force: bool) -> None:
        if not self.alive(placed):
            return
        running = self._running[placed.replica]
        if force:
            self._end(placed.replica, "[simulated] killed by signal 9 (SIGKILL)")
        elif not running.app.draining:
            self._drop(placed)  # what has been told to end ends, with or without an engine
            running.app.draining, running.stop_by = True, self._now() + DRAIN_S

    def forget(self, placed: Placed) -> None:
        running = self._running.get(placed.replica)
        if running is None or running.placed == placed:
            self._end(placed.replica, "[simulated] forgotten")
            self._words.pop(placed.replica, None)
            self._endings.pop(placed.replica, None)
            self._taken.pop(placed.replica, None)

    def ending(self, placed: Placed) -> str:
        return "" if self.alive(placed) else self._endings.get(placed.replica, f"[simulated] {UNSEEN}")

    def crashed(self, placed: Placed) -> bool:
        return False  # virtual replicas have no faults of their own

    def taken(self, placed: Placed) -> Taken | None:
        return None if self.alive(placed) else self._taken.get(placed.replica)

    def last_words(self, replica: str) -> str:
        return self._words.get(replica, "")

    def strays(self, known: frozenset[Path]) -> list[Placed]:
        living = [one.placed for one in list(self._running.values()) if self.alive(one.placed)]
        return [placed for placed in living if placed.socket not in known]

    def close(self) -> None:
        records.end(self._run_dir)

    def _take_away(self, replica: str, spot: Spot) -> None:
        self._taken[replica] = Taken.PREEMPTED if spot.preempted else Taken.NODE_LOST
        how = "preempted the replica" if spot.preempted else "went out of service"
        self._end(replica, f"[simulated] {spot.node} {how}")

    def _end(self, replica: str, ending: str) -> None:
        running = self._running.pop(replica, None)
        self.cloud.release(replica)
        if running is not None:
            self._endings[replica] = ending
            self._drop(running.placed)
            running.cut()

    def _keep(self, socket: Path, kept: Kept) -> None:
        """For the next engine. A disk that is full keeps no replica from standing: it is tried again."""
        if not records.write(socket, kept):
            self._unkept[kept.launch.replica] = kept  # until it is written, a kill of this engine is its end

    def _drop(self, placed: Placed) -> None:
        self._unkept.pop(placed.replica, None)
        records.drop(placed.socket)

    def _beat(self) -> None:
        """This engine is there: written down every second, while it is asked for its replicas."""
        if self._now() - self._beat_at >= BEAT_EVERY_S:
            self._beat_at = self._now()
            records.beat(self._run_dir, Beat(self._wall(), self._now()))
            unkept, self._unkept = self._unkept, {}
            for replica, kept in unkept.items():
                self._keep(self.socket_of(replica), kept)

    def _wall(self) -> float:
        return self._clock.wall().timestamp()

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
