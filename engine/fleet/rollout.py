"""The settings of one deployment: those declared, and those that served before, to go back to when these do not start.

What to do about them is decided by `engine.control.reconcile`; here they are remembered, across engines too, and what
becomes of a roll-out is told.
"""

from __future__ import annotations

import logging

from client.errors import FiredeckError
from engine.control.backoff import Backoff
from engine.control.reconcile import SERVING, Declared, Fallback, Observed, Stage, stopped
from engine.fleet.replica_set import Announce, ReplicaSet
from engine.fleet.template import Template
from engine.store.store import Store

log = logging.getLogger(__name__)

REMEDY = "the former settings go on serving; change the deployment again, or take the change back"


class Rollout:
    """`stopped`: the declared settings do not start and were given up; `rolling`: former ones still serve."""

    def __init__(self, name: str, store: Store, announce: Announce) -> None:
        self.stopped = False
        self.rolling = False
        self._name = name
        self._store = store
        self._announce = announce
        self._served: Template | None = None
        self._declared: Template | None = None

    def restore(self, doc: str) -> None:
        """What an earlier engine wrote down. Settings of a firedeck that knew other ones are no use, and forgotten."""
        try:
            self._served = Template.read(doc)
        except (TypeError, ValueError):
            log.warning("%s: the settings that served before cannot be read any more", self._name)

    def declare(self, template: Template, desired: int, replicas: ReplicaSet, *, deleted: bool) -> Declared:
        """What is wanted now, as the reconciler takes it."""
        self._declared = template
        served = self._served
        fallback = None
        if served is not None and served.generation != template.generation:
            fallback = Fallback(served.generation, replicas.backoff(served.generation))
        return Declared(desired, template.generation, deleted, fallback)

    def template(self, generation: str) -> Template:
        """The settings to start a replica with."""
        assert self._declared is not None
        served = self._served
        return served if served is not None and served.generation == generation else self._declared

    def starts(self, replicas: ReplicaSet) -> Backoff:
        """How starts of the settings go that would be started now."""
        if self._declared is None:
            return Backoff()
        spare = self._served if self.stopped else None
        return replicas.backoff((spare or self._declared).generation)

    def failure(self, replicas: ReplicaSet) -> str:
        """Why the declared settings do not start, for people; "" when nothing is known against them."""
        reason = replicas.backoff(self._declared.generation).reason if self._declared else ""
        return f"roll-out stopped, {REMEDY}: {reason}" if self.stopped else reason

    async def observe(self, declared: Declared, replicas: ReplicaSet, observed: list[Observed]) -> None:
        """Take note of how far the roll-out is, and tell what changed."""
        was_rolling, was_stopped = self.rolling, self.stopped
        backoff = replicas.backoff(declared.generation)
        old = [r for r in observed if r.generation != declared.generation and r.alive and r.stage in SERVING]
        self.rolling = bool(old) and not declared.deleted
        self.stopped = stopped(declared, observed, backoff)
        if self.stopped and not was_stopped:
            message = f"new replicas do not start, {REMEDY}: {backoff.reason}"
            await self._announce("Warning", "RolloutStopped", message)
        elif self.rolling and not was_rolling:
            await self._announce("Normal", "RolloutStarted", f"{len(old)} replicas have former settings")
        elif was_rolling and not self.rolling and not declared.deleted:
            await self._announce("Normal", "RolloutDone", "all replicas have the declared settings")
        if self._proven(declared, replicas, observed):
            await self._remember()

    def _proven(self, declared: Declared, replicas: ReplicaSet, observed: list[Observed]) -> bool:
        """Whether the declared settings have become those to go back to: the first that ever served, else steady."""
        if self._served is not None and (self._served.generation == declared.generation or self.rolling):
            return False
        ready = any(r.stage == Stage.READY and r.generation == declared.generation for r in observed)
        return ready and (self._served is None or replicas.starts.steady(declared.generation, replicas))

    async def _remember(self) -> None:
        assert self._declared is not None
        self._served = self._declared
        try:
            await self._store.put_served_settings(self._name, self._served.written())
        except FiredeckError as error:
            log.warning("%s: settings that serve were not written down: %s", self._name, error.text)
