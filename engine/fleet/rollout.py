"""The settings of one deployment: those declared, and those that served before, to go back to when these do not start.

What to do about them is decided by `engine.control.reconcile` and `engine.control.rollout`; here they are remembered,
across engines too, and what becomes of a roll-out is told.
"""

from __future__ import annotations

import logging

from client.errors import FiredeckError
from engine.control.backoff import CALM, Backoff
from engine.control.reconcile import SERVING, Declared, Observed, Stage
from engine.control.rollout import Progress
from engine.fleet.difference import counted
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rooms import Announce
from engine.fleet.template import Template
from engine.store.store import Store

log = logging.getLogger(__name__)

RETRY_S = 10.0  # after the disk did not take the settings that serve
REMEDY = "change the deployment again, or take the change back"


class Rollout:
    """`progress` is what is known of it; settings are told apart by their generation."""

    def __init__(self, name: str, store: Store, announce: Announce) -> None:
        self.progress = Progress()
        self._name = name
        self._store = store
        self._announce = announce
        self._served: Template | None = None
        self._declared: Template | None = None
        self._write_at: float | None = None  # monotonic: there is something to write down, from then on

    @property
    def stopped(self) -> bool:
        """The declared settings do not start and were given up."""
        return self.progress.stopped

    @property
    def stopped_since(self) -> float | None:
        """Monotonic; None while none is stopped."""
        return self.progress.stopped_since

    def restore(self, doc: str) -> None:
        """What an earlier engine wrote down. Settings of a firedeck that knew other ones are no use, and forgotten."""
        try:
            self._served = Template.read(doc)
        except (TypeError, ValueError):
            log.warning("%s: the settings that served before cannot be read any more", self._name)
        else:
            self.progress = Progress(served=self._served.generation)

    def declare(self, template: Template, desired: int, replicas: ReplicaSet, *, deleted: bool) -> Declared:
        """What is wanted now, as the reconciler takes it."""
        self._declared = template
        return self.progress.declare(template.generation, desired, replicas.starts, deleted=deleted)

    def template(self, generation: str) -> Template:
        """The settings to start a replica with."""
        assert self._declared is not None
        served = self._served
        return served if served is not None and served.generation == generation else self._declared

    def starts(self, replicas: ReplicaSet) -> Backoff:
        """How starts of the settings go that would be started now."""
        if self._declared is None:
            return Backoff()
        return self.progress.starts_now(self._declared.generation, replicas.starts)

    def failure(self, replicas: ReplicaSet) -> str:
        """Why the declared settings do not start, for people; "" when nothing is known against them."""
        if self.stopped:
            return f"roll-out stopped: {self.stopped_because(replicas)}"
        starts = replicas.backoff(self._declared.generation) if self._declared else CALM
        return starts.reason if starts.failing else ""

    def stopped_because(self, replicas: ReplicaSet) -> str:
        """Of a roll-out that is stopped: what serves now, what to do, and why new replicas do not start."""
        assert self._declared is not None
        declared, served = self._declared.generation, self.progress.served
        former = replicas.backoff(served) if served is not None and served != declared else CALM
        serving = "the former settings go on serving"
        if former.hopeless and not any(r.stage == Stage.READY and r.generation != declared for r in replicas):
            serving = f"the former settings do not start either ({former.reason})"
        return f"new replicas do not start, {serving}; {REMEDY}: {replicas.backoff(declared).reason}"

    async def observe(self, declared: Declared, replicas: ReplicaSet, observed: list[Observed], now: float) -> None:
        """Take note of how far the roll-out is, and tell what changed."""
        former = self.progress
        self.progress = former.after(declared, observed, replicas.starts, now)
        await self._tell(former, declared, replicas, observed)
        if self.progress.served != former.served:
            self._served, self._write_at = self._declared, now
        if self._write_at is not None and now >= self._write_at:
            await self._remember(now)

    async def _tell(self, former: Progress, declared: Declared, replicas: ReplicaSet, observed: list[Observed]) -> None:
        progress = self.progress
        if progress.stopped and not former.stopped:
            await self._announce("Warning", "RolloutStopped", self.stopped_because(replicas))
        elif progress.rolling and not former.rolling:
            old = sum(r.alive and r.stage in SERVING and r.generation != declared.generation for r in observed)
            await self._announce("Normal", "RolloutStarted", f"{counted(old)} with former settings")
        elif former.rolling and not progress.rolling and not declared.deleted:
            await self._announce("Normal", "RolloutDone", "all replicas have the declared settings")

    async def _remember(self, now: float) -> None:
        """Again until the disk takes it: an engine that does not know them could not go back to them."""
        assert self._served is not None
        self._write_at = now + RETRY_S
        try:
            await self._store.put_served_settings(self._name, self._served.written())
        except FiredeckError as error:
            log.warning("%s: the settings that serve are not written down yet: %s", self._name, error.text)
        else:
            self._write_at = None
