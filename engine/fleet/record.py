"""A deployment's document: what is declared, and what is seen of it, in memory and on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from client.errors import FiredeckError, NotFound
from client.types import Deployment, ReplicaStats, Status
from engine.control import lifecycle
from engine.control.lifecycle import Facts
from engine.control.reconcile import Stage
from engine.store.store import Store

MESSAGE_CHARS = 900  # of the reason in `status`


@dataclass(frozen=True, slots=True)
class Seen:
    """One deployment at one look. `old` replicas run with former settings; `failure`: why starts fail; `shortage`: for
    how many there is no room and why; "" where there is nothing to tell. `region`: where most of them stand,
    None where that is not known."""

    deleted: bool
    stages: tuple[Stage, ...]
    desired: int
    old: int
    stopped: bool
    failing: bool
    hopeless: bool
    failure: str
    shortage: str = ""
    region: str | None = None
    may_rest: bool = True  # as in `lifecycle.Facts`

    @property
    def ready(self) -> int:
        return self.stages.count(Stage.READY)

    def facts(self) -> Facts:
        return Facts(
            deleted=self.deleted, desired=self.desired, living=len(self.stages), ready=self.ready, old=self.old,
            failing=self.failing, hopeless=self.hopeless, stopped=self.stopped, may_rest=self.may_rest,
        )  # fmt: skip

    @property
    def whole(self) -> bool:
        """All that are wanted serve, with the declared settings."""
        return 0 < self.desired <= self.ready and not self.old

    def status(self) -> Status:
        """What keeps it from being as declared: of starts that failed only until there are replicas all the same."""
        if self.failure and (self.stopped or not self.whole):
            return Status(code="ABORTED" if self.stopped else "UNAVAILABLE", message=self.failure[:MESSAGE_CHARS])
        if self.shortage:
            return Status(code="RESOURCE_EXHAUSTED", message=self.shortage[:MESSAGE_CHARS])
        return Status()

    def stats(self) -> ReplicaStats:
        return ReplicaStats(
            pending_scheduling_replica_count=self.stages.count(Stage.PENDING_SCHEDULING),
            downloading_model_replica_count=self.stages.count(Stage.DOWNLOADING_MODEL),
            initializing_replica_count=self.stages.count(Stage.INITIALIZING),
            ready_replica_count=self.ready,
        )


class Record:
    """One document with two writers, the user's changes and the keeper's observations: they take turns.

    A change holds once it is on disk. What is seen holds at once, for it is so whether or not the disk takes it;
    `unwritten` is why it did not, "" where all is on disk.
    """

    def __init__(self, deployment: Deployment, store: Store) -> None:
        self.deployment = deployment
        self.unwritten = ""
        self._store = store
        self._writing = asyncio.Lock()
        self._is_there = True
        self._settled: tuple[Deployment, Seen] | None = None  # a document that shows all that was seen

    async def begin(self, write: Callable[[Deployment], Awaitable[None]]) -> None:
        """A new document comes to disk, by `write`; whoever changes it meanwhile waits, and finds none where that
        fails."""
        async with self._writing:
            try:
                await write(self.deployment)
            except BaseException:
                self._is_there = False
                raise

    async def declare(self, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Take over a changed declaration: on disk first. Raises what `change` raises."""
        async with self._writing:
            if not self._is_there:
                raise NotFound(f"deployment {self.deployment.name!r} was not made: its create failed", field="name")
            declared = change(self.deployment)
            await self._store.put_deployment(declared)
            self.deployment, self.unwritten = declared, ""
        return declared

    async def show(self, seen: Seen) -> str | None:
        """Take over what is seen, to disk when it changed, again until it is there. A change of the state as a
        sentence, else None."""
        if self._settled is not None and self._settled[0] is self.deployment and self._settled[1] == seen:
            return None
        async with self._writing:
            former, shown = self.deployment, self._shown(seen)
            if shown is former and not self.unwritten:
                self._settled = (shown, seen)
                return None
            self.deployment = shown
            await self._write()
        if shown.state == former.state:
            return None
        why = seen.failure if seen.stopped or shown.state == lifecycle.FAILED else ""
        return f"{former.state} -> {shown.state}" + (f": {why}" if why else "")

    async def _write(self) -> None:
        try:
            await self._store.put_deployment(self.deployment)
        except FiredeckError as error:
            self.unwritten = error.text
        else:
            self.unwritten = ""

    def _shown(self, seen: Seen) -> Deployment:
        """The document as it should be; the very same object when nothing changed."""
        fields = {
            "state": lifecycle.state(self.deployment.state, seen.facts()),
            "status": seen.status(),
            "region": seen.region or self.deployment.region,
            "desired_replica_count": seen.desired,
            "replica_count": len(seen.stages),
            "replica_stats": seen.stats(),
        }
        if all(getattr(self.deployment, name) == value for name, value in fields.items()):
            return self.deployment
        return self.deployment.model_copy(update=fields)
