"""Keeps one deployment as it is declared: observe, decide, do at most one step a replica, and again.

The loop wakes twice a second and whenever something happened (a change, a held request, a replica's end). What to do
is decided by `engine.control`; this is where the numbers for those decisions come together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta

from client.errors import FiredeckError, Unavailable
from client.types import SIMULATED_CLUSTER, Deployment, ReplicaStats, Status
from engine.control import autoscale, lifecycle
from engine.control.autoscale import Decision, LoadHistory, LoadSample, Memory, Policy
from engine.control.lifecycle import Facts
from engine.control.reconcile import STARTING, Backoff, Declared, Stage, steps
from engine.fleet.lobby import Lobby
from engine.fleet.replica import POLL_TIMEOUT_S, Replica
from engine.fleet.replica_set import ReplicaSet, Rooms
from engine.fleet.template import template_of
from engine.telemetry import metrics
from engine.telemetry.history import Recorder
from engine.telemetry.meter import Meter

log = logging.getLogger(__name__)

TICK_S = 0.5
HISTORY_STEP_S = 1.0
TTFT_WINDOW_S = 10.0  # of one point in the charts
REQUEST_RATE_WINDOW_S = 5.0
HISTORY_KEEP_S = 1000.0  # the longest average that a policy can ask for is a fifth of an hour
TOUCH_INTERVAL_S = 10.0  # how often the instant of the last request is written down
UNHEARD_AFTER_S = 2 * POLL_TIMEOUT_S  # then its figures count as missing
RETRY_AFTER_S = 5.0


class Keeper:
    """One deployment: its declaration, its replicas, its queue and its numbers."""

    def __init__(self, deployment: Deployment, rooms: Rooms, threads: int, gpus: int) -> None:
        self.deployment = deployment
        self.replicas = ReplicaSet(rooms, self.announce, self.wake)
        self.lobby = Lobby(self.ready, self.wake, rooms.clock)
        self.meter = Meter(deployment.name, rooms.clock)
        self.figures = metrics.REPLICA_FIGURES.of(deployment.name)
        self.recorder = Recorder()
        self.decision: Decision | None = None
        self.decided_at: float = 0.0
        self._rooms = rooms
        self._threads, self._gpus = threads, gpus  # a replica's where its declaration names none; this machine's
        self._memory = Memory()
        self._history = LoadHistory(HISTORY_KEEP_S)
        self._awake = asyncio.Event()
        # A declaration and an observation must not overwrite each other's fields on disk.
        self._writing = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self._idle_since = rooms.clock.monotonic()
        self._sampled_requests = 0
        self._recorded_at = self._touched_at = float("-inf")
        self._touched_requests = 0

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def deleted(self) -> bool:
        return self.deployment.delete_time is not None

    def ready(self) -> list[Replica]:
        """Replicas that take requests."""
        return [r for r in self.replicas if r.stage == Stage.READY and not r.suspect]

    def serves(self) -> bool:
        """Whether there is a ready replica at all, be it one that just failed a request."""
        return any(r.stage == Stage.READY for r in self.replicas)

    def lost(self, replica: Replica) -> None:
        """A request failed there: give it no other until it has answered again."""
        replica.suspect = True
        self.wake()

    def running(self) -> int:
        """Requests that the gateway has with replicas."""
        return sum(r.in_flight for r in self.replicas)

    def hopeless(self) -> FiredeckError | None:
        """Why a request that waited would wait in vain, or None."""
        if self.serves():
            return None
        if self.deployment.max_replica_count == 0:
            return Unavailable("the deployment is switched off: its maxReplicaCount is 0", hint="raise it")
        if self.deployment.state == lifecycle.FAILED:
            return Unavailable(f"the deployment has failed: {self.replicas.last_failure}", retry_after_s=RETRY_AFTER_S)
        return None

    def wake(self) -> None:
        """Look now, not at the next tick."""
        self._awake.set()

    def start(self) -> None:
        self._loop = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """End the loop; the replicas live on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self.replicas.close()

    async def declare(self, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Take over a changed declaration: written first, then acted on. Raises what `change` raises."""
        async with self._writing:
            declared = change(self.deployment)
            await self._rooms.store.put_deployment(declared)
            self.deployment = declared
        self.wake()
        return declared

    def scale_to(self, count: int) -> None:
        """Want this many replicas now; autoscaling goes on from there."""
        self._memory = autoscale.scale_to(self._policy(), self._memory, count, self._rooms.clock.monotonic())
        self.wake()

    def rouse(self) -> None:
        """A request came that will not wait: start a replica if there is none."""
        self._memory = autoscale.wake(self._policy(), self._memory, self._rooms.clock.monotonic())
        self.wake()

    def begin(self, count: int) -> None:
        """Go on from the count that was wanted when an earlier engine ended."""
        self._memory = autoscale.begin(self._policy(), count, self._rooms.clock.monotonic())

    def fresh_start(self) -> None:
        """After an undelete: idle time begins anew, and failed starts are forgotten."""
        self._idle_since = self._rooms.clock.monotonic()
        self.lobby.reopen()
        self.retry_now()

    def retry_now(self) -> None:
        """Somebody has changed something: do not wait for the back-off of failed starts."""
        self.replicas.backoff = Backoff()
        self.wake()

    async def announce(self, kind: str, reason: str, message: str, replica: str | None = None) -> None:
        """Write an event; a store that cannot be written must not stop the loop."""
        log.info("%s: %s: %s", self.name, reason, message, extra={"action": reason, "replica": replica})
        try:
            await self._rooms.store.add_event(self.name, kind, reason, message, replica)
        except Exception:
            log.exception("%s: event not written", self.name)

    async def tick(self) -> None:
        """Observe, decide, step."""
        now = self._rooms.clock.monotonic()
        self._sample(now)
        template = template_of(self.deployment, threads=self._threads, gpus=self._gpus)
        self.replicas.forgive(template.generation)
        await self._decide(now)
        declared = Declared(self._desired(), template.generation, self.deleted)
        for step in steps(declared, self.replicas.observed(), self.replicas.backoff, now):
            await self.replicas.do(step, template)
        self.lobby.serve()
        if self.lobby.held and (reason := self.hopeless()) is not None:
            self.lobby.turn_away(reason)
        await self._show(template.generation)
        self._record(now)
        await self._touch(now)

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

    def _sample(self, now: float) -> None:
        """One sample of the load for the autoscaler, and of the speed for the charts."""
        produced = [r.take_produced() for r in self.replicas]
        prompt, generated = sum(p.prompt for p in produced), sum(p.generated for p in produced)
        self.meter.produced(prompt, generated)
        self._take_figures()
        concurrency = self.running() + self.lobby.held
        requests, self._sampled_requests = self.meter.requests - self._sampled_requests, self.meter.requests
        if concurrency or requests or self._arriving():
            self._idle_since = now
        self._history.add(LoadSample(now, float(concurrency), requests, prompt, generated))

    def _take_figures(self) -> None:
        for replica in self.replicas:
            self.figures.take(replica.id, replica.report.body, from_birth=not replica.taken_over)
        self.figures.keep(self.replicas.replicas.keys())

    def _arriving(self) -> bool:
        """A replica is on its way: not idle but slow to start, or else one that loads for longer than the
        scale-to-zero window would be ended again before it was ever ready."""
        return not self.replicas.backoff.failures and any(r.stage in STARTING for r in self.replicas)

    async def _decide(self, now: float) -> None:
        former = self.decision.desired if self.decision else None
        self.decision, self._memory = autoscale.decide(
            self._policy(), self._memory, self._history, self._observed(now), now
        )
        self.decided_at = now
        desired = self.decision.desired
        if former is None or desired == former or self.deleted:
            return
        up = desired > former
        metrics.SCALINGS.labels(self.name, "up" if up else "down").inc()
        message = f"{former} -> {desired} replicas: {self.decision.text}"
        await self.announce("Normal", "ScaledUp" if up else "ScaledDown", message)

    def _policy(self) -> Policy:
        d = self.deployment
        policy = d.autoscaling_policy
        assert policy is not None  # engine.declare fills it in
        return Policy(
            min_replicas=d.min_replica_count or 0,
            max_replicas=d.max_replica_count or 0,
            up_window_s=_seconds(policy.scale_up_window),
            down_window_s=_seconds(policy.scale_down_window),
            zero_window_s=_seconds(policy.scale_to_zero_window),
            targets=policy.load_targets or {},
            slots_per_replica=d.max_batch_size or 1,
        )

    def _observed(self, now: float) -> autoscale.Observed:
        stages = [r.stage for r in self.replicas]
        return autoscale.Observed(
            ready=stages.count(Stage.READY),
            starting=sum(stage in STARTING for stage in stages),
            running=self.running(),
            held=self.lobby.held,
            idle_since=self._idle_since,
            oldest_held_s=self.lobby.oldest_s(),
            missing=any(now - r.report.at > UNHEARD_AFTER_S for r in self.replicas if r.stage == Stage.READY),
        )

    async def _show(self, generation: str) -> None:
        """Write what can be seen from outside into the deployment, and to disk when it changed."""
        stages = [r.stage for r in self.replicas]
        facts = Facts(
            deleted=self.deleted,
            desired=self._desired(),
            living=len(stages),
            ready=stages.count(Stage.READY),
            old=sum(r.generation != generation for r in self.replicas),
            failures=self.replicas.backoff.failures,
        )
        self._export(stages, facts.desired)
        former = self.deployment.state
        async with self._writing:
            shown = self._shown(facts, stages)
            if shown == self.deployment:
                return
            await self._rooms.store.put_deployment(shown)
            self.deployment = shown
        if shown.state != former:
            kind = "Warning" if shown.state == lifecycle.FAILED else "Normal"
            why = f": {self.replicas.last_failure}" if shown.state == lifecycle.FAILED else ""
            await self.announce(kind, "StateChanged", f"{former} -> {shown.state}{why}")

    def _shown(self, facts: Facts, stages: list[Stage]) -> Deployment:
        return self.deployment.model_copy(
            update={
                "state": lifecycle.state(self.deployment.state, facts),
                "status": self._status(facts.desired),
                "region": self.replicas.region() or self.deployment.region,
                "cluster": SIMULATED_CLUSTER if self._rooms.driver.simulated else None,
                "desired_replica_count": facts.desired,
                "replica_count": facts.living,
                "replica_stats": _stats(stages),
            }
        )

    def _status(self, desired: int) -> Status:
        """The last failed start, else what holds replicas up, else OK."""
        if self.replicas.last_failure:
            return Status(code="UNAVAILABLE", message=self.replicas.last_failure[:900])
        shortage = self.replicas.shortage(desired)
        return Status(code="RESOURCE_EXHAUSTED", message=shortage.text[:900]) if shortage else Status()

    def _export(self, stages: list[Stage], desired: int) -> None:
        for stage in Stage:
            metrics.REPLICAS.labels(self.name, stage.value).set(stages.count(stage))
        metrics.DESIRED.labels(self.name).set(desired)
        metrics.HELD.labels(self.name).set(self.lobby.held)
        metrics.RUNNING.labels(self.name).set(self.running())

    def _record(self, now: float) -> None:
        if now - self._recorded_at < HISTORY_STEP_S:
            return
        self._recorded_at = now
        serving = self.serves()
        self.recorder.add(
            self._rooms.clock.wall().timestamp(),
            {
                "ttft_p50_ms": self.meter.ttft_ms(50, TTFT_WINDOW_S),
                "ttft_p95_ms": self.meter.ttft_ms(95, TTFT_WINDOW_S),
                "tokens_per_second": self.meter.token_rate() if serving else None,
                "requests_per_second": self.meter.request_rate(REQUEST_RATE_WINDOW_S),
                "queue": float(self.queued()),
                "concurrency": float(self.running() + self.lobby.held),
                "ready": float(sum(r.stage == Stage.READY for r in self.replicas)),
                "desired": float(self._desired()),
            },
        )

    def queued(self) -> int:
        """Requests that wait: held here, or in a replica's own queue."""
        return self.lobby.held + sum(int(r.report.body.get("waiting", 0)) for r in self.replicas)

    async def _touch(self, now: float) -> None:
        at = self.meter.last_request_at
        if at is None or self.meter.requests == self._touched_requests or now - self._touched_at < TOUCH_INTERVAL_S:
            return
        self._touched_at, self._touched_requests = now, self.meter.requests
        await self._rooms.store.touch_deployment(self.name, at)


def _stats(stages: list[Stage]) -> ReplicaStats:
    return ReplicaStats(
        pending_scheduling_replica_count=stages.count(Stage.PENDING_SCHEDULING),
        downloading_model_replica_count=stages.count(Stage.DOWNLOADING_MODEL),
        initializing_replica_count=stages.count(Stage.INITIALIZING),
        ready_replica_count=stages.count(Stage.READY),
    )


def _seconds(window: timedelta | None) -> float:
    return window.total_seconds() if window else 0.0
