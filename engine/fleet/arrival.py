"""How a replica of a deployment comes to a process: download -> place. What is without room waits, and asks again.

From the process on it is `engine.fleet.replica_set`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.control.reconcile import Stage
from engine.fleet.replica import Replica
from engine.fleet.rooms import Announce, Rooms
from engine.fleet.sizing import Sizing
from engine.fleet.template import Template
from engine.placement import fit
from engine.placement.port import Launch, Placed
from engine.store.store import ReplicaRecord


class Arrival:
    """Of one deployment's replicas. `wake` is called whenever one of them changed; `cores` tells how many cores one may
    use that starts now."""

    def __init__(self, rooms: Rooms, announce: Announce, wake: Callable[[], None], cores: Callable[[], int]) -> None:
        self._rooms = rooms
        self._sizing = Sizing(rooms.driver, rooms.library)
        self._announce, self._wake, self._cores = announce, wake, cores
        self._waited: list[float] = []  # since when (wall) those that were without room with an earlier engine

    def go_on_waiting(self, since: float) -> None:
        """One was without room with an earlier engine, since this instant of the wall clock: the next one that comes
        here takes its stead."""
        self._waited = sorted([*self._waited, since])

    async def of(self, replica: Replica, template: Template) -> None:
        """Until it has a process with these settings. Raises what keeps it from having one."""
        file = await self._fetch(replica, template.model)
        draft = await self._fetch(replica, template.draft_model) if template.draft_model else None
        await self._sizing.warm(template.model, template.draft_model)
        cores = self._cores()
        need = self._sizing.need(template, cores)
        launch = template.launch(replica.id, replica.key, file, draft, cores=cores, need=need)
        placed = await self._place(replica, template, launch)
        where = f"pid {placed.pid}" + (f" on {replica.node.name}" if replica.node else "")
        if template.devices and not need.accelerators:
            where += ", on the CPU: there are no accelerators"
        await self._announce("Normal", "ReplicaStarted", f"{where}, loading the model", replica.id)

    async def _place(self, replica: Replica, template: Template, launch: Launch) -> Placed:
        """A process for this replica; while there is no room, wait and ask again."""
        driver = self._rooms.driver
        now, began = self._rooms.clock.wall().timestamp(), replica.started_wall.timestamp()
        since = self._waited.pop(0) if self._waited else None
        short_s = 0.0 if since is None else max(0.0, now - since)
        # The record comes first: should the engine die in between, the socket's name still leads to the process.
        record = ReplicaRecord(
            replica.id, template.deployment, template.generation, str(driver.socket_of(replica.id)), replica.key,
            None, min(began, since or began), launch.need.accelerators, launch.need.threads,
        )  # fmt: skip
        await self._rooms.store.put_replica(record)
        placed, nodes = await self._rooms.line.place(launch, partial(self._held_up, replica, short_s))
        replica.need = launch.need
        replica.attach(placed, driver.node_of(placed))
        replica.enter(Stage.INITIALIZING)
        await self._rooms.store.put_replica(replace(record, pid=placed.pid, created_at=began))
        if replica.node is not None and (full := fit.passed_over(nodes, launch.need, replica.node)):
            await self._announce(
                "Normal", "PlacedElsewhere", f"in {replica.node.region}; no room in {full}", replica.id
            )
        return placed

    async def _fetch(self, replica: Replica, model: str) -> Path:
        library = self._rooms.library
        if not self._rooms.driver.reads_files:
            return Path(model)
        if not library.present(model):
            replica.enter(Stage.DOWNLOADING_MODEL)
            await self._announce("Normal", "Downloading", f"fetching {model}", replica.id)
        return await library.bring(model, lambda part: setattr(replica, "progress", part))

    async def _held_up(self, replica: Replica, short_s: float, why: str, retry_at: float) -> None:
        """There is no room: say so. The replica stays wanted, and was for `short_s` before this engine."""
        if replica.short_since is None:
            await self._announce("Warning", "Stockout", f"no room for a replica: {why}", replica.id)
            replica.short_since = self._rooms.clock.monotonic() - short_s
        replica.enter(Stage.PENDING_SCHEDULING)
        replica.reason, replica.retry_at = why, retry_at
        self._wake()
