"""How a replica of a deployment comes to a process: room -> download -> place. What is without room waits.

How much a replica takes stands in the header of its model's file, and a driver starts a process as it gives a place. So
what has to be downloaded first waits until there is room for what is known of it before, its weights.

From the process on it is `engine.fleet.replica_set`'s.
"""

from __future__ import annotations

import logging
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
from engine.placement.port import Launch, Need, Placed
from engine.store.store import ReplicaRecord

log = logging.getLogger(__name__)


class Arrival:
    """Of one deployment's replicas. `wake` is called whenever one of them changed; `cores` tells how many cores one may
    use that starts now."""

    def __init__(self, rooms: Rooms, announce: Announce, wake: Callable[[], None], cores: Callable[[], int]) -> None:
        self._rooms = rooms
        self._sizing = Sizing(rooms.driver, rooms.library.files)
        self._announce, self._wake, self._cores = announce, wake, cores
        self._short: dict[str, str] = {}  # by replica without room: what there is too little of
        self._waited: list[float] = []  # since when (wall) those that were without room with an earlier engine

    def go_on_waiting(self, since: float) -> None:
        """One was without room with an earlier engine, since this instant of the wall clock: the next one that comes
        here takes its stead."""
        self._waited = sorted([*self._waited, since])

    async def of(self, replica: Replica, template: Template) -> None:
        """Until it has a process with these settings. Raises what keeps it from having one."""
        try:
            await self._come(replica, template)
        finally:
            self._short.pop(replica.id, None)

    async def _come(self, replica: Replica, template: Template) -> None:
        since = self._waited.pop(0) if self._waited else None
        models = [(template.model, template.precision)]
        models += [(template.draft_model, None)] if template.draft_model else []
        if self._rooms.driver.reads_files and not all(self._rooms.library.files.present(*one) for one in models):
            need = await self._need(template)
            await self._record(replica, template, need, since)
            await self._rooms.line.room(need, partial(self._held_up, replica, self._short_s(since)))
            replica.short_since = None
        file, *draft = [await self._fetch(replica, *one) for one in models]
        need = await self._need(template)
        draft_file = draft[0] if draft else None
        launch = template.launch(replica.id, replica.key, file, draft_file, cores=self._cores(), need=need)
        placed = await self._place(replica, template, launch, since)
        # In no event: those are for all who see the deployment, and this is for admins.
        log.info("%s is process %d", replica.id, placed.pid)
        how = f" on {replica.node.name}" if replica.node else ""
        if template.devices and not need.accelerators:
            how += ", on the CPU: there are no accelerators"
        await self._announce("Normal", "ReplicaStarted", f"loading the model{how}", replica.id)

    async def _need(self, template: Template) -> Need:
        """As far as it is known: while a model's file is not here, that is the size of its weights."""
        await self._sizing.warm(template.model, template.draft_model, template.precision)
        return self._sizing.need(template, self._cores())

    async def _place(self, replica: Replica, template: Template, launch: Launch, since: float | None = None) -> Placed:
        """A process for this replica; while there is no room, wait and ask again."""
        driver, began = self._rooms.driver, replica.started_wall.timestamp()
        # The record comes first: should the engine die in between, the socket's name still leads to the process.
        record = await self._record(replica, template, launch.need, since)
        held_up = partial(self._held_up, replica, self._short_s(since))
        placed, nodes = await self._rooms.line.place(launch, held_up)
        replica.need = launch.need
        replica.attach(placed, driver.node_of(placed))
        replica.enter(Stage.INITIALIZING)
        await self._rooms.notes.replica(replace(record, pid=placed.pid, created_at=began))
        if replica.node is not None and (full := fit.passed_over(nodes, launch.need, replica.node)):
            await self._announce(
                "Normal", "PlacedElsewhere", f"in {replica.node.region}; no room in {full}", replica.id
            )
        return placed

    async def _record(self, replica: Replica, template: Template, need: Need, since: float | None) -> ReplicaRecord:
        """Written down, without a process yet."""
        began = replica.started_wall.timestamp()
        record = ReplicaRecord(
            replica.id, template.deployment, template.generation, str(self._rooms.driver.socket_of(replica.id)),
            replica.key, None, min(began, since or began), need.accelerators, need.threads,
        )  # fmt: skip
        await self._rooms.notes.replica(record)
        return record

    def _short_s(self, since: float | None) -> float:
        """How long one has been without room that was so with an earlier engine."""
        return 0.0 if since is None else max(0.0, self._rooms.clock.wall().timestamp() - since)

    async def _fetch(self, replica: Replica, model: str, precision: str | None) -> Path:
        library = self._rooms.library
        if not self._rooms.driver.reads_files:
            return Path(model)
        if not library.files.present(model, precision):
            replica.enter(Stage.DOWNLOADING_MODEL)
            await self._announce("Normal", "Downloading", f"fetching {model}", replica.id)
        return await library.files.bring(model, lambda part: setattr(replica, "progress", part), precision)

    async def _held_up(self, replica: Replica, short_s: float, why: str, retry_at: float) -> None:
        """There is no room: say so. The replica stays wanted, and was for `short_s` before this engine."""
        if replica.short_since is None:
            told, self._short[replica.id] = why in self._short.values(), why
            if not told:  # one event for all that are refused for the same want of room
                await self._announce("Warning", "Stockout", f"no room for a replica: {why}", replica.id)
            replica.short_since = self._rooms.clock.monotonic() - short_s
        replica.enter(Stage.PENDING_SCHEDULING)
        replica.reason, replica.retry_at = why, retry_at
        self._wake()
