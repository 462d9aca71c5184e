"""The replicas of one deployment: which there are, and how they are watched, drained, ended and buried. What is
told of those that ended is in `engine.fleet.obituaries`.

Does what it is told, step by step; what to do is decided by `engine.control.reconcile`. Whatever happens to a process
ends here as an event and a changed stage, and wakes the keeper.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial

from client.names import random_id
from engine.control.backoff import Backoff, Starts
from engine.control.reconcile import STARTING, Do, Observed, Stage, Step
from engine.fleet.arrival import Arrival
from engine.fleet.obituaries import PREEMPTED, Obituaries
from engine.fleet.replica import Prepare, Replica, as_it_is, failure_text
from engine.fleet.rooms import Announce, Rooms
from engine.fleet.template import Template
from engine.placement.port import REGION_UNSPECIFIED, Need, Placed
from engine.store.store import ReplicaRecord
from engine.telemetry.replica_figures import ReplicaFigures


class ReplicaSet:
    """Replicas by id, and how their starts went. `wake` is called whenever one of them changed; `cores` tells how many
    cores a replica that starts now may use; `figures` sums up what they report; `prepare` is called before one takes
    requests; `preemptible`: they give their places to those of other deployments."""

    def __init__(
        self,
        rooms: Rooms,
        announce: Announce,
        wake: Callable[[], None],
        cores: Callable[[], int],
        figures: ReplicaFigures,
        prepare: Prepare = as_it_is,
        *,
        preemptible: bool = False,
    ) -> None:
        self.replicas: dict[str, Replica] = {}
        self.starts = Starts()
        self.obituaries = Obituaries(rooms, announce, self.starts)
        self._rooms = rooms
        self._arrival = Arrival(rooms, announce, wake, cores)
        self._announce, self._wake, self._prepare = announce, wake, prepare
        self._figures, self._preemptible = figures, preemptible
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Replica]:
        return iter(self.replicas.values())

    def stages(self) -> list[Stage]:
        return [r.stage for r in self.replicas.values()]

    def starting(self) -> int:
        """Replicas on their way to ready."""
        return sum(map(self.stages().count, STARTING))

    def in_flight(self) -> int:
        """Requests that the gateway has with them."""
        return sum([r.in_flight for r in self.replicas.values()])

    def observed(self) -> list[Observed]:
        now, alive = self._rooms.clock.monotonic(), self.alive
        return [r.observed(now, alive=alive(r)) for r in self.replicas.values()]

    def spare(self) -> None:
        """Nobody looked at them for a while: their ages begin anew."""
        for replica in self:
            replica.vitals.spare(self._rooms.clock.monotonic())

    async def notice(self) -> None:
        """Count the failures of those that end for one now: until the last is gone, a new one would start too soon."""
        for replica in list(self):
            if replica.stage == Stage.STOPPING and (replica.wedged or replica.broken):
                await self.obituaries.died(replica, replica.reason, told=True)

    def backoff(self, generation: str) -> Backoff:
        """How starts with these settings went lately."""
        return self.starts.of(generation)

    def retry_now(self) -> None:
        """Forget how starts went."""
        self.starts.forget()

    def region(self) -> str | None:
        """Where most of the replicas stand; None where nodes are in no region."""
        regions = [r.node.region for r in self if r.node is not None and r.node.region != REGION_UNSPECIFIED]
        return max(sorted(set(regions)), key=regions.count) if regions else None

    async def do_all(self, steps: Iterable[tuple[Step, Template]]) -> None:
        """Side by side: one that does not answer when it is ended must not hold up the others. Raises what the first
        raised, once all are done."""
        done = await asyncio.gather(*(self.do(*step) for step in steps), return_exceptions=True)
        if failed := next((one for one in done if one is not None), None):
            raise failed

    async def do(self, step: Step, template: Template) -> None:
        """One step of the reconciler."""
        if step.do == Do.START:
            self._start(template)
            return
        replica = self.replicas.get(step.replica)
        if replica is None:
            return  # it went while an earlier step was being done
        match step.do:
            case Do.BURY:
                await self._bury(replica)
            case Do.KEEP:
                replica.enter(Stage.READY, step.why)
            case Do.DRAIN:
                await self._drain(replica, step.why)
            case Do.TERMINATE:
                await self._terminate(replica, step)
            case Do.KILL:
                await self._kill(replica, step.why)

    def add(self, replica_id: str, generation: str, key: str) -> Replica:
        """One more, so far without a process."""
        replica = Replica(replica_id, generation, key, self._rooms.clock, self._figures)
        self.replicas[replica_id] = replica
        return replica

    def adopt(self, record: ReplicaRecord, placed: Placed) -> None:
        """Take over a process that an earlier engine left running."""
        replica = self.add(record.id, record.generation, record.key)
        replica.take_over(record.created_at)
        replica.need = Need(accelerators=record.accelerators, threads=record.threads)
        replica.attach(placed, self._rooms.driver.node_of(placed))
        replica.enter(Stage.INITIALIZING)  # no reason: if it ends now, how is told
        self._run(replica, self._serve(replica))

    def go_on_waiting(self, since: float) -> None:
        """One was without room with an earlier engine, since this instant of the wall clock."""
        self._arrival.go_on_waiting(since)

    async def close(self) -> None:
        """Stop watching; the processes live on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in self:
            await replica.close()

    def alive(self, replica: Replica) -> bool:
        return replica.placed is None or self._rooms.driver.alive(replica.placed)

    def crashed(self, replica: Replica) -> bool:
        """Whether its process is seen to have ended by its own fault; also of one that was buried meanwhile."""
        placed = replica.placed
        replica.crashed = replica.crashed or (placed is not None and self._rooms.driver.crashed(placed))
        return replica.crashed

    def _start(self, template: Template) -> None:
        replica_id = f"{template.deployment.rpartition('/')[2][:40]}-{random_id()}"
        replica = self.add(replica_id, template.generation, secrets.token_urlsafe(32))
        self._run(replica, self._bring_up(replica, template))

    def _run(self, replica: Replica, work: Coroutine[None, None, None]) -> None:
        self._tasks[replica.id] = asyncio.create_task(work, name=f"replica {replica.id}")

    async def _bring_up(self, replica: Replica, template: Template) -> None:
        """Room -> download -> place -> load -> probe -> ready, then watch."""
        try:
            await self._arrival.of(replica, template)
        except Exception as error:
            await self.obituaries.failed(replica, failure_text(error))
            await self._drop(replica, own_task=True)
            return
        await self._serve(replica)

    async def _serve(self, replica: Replica) -> None:
        """From a process to a ready replica, then keep looking at it."""
        if self._preemptible:
            self._rooms.line.lodge(replica, partial(self._give_way, replica))
        try:
            await replica.start_up(self._prepare)
        except Exception as error:
            if replica.stage != Stage.STOPPING:  # one that was told to end owes no answer
                replica.reason, replica.given_up = failure_text(error), True
                if replica.placed:
                    self._rooms.driver.stop(replica.placed, force=True)
            self._wake()
            return
        self._wake()  # before anything is written: requests may be waiting for it
        if replica.stage == Stage.READY:
            await self._announce("Normal", "ReplicaReady", "answered a first request", replica.id)
        await replica.watch()

    async def _drain(self, replica: Replica, why: str) -> None:
        if replica.placed is None:
            await self._drop(replica)
        elif replica.stage == Stage.READY:
            replica.enter(Stage.DRAINING, why)
        else:
            self._term(replica, why)

    async def _terminate(self, replica: Replica, step: Step) -> None:
        if step.fault:
            replica.wedged = True
            await self._announce("Warning", "ReplicaUnhealthy", step.why, replica.id)
        elif replica.placed is not None:
            await replica.look()  # what it counted last is not to be lost with it
        self._term(replica, step.why if step.fault else replica.reason or step.why)
        if step.fault:
            self._wake()  # it is replaced by the next look

    def _give_way(self, replica: Replica) -> None:
        """One that ends already, or has ended, does so for its own reason."""
        if self.alive(replica) and not replica.given_up:
            self._term(replica, replica.reason if replica.stage == Stage.DRAINING else PREEMPTED)
        self._wake()

    def _term(self, replica: Replica, why: str) -> None:
        self._rooms.line.lodgers.leaves(replica.id)
        replica.enter(Stage.STOPPING, why)
        if replica.placed:
            self._rooms.driver.stop(replica.placed, force=False)

    async def _kill(self, replica: Replica, why: str) -> None:
        await self._announce("Warning", "ReplicaKilled", why, replica.id)
        if replica.placed:
            self._rooms.driver.stop(replica.placed, force=True)
        replica.stage_since = self._rooms.clock.monotonic()  # SIGKILL takes a moment to be seen

    async def _bury(self, replica: Replica) -> None:
        self.crashed(replica)  # asked while the driver still knows
        await self.obituaries.tell(replica)
        await self._drop(replica)

    def forgive(self) -> None:
        """Failures are over where replicas have served steadily since."""
        self.starts.forgive(self.ready_since, self._rooms.clock.monotonic())

    def ready_since(self, generation: str) -> list[float]:
        ready = (r for r in self if r.stage == Stage.READY and r.generation == generation)
        return [r.ready_at for r in ready if r.ready_at is not None]

    async def _drop(self, replica: Replica, *, own_task: bool = False) -> None:
        self.replicas.pop(replica.id, None)
        task = self._tasks.pop(replica.id, None)
        if task is not None and not own_task:
            task.cancel()
        self._figures.gone(replica.id)
        await replica.close()
        if replica.placed:
            self._rooms.driver.stop(replica.placed, force=True)  # gone already, unless its start was given up
            self._rooms.driver.forget(replica.placed)
            self._rooms.line.lodgers.gone(replica.id)
            self._rooms.line.freed()
        await self._rooms.notes.replica_gone(replica.id)
        self._wake()
