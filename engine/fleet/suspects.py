"""Requests under which a replica crashed: no two of them are tried on one replica, and who ended two is refused.

Evidence is a crash that was seen (a signal such as SIGSEGV or SIGABRT, an exit status, the kernel's end for want of
memory), an engine that says itself that it broke, and a replica that had to be ended because it was wedged. Whoever is
killed from outside (SIGKILL by an operator; SIGTERM; a node that is taken away) proves nothing against its requests,
nor does an end that nobody could see.

All that were in a replica when it crashed are suspects at first. They go on with one at a time on each replica, until
the answer begins, or a resumed stream is well past where its replica crashed: so the next has one culprit, and the
innocent are cleared by their answers. A request whose client left is held to account as well, until the replica is seen
to have gone on without it: else one that hangs replicas, with a client that gives up and tries again, would never be
found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from client.errors import FailedPrecondition
from client.fleet_types import QuarantinedRequest
from engine.clock import Clock, wall_at
from engine.control.quarantine import MARKS_MAX, Mark, Quarantine
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica
from engine.fleet.rooms import Announce
from engine.fleet.trials import Trial, Trials
from engine.telemetry import metrics

AUTOPSY_S = 1.0  # how long a process may take to be seen dead after its connections broke
AUTOPSY_STEP_S = 0.02
GONE_ON_AFTER_S = 2.0  # progress so long after a client left, several looks later, is not that request's any more
SHOWN_DIGITS = 16  # of a digest, in messages


@dataclass(frozen=True, slots=True)
class _Left:
    """A request whose client left `replica` at `at`, before its answer was whole."""

    digest: str
    replica: Replica
    at: float
    trial: Trial


class Processes(Protocol):
    """What is known of the processes of replicas."""

    def alive(self, replica: Replica) -> bool: ...

    def crashed(self, replica: Replica) -> bool: ...


class Suspects:
    """Those of one deployment. `room` is called when a suspect may go where it could not before."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        processes: Processes,
        announce: Announce,
        room: Callable[[], None],
    ) -> None:
        self._name = name
        self._clock = clock
        self._processes = processes
        self._announce = announce
        self.quarantine = Quarantine()
        self._trials = Trials(room)
        self._left: dict[tuple[str, str], _Left] = {}

    def refuse_quarantined(self, digest: str) -> None:
        """Raises FailedPrecondition for a request that has ended replicas."""
        mark = self.quarantine.mark(digest, self._clock.monotonic())
        if mark is not None and mark.quarantined:
            until = wall_at(self._clock, mark.ends_at())
            raise FailedPrecondition(
                f"this very request ended {len(mark.replicas)} replicas ({', '.join(mark.replicas)}) and is not tried"
                f" again before {until:%H:%M:%S} UTC; body sha256 {digest[:SHOWN_DIGITS]}",
                hint="change the request; `firedeck --once --json` lists what is quarantined",
            ).because("quarantined")

    @contextmanager
    def trial(self, digest: str) -> Iterator[Trial]:
        """For the time of one try: where a suspect may go, and until when no other may follow it."""
        trial = Trial(self._trials, lambda: self.quarantine.mark(digest, self._clock.monotonic()) is not None)
        try:
            yield trial
        finally:
            trial.over()

    def answered(self, digest: str) -> None:
        self.quarantine.answered(digest)

    async def autopsy(self, replica: Replica, digest: str) -> None:
        """A request's connection broke: if the replica died of itself, the request is one of those to blame."""
        for _ in range(int(AUTOPSY_S / AUTOPSY_STEP_S)):
            if replica.broken or not self._processes.alive(replica):
                break
            try:
                await asyncio.sleep(AUTOPSY_STEP_S)
            except asyncio.CancelledError:
                with self.trial(digest) as trial:
                    self.left(replica, digest, trial)
                raise
        else:
            return
        await self._blame(replica, digest)

    def left(self, replica: Replica, digest: str, trial: Trial) -> None:
        """The client left before its answer was whole. A turn goes on until it is clear what the request has done."""
        trial = trial.handed_over()
        key = (replica.id, digest)
        if key in self._left or len(self._left) >= MARKS_MAX:
            trial.over()
            return
        self._left[key] = _Left(digest, replica, self._clock.monotonic(), trial)

    async def judge(self) -> None:
        """Of the requests whose clients left: blame those whose replica died, acquit those it has gone on without."""
        for key, one in list(self._left.items()):
            alive = self._processes.alive(one.replica) and not one.replica.broken
            if alive and one.replica.vitals.moved_at <= one.at + GONE_ON_AFTER_S:
                continue
            del self._left[key]
            if not alive:
                await self._blame(one.replica, one.digest)
            one.trial.over()

    async def _blame(self, replica: Replica, digest: str) -> None:
        """A replica ended under this request: by a fault of its own, or else nobody is to blame."""
        crashed = replica.stage != Stage.STOPPING and self._processes.crashed(replica)
        if not (crashed or replica.wedged or replica.broken):
            return
        if self.quarantine.blame(digest, replica.id, self._clock.monotonic()):
            metrics.QUARANTINED.labels(self._name).inc()
            message = f"a request ended two replicas and is refused from now on; body sha256 {digest[:SHOWN_DIGITS]}"
            await self._announce("Warning", "RequestQuarantined", message)

    def quarantined(self) -> list[QuarantinedRequest]:
        return [self._view(mark) for mark in self.quarantine.quarantined(self._clock.monotonic())]

    def _view(self, mark: Mark) -> QuarantinedRequest:
        return QuarantinedRequest(
            digest=mark.digest, replicas=list(mark.replicas), until=wall_at(self._clock, mark.ends_at())
        )
