"""Keeps one deployment as it is declared: observe, decide, do at most one step a replica, and again.

The loop wakes twice a second and whenever something happened (a change, a held request, a replica's end). What to do
is decided by `engine.control`; this is where the numbers for those decisions come together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from client.errors import FiredeckError, Unavailable
from client.types import Deployment
from engine.control import lifecycle
from engine.control.autoscale import Decision
from engine.control.reconcile import Stage, steps
from engine.fleet.addons import Addons
from engine.fleet.autoscaler import TICK_S, Autoscaler
from engine.fleet.balancer import Balancer
from engine.fleet.chronicle import Chronicle, Work
from engine.fleet.faults import Faults
from engine.fleet.herald import Herald
from engine.fleet.lobby import Lobby
from engine.fleet.record import Record, Seen
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rollout import Rollout
from engine.fleet.rooms import Rooms
from engine.fleet.scaling import shortage_of
from engine.fleet.suspects import Suspects
from engine.fleet.template import Template, preemptible, template_of
from engine.telemetry import metrics
from engine.telemetry.history import Recorder
from engine.telemetry.lately import Lately
from engine.telemetry.meter import Meter

log = logging.getLogger(__name__)

OVERSLEPT_S = 10.0  # without a look: this process was stopped or held up, and ages that grew meanwhile say nothing
RETRY_AFTER_S = 5.0


class Keeper:
    """One deployment: its declaration, its replicas, its queue and its numbers."""

    def __init__(self, deployment: Deployment, rooms: Rooms, cores: Callable[[], int]) -> None:
        self.record = Record(deployment, rooms.store)
        self.herald = Herald(deployment.name, rooms.notes)
        self.announce = self.herald.announce
        self.addons = Addons(self.announce, self.look_soon)
        self.figures = metrics.REPLICA_FIGURES.of(deployment.name)
        self.replicas = ReplicaSet(
            rooms, self.announce, self.look_soon, cores, self.figures, self.addons.bring,
            preemptible=preemptible(deployment),
        )  # fmt: skip
        self.rollout = Rollout(deployment.name, rooms.store, self.announce)
        self.meter = Meter(deployment.name, rooms.clock)
        self.balancer = Balancer(rooms.clock, self.meter)
        self.lobby = Lobby(self.ready, self.look_soon, rooms.clock, self.meter.held, self.balancer, self._most_wait_s)
        self.suspects = Suspects(deployment.name, rooms.clock, self.replicas, self.announce, self.lobby.serve)
        self.faults = Faults(deployment.name, rooms, self.replicas, self.suspects)
        self.chronicle = Chronicle(deployment.name, self.meter, Lately(self.figures), rooms)
        self.autoscaler = Autoscaler(self.record, self.replicas, self.lobby, self.meter, rooms.clock)
        self._rooms = rooms
        self._awake = asyncio.Event()
        self._template: tuple[Deployment, Template] | None = None  # of the declaration that it was made for
        self._loop: asyncio.Task[None] | None = None
        self._looked_at = rooms.clock.monotonic()
        self.observed_update_time: datetime | None = None  # of the declaration that the last whole look was at
        self._unwritten = ""

    @property
    def deployment(self) -> Deployment:
        return self.record.deployment

    @property
    def decision(self) -> Decision | None:
        """The autoscaler's last."""
        return self.autoscaler.decision

    @property
    def recorder(self) -> Recorder:
        return self.chronicle.recorder

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def generation(self) -> str:
        """A digest of the settings that are declared, and that a replica has when it is as declared."""
        return self._declared_template().generation

    @property
    def deleted(self) -> bool:
        return self.deployment.delete_time is not None

    def ready(self) -> list[Replica]:
        """Replicas that take requests."""
        ready = Stage.READY
        return [r for r in self.replicas if r.stage == ready and not r.suspect]

    def serves(self) -> bool:
        """Whether there is a ready replica at all, be it one that just failed a request."""
        return any(r.stage == Stage.READY for r in self.replicas)

    def lost(self, replica: Replica) -> None:
        """A request failed there: give it no other until it has answered again."""
        replica.suspect = True
        self.look_soon()

    def running(self) -> int:
        """Requests that the gateway has with replicas."""
        return self.replicas.in_flight()

    def hopeless(self) -> FiredeckError | None:
        """Why a request that waited would wait in vain, or None."""
        if self.serves():
            return None
        if self.deployment.max_replica_count == 0:
            return Unavailable("the deployment is switched off: its maxReplicaCount is 0", hint="raise it")
        starts = self.rollout.starts(self.replicas)
        if starts.hopeless:
            return Unavailable(f"the deployment has failed: {starts.reason}", retry_after_s=RETRY_AFTER_S)
        return None

    def idle_s(self) -> float:
        """Since somebody asked, changed, deleted or brought it back, by time that certainly went by."""
        return self._rooms.clock.monotonic() - self.meter.used_at

    def _most_wait_s(self) -> float | None:
        options = self.deployment.firedeck
        return options.max_queue_wait.total_seconds() if options and options.max_queue_wait else None

    def look_soon(self) -> None:
        """Look now, not at the next tick."""
        self._awake.set()

    def would_replace(self, planned: Deployment) -> bool:
        """Whether there are replicas that such a declaration would have replaced by new ones."""
        generation = template_of(planned).generation
        return any(replica.generation != generation for replica in self.replicas)

    def start(self) -> None:
        self._loop = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """End the loop; the replicas live on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self.herald.close()
        await self.addons.close()
        await self.replicas.close()

    async def declare(self, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Take over a changed declaration: written first, then acted on. Raises what `change` raises."""
        declared = await self.record.declare(change)
        self.look_soon()
        return declared

    def scale_to(self, count: int) -> None:
        """Want this many replicas now; autoscaling goes on from there."""
        self.autoscaler.scale_to(count)
        self.look_soon()

    def wake(self) -> None:
        """A request came that will not wait: start a replica if there is none."""
        self.autoscaler.wake()
        self.look_soon()

    def begin(self, count: int) -> None:
        """Go on from the count that was wanted when an earlier engine ended."""
        self.autoscaler.begin(count)

    def fresh_start(self) -> None:
        """After an undelete: idle time begins anew, and failed starts are forgotten."""
        self.autoscaler.begin_idleness()
        self.meter.used()
        self.lobby.reopen()
        self.retry_now()

    def retry_now(self) -> None:
        """Somebody has changed something: do not wait for the back-off of failed starts."""
        self.replicas.retry_now()
        self.look_soon()

    async def tick(self) -> None:
        """Observe, decide, step."""
        now, looked_at = self._rooms.clock.monotonic(), self.deployment.update_time
        if now - self._looked_at > OVERSLEPT_S:
            self.replicas.spare()
        self._looked_at = now
        self.autoscaler.sample(now, arriving=self._arriving())
        self.replicas.forgive()
        await self.replicas.notice()
        await self.suspects.judge()
        await self._decide(now)
        await self._reconcile(now)
        self.addons.sync(self.replicas)
        self.balancer.keep(self.replicas.replicas.keys())
        self.lobby.serve()
        if self.lobby.held and (reason := self.hopeless()) is not None:
            self.lobby.turn_away(reason)
        await self._show()
        self.observed_update_time = looked_at

    async def _reconcile(self, now: float) -> None:
        observed = self.replicas.observed()
        template = self._declared_template()
        declared = self.rollout.declare(template, self._desired(), self.replicas, deleted=self.deleted)
        todo = steps(declared, observed, self.replicas.backoff(declared.generation), now)
        if todo:
            await self.replicas.do_all((step, self.rollout.template(step.generation)) for step in todo)
        await self.rollout.observe(declared, self.replicas, observed, now)

    def _declared_template(self) -> Template:
        """Made anew only when the document has changed: a look at a fleet at rest should cost next to nothing."""
        deployment = self.deployment
        if self._template is None or self._template[0] is not deployment:
            self._template = (deployment, template_of(deployment))
        return self._template[1]

    async def _keep(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:
                log.exception("%s: the loop met an error and goes on", self.name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._awake.wait()
            self._awake.clear()

    def _desired(self) -> int:
        return self.decision.desired if self.decision and not self.deleted else 0

    def _arriving(self) -> bool:
        """A replica is on its way: not idle but slow to start, or else one that loads for longer than the
        scale-to-zero window would be ended again before it was ever ready."""
        return self.replicas.starting() > 0 and not self.rollout.starts(self.replicas).failing

    async def _decide(self, now: float) -> None:
        former = self.decision.desired if self.decision else None
        decision = self.autoscaler.decide(now)
        desired = decision.desired
        if former is None or desired == former or self.deleted:
            return
        up = desired > former
        metrics.SCALINGS.labels(self.name, "up" if up else "down").inc()
        message = f"{former} -> {desired} replicas: {decision.text}"
        await self.announce("Normal", "ScaledUp" if up else "ScaledDown", message)

    async def _show(self) -> None:
        """Write what can be seen from outside into the deployment, the gauges and the charts."""
        generation, short = self._declared_template().generation, shortage_of(self.replicas)
        starts = self.rollout.starts(self.replicas)
        seen = Seen(
            deleted=self.deleted,
            stages=tuple(self.replicas.stages()),
            desired=self._desired(),
            old=sum([r.generation != generation for r in self.replicas]),
            stopped=self.rollout.stopped,
            failing=starts.failing,
            hopeless=starts.hopeless,
            failure=self.rollout.failure(self.replicas),
            shortage=short.text(self._desired()) if short else "",
            region=self.replicas.region(),
            may_rest=self.deployment.max_replica_count == 0 or self.rollout.progress.served == generation,
        )
        changed = await self.record.show(seen)
        if changed is not None:
            failed = seen.stopped or self.deployment.state == lifecycle.FAILED
            await self.announce("Warning" if failed else "Normal", "StateChanged", changed)
        work = Work(self.lobby.held, self.running(), self.queued())
        await self.chronicle.write(seen, work, self.autoscaler.idle_since)
        await self.faults.write()
        await self._rooms.notes.write()
        self._complain(self.record.unwritten or self.chronicle.unwritten or self.faults.unwritten)

    def _complain(self, unwritten: str) -> None:
        """Once, not twice a second, until it changes."""
        if unwritten and unwritten != self._unwritten:
            log.warning("%s: what is seen of it is not written down: %s", self.name, unwritten)
        self._unwritten = unwritten

    def queued(self) -> int:
        """Requests that wait: held here, or in a replica's own queue."""
        return self.lobby.held + sum([r.report.waiting for r in self.replicas])
