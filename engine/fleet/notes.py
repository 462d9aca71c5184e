"""What the engine writes down of what it did: events, and where its replicas are. The disk holds none of it up.

Nobody waits for an acknowledgement of these as for one of a change, so what a full disk does not take is kept in memory
and written when there is room, events in the order in which they happened.

A replica may so live without a row, or a row say less than there is, and the engine be killed meanwhile. That is safe,
because no process is found by its row alone: the engine that comes next lists all processes whose sockets lie in this
data folder (`Driver.strays`) and ends those of which it has no row with their pid; where none comes, they end by their
own orphan timeout. A row whose replica is gone adopts nobody either: its pid has to be that of a process on just its
socket, whose name is random.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from dataclasses import asdict

from client.errors import FiredeckError
from engine.clock import Clock
from engine.store.store import EVENTS_KEPT, ReplicaRecord, Statement, Store, event_row, prune_events

log = logging.getLogger(__name__)

RETRY_S = 1.0  # after the disk did not take it
ROWS_MAX = 10_000  # that wait; a row that is lost costs what one that was not written in time does


class Notes:
    """One engine's. No verb raises what the disk has against it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._replicas: dict[str, Statement] = {}  # by id, the last that is to be written of each
        self._events: deque[Statement] = deque(maxlen=EVENTS_KEPT)  # the table keeps no more either
        self._refused_at = -math.inf
        self._writing = asyncio.Lock()
        self._writers: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many of them are in memory alone."""
        return len(self._replicas) + len(self._events)

    async def replica(self, record: ReplicaRecord) -> None:
        """It is about to have a process, or has one."""
        await self._row(record.id, ("put_replica", asdict(record)))

    async def replica_gone(self, replica: str) -> None:
        await self._row(replica, ("drop_replica", {"id": replica}))

    async def event(self, deployment: str, kind: str, reason: str, message: str, replica: str | None = None) -> None:
        """It happened now."""
        self._events.append(("add_event", event_row(deployment, kind, reason, message, replica)))
        await self.write()

    async def write(self) -> None:
        """All that waits, unless the disk has just refused it.

        Whoever is cancelled here leaves the writing to its end: the store's thread would not stop half-way either.
        """
        if not self.waiting or self._just_refused():
            return
        writer = asyncio.create_task(self._write(), name="write what the engine did")
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)
        await asyncio.shield(writer)

    async def close(self) -> None:
        """The last try."""
        await self._write(last=True)

    def _just_refused(self) -> bool:
        return self._clock.monotonic() - self._refused_at < RETRY_S

    async def _row(self, replica: str, statement: Statement) -> None:
        self._replicas.pop(replica, None)
        self._replicas[replica] = statement
        if len(self._replicas) > ROWS_MAX:
            del self._replicas[next(iter(self._replicas))]
        await self.write()

    async def _write(self, *, last: bool = False) -> None:
        async with self._writing:
            if not last and self._just_refused():  # to who wrote while this one waited
                return
            rows, events = dict(self._replicas), list(self._events)
            if not rows and not events:
                return
            try:
                await self._store.transact([*rows.values(), *events, *([prune_events()] if events else [])])
            except FiredeckError as error:
                self._refused(error.text)
                return
            except Exception:  # a mistake of ours, which must not keep all that follows from being written
                log.exception("what the engine did is not written, and lost")
            else:
                self._taken()
            self._done(rows, events)

    def _done(self, rows: dict[str, Statement], events: list[Statement]) -> None:
        for replica, statement in rows.items():
            if self._replicas.get(replica) is statement:  # else there is news of it
                del self._replicas[replica]
        written = set(map(id, events))
        while self._events and id(self._events[0]) in written:
            self._events.popleft()

    def _refused(self, why: str) -> None:
        if self._refused_at == -math.inf:  # once, not with every try
            log.warning("events and replicas are in memory alone until they can be written: %s", why)
        self._refused_at = self._clock.monotonic()

    def _taken(self) -> None:
        if self._refused_at != -math.inf:
            log.info("events and replicas that waited are written")
        self._refused_at = -math.inf
