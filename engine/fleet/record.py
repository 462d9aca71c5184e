"""A deployment's document: what is declared, and what is seen of it, in memory and on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

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
    failures: int
    failure: str
    shortage: str = ""
    region: str | None = None

    @property
    def ready(self) -> int:
        return self.stages.count(Stage.READY)

    def facts(self) -> Facts:
        return Facts(
            deleted=self.deleted, desired=self.desired, living=len(self.stages), ready=self.ready, old=self.old,
            failures=self.failures, stopped=self.stopped,
        )  # fmt: skip

    def status(self) -> Status:
        if self.failure:
            return Status(code="UNAVAILABLE", message=self.failure[:MESSAGE_CHARS])
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
    """One document with two writers, the user's changes and the keeper's observations: they take turns."""

    def __init__(self, deployment: Deployment, store: Store) -> None:
        self.deployment = deployment
        self._store = store
        self._writing = asyncio.Lock()
        self._settled: tuple[Deployment, Seen] | None = None  # a document that shows all that was seen

    async def declare(self, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Take over a changed declaration: on disk first. Raises what `change` raises."""
        async with self._writing:
            declared = change(self.deployment)
            await self._store.put_deployment(declared)
            self.deployment = declared
        return declared

    async def show(self, seen: Seen) -> str | None:
        """Take over what is seen, to disk when it changed. A change of the state as a sentence, else None."""
        if self._settled is not None and self._settled[0] is self.deployment and self._settled[1] == seen:
            return None
        former = self.deployment.state
        async with self._writing:
            shown = self._shown(seen)
            if shown is self.deployment:
                self._settled = (shown, seen)
                return None
            await self._store.put_deployment(shown)
            self.deployment = shown
        if shown.state == former:
            return None
        return f"{former} -> {shown.state}" + (f": {seen.failure}" if shown.state == lifecycle.FAILED else "")

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
