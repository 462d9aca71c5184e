"""How a replica comes to a process: it waits for room before its model is downloaded, and takes its place after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from engine.clock import FakeClock
from engine.control.reconcile import Stage
from engine.fleet.arrival import Arrival
from engine.fleet.replica import Replica
from engine.fleet.rooms import Rooms
from engine.fleet.template import Template
from engine.models.dimensions import Dimensions
from engine.placement.port import Placed
from engine.store.store import Store
from engine.telemetry import metrics
from tests.processes import PATIENCE_S
from tests.unit.test_line import Bay

NAME = "accounts/local/deployments/d"
TEMPLATE = Template(NAME, "m", slots=1, context_tokens=512, threads=4, devices=1)


class Berth(Bay):
    """A bay whose replicas need their model's file."""

    reads_files = True

    def socket_of(self, replica: str) -> Path:
        return Path("/nowhere")

    def node_of(self, placed: Placed) -> None:
        return


class Remote:
    """The files of a library whose one model is somewhere else until it is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def present(self, name: str, precision: str | None = None) -> bool:
        return name in self.fetched

    def dimensions(self, name: str, precision: str | None = None) -> Dimensions:
        return Dimensions(weights_bytes=1 << 20)

    async def bring(self, name: str, progress: object, precision: str | None = None) -> Path:
        self.fetched.append(name)
        return Path("/models/m")


@asynccontextmanager
async def waiting_for_room(arrival: Arrival, clock: FakeClock) -> AsyncIterator[tuple[Replica, asyncio.Task[None]]]:
    """A new replica once there is no room for it, and the task that waits for some."""
    replica = Replica("r", "g", "key", clock, metrics.REPLICA_FIGURES.of(NAME))
    coming = asyncio.create_task(arrival.of(replica, TEMPLATE))
    async with asyncio.timeout(PATIENCE_S):
        while replica.short_since is None:
            await asyncio.sleep(0.01)
        yield replica, coming


async def test_nothing_is_downloaded_for_a_replica_that_has_no_room(tmp_path: Path):
    store, clock, bay, library = await Store.open(tmp_path / "db"), FakeClock(), Berth(), Remote()
    told: list[str] = []

    async def announce(kind: str, reason: str, message: str, replica: str | None = None) -> None:
        told.append(reason)

    rooms = Rooms(cast(Any, bay), store, cast(Any, SimpleNamespace(files=library)), clock)
    async with waiting_for_room(Arrival(rooms, announce, lambda: None, lambda: 1), clock) as (replica, coming):
        assert (library.fetched, replica.stage, told) == ([], Stage.PENDING_SCHEDULING, ["Stockout"])
        assert [one.pid for one in await store.replicas()] == [None]
        bay.free = 4
        rooms.line.freed()
        await coming
    assert (library.fetched, bay.order, replica.stage) == (["m"], ["r"], Stage.INITIALIZING)
    assert told == ["Stockout", "Downloading", "ReplicaStarted"]
    assert replica.short_since is None
    await replica.close()
    await store.close()


async def test_room_that_was_taken_during_the_download_is_waited_for_again(tmp_path: Path):
    store, clock, bay, library = await Store.open(tmp_path / "db"), FakeClock(), Berth(4), Remote()

    async def announce(kind: str, reason: str, message: str, replica: str | None = None) -> None:
        if reason == "Downloading":
            bay.free = 0  # somebody else was quicker

    rooms = Rooms(cast(Any, bay), store, cast(Any, SimpleNamespace(files=library)), clock)
    async with waiting_for_room(Arrival(rooms, announce, lambda: None, lambda: 1), clock) as (replica, coming):
        assert (library.fetched, replica.stage) == (["m"], Stage.PENDING_SCHEDULING)
        bay.free = 4
        rooms.line.freed()
        await coming
    assert bay.order == ["r"]
    await replica.close()
    await store.close()
