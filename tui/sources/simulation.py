"""A small fleet that lives in memory and moves in whole seconds: the same second, the same fleet.

Load is a sum of sines; replicas go through the real stages in a few seconds; the autoscaler is a toy with the
product's vocabulary. No clock and no random source: `step` is told which second it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from client.access_types import ApiKey, User
from client.fleet_types import (
    AutoscalerView,
    Condition,
    DeploymentStats,
    DeploymentStatus,
    NodeView,
    QuarantinedRequest,
    Reason,
    ReplicaView,
    SpeculationView,
    TargetView,
)
from client.types import Deployment, ReplicaStats

STAGE_SECONDS = {"PENDING_SCHEDULING": 2, "DOWNLOADING_MODEL": 2, "INITIALIZING": 4, "DRAINING": 3, "STOPPING": 1}
NEXT_STAGE = {
    "PENDING_SCHEDULING": "DOWNLOADING_MODEL", "DOWNLOADING_MODEL": "INITIALIZING", "INITIALIZING": "READY",
    "DRAINING": "STOPPING",
}  # fmt: skip
PER_REPLICA_RPS = 3.0
UP_WINDOW_S, DOWN_WINDOW_S, ZERO_WINDOW_S = 5, 15, 30
TOKENS_PER_REQUEST = 38.0
SLOTS = 8
KV_TOKENS = 4096

Load = Callable[[int], float]
Note = Callable[[str, str, str, str, str | None], None]  # deployment, kind, reason, message, replica


def quiet(second: int) -> float:
    return 0.0


def waves(second: int) -> float:
    """Five minutes: rest, a climb to more than one replica carries, a fall, rest."""
    at = second % 300
    if at < 20 or at >= 240:
        return 0.0
    return max(0.3, 5.4 * math.sin(math.pi * (at - 20) / 220) ** 2 + 0.4 * math.sin(second / 3.1))


def steady(second: int) -> float:
    return 1.4 + 0.5 * math.sin(second / 11.0) + 0.2 * math.sin(second / 2.3)


def nodes() -> list[NodeView]:
    """Three machines, one of them closed."""
    return [
        NodeView(
            name=f"rehearsal-{n}", region="US_IOWA_1", device="cpu", accelerator_type="NVIDIA_L4_24GB", accelerators=4,
            free_accelerators=4 - n, memory_bytes=64 << 30, free_memory_bytes=(64 - 8 * n) << 30,
            free_threads=16 - 2 * n, price_per_hour=0.8, closed="" if n < 3 else "out of stock", simulated=True,
        )
        for n in range(1, 4)
    ]  # fmt: skip


def users(account: str, since: datetime) -> list[User]:
    """A person and a program."""
    name = f"accounts/{account}/users"
    return [
        User(name=f"{name}/ada", role="admin", email="ada@example.com", create_time=since),
        User(name=f"{name}/ci-bot", role="inference-user", service_account=True, create_time=since),
    ]


def key_of(user: User) -> ApiKey:
    return ApiKey(
        key_id=f"key-{user.id}", prefix=f"fd_{user.id[:2]}", display_name="laptop", create_time=user.create_time
    )


@dataclass
class Replica:
    id: str
    pid: int
    since: int
    stage: str = "PENDING_SCHEDULING"
    started: int = 0


@dataclass
class SimDeployment:
    """One deployment. `pressed` counts the seconds for which the load has asked for another count than there is."""

    deployment: Deployment
    load: Load = quiet
    desired: int = 0
    replicas: list[Replica] = field(default_factory=list)
    queue: float = 0.0
    rps: float = 0.0
    made: int = 0
    pressed: int = 0
    idle: int = 0
    total: float = 0.0
    last_request: int | None = None
    conditions: list[Condition] = field(default_factory=list)
    quarantined: list[QuarantinedRequest] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def ready(self) -> int:
        return sum(replica.stage == "READY" for replica in self.replicas)

    def step(self, second: int, note: Note) -> None:
        if self.deployment.state in ("DELETED", "FAILED"):
            return
        self._serve(second)
        self._autoscale(second, note)
        self._advance(second, note)
        self._match(second, note)
        if self.deployment.state == "CREATING" and (self.ready or not self.desired):
            self.deployment = self.deployment.model_copy(update={"state": "READY"})
            note(self.name, "Normal", "DeploymentReady", "deployment is ready", None)

    def _serve(self, second: int) -> None:
        self.rps = self.load(second)
        capacity = self.ready * PER_REPLICA_RPS
        self.queue = min(40.0, max(0.0, self.queue + self.rps - capacity))
        if self.rps:
            self.total += self.rps
            self.last_request = second

    def wanted(self) -> int:
        least = self.deployment.min_replica_count or 0
        most = self.deployment.max_replica_count or 1
        by_load = math.ceil(self.rps / PER_REPLICA_RPS - 0.05) if self.rps else 0
        return max(least, min(most, by_load))

    def _autoscale(self, second: int, note: Note) -> None:
        wanted = self.wanted()
        self.idle = 0 if self.rps or self.queue >= 1 else self.idle + 1
        if wanted == self.desired or (wanted == 0 and self.idle == 0):
            self.pressed = 0
            return
        self.pressed += 1
        if self.pressed >= self.window():
            reason = "ScaledUp" if wanted > self.desired else "ScaledDown"
            note(self.name, "Normal", reason, f"{self.desired} -> {wanted} replicas: {self.rps:.1f} req/s", None)
            self.desired, self.pressed = wanted, 0

    def window(self) -> int:
        wanted = self.wanted()
        if wanted > self.desired:
            return 1 if self.desired == 0 else UP_WINDOW_S
        return ZERO_WINDOW_S if wanted == 0 else DOWN_WINDOW_S

    def _advance(self, second: int, note: Note) -> None:
        for replica in list(self.replicas):
            if second - replica.since < STAGE_SECONDS.get(replica.stage, 1 << 60):
                continue
            if replica.stage == "STOPPING":
                self.replicas.remove(replica)
                note(self.name, "Normal", "ReplicaStopped", f"replica {replica.id} stopped", replica.id)
                continue
            replica.stage, replica.since = NEXT_STAGE[replica.stage], second
            if replica.stage == "READY":
                took = second - replica.started
                note(self.name, "Normal", "ReplicaReady", f"replica {replica.id} is ready after {took}s", replica.id)

    def _match(self, second: int, note: Note) -> None:
        living = [r for r in self.replicas if r.stage not in ("DRAINING", "STOPPING")]
        for replica in living[self.desired :]:
            replica.stage, replica.since = "DRAINING", second
            note(self.name, "Normal", "ReplicaDraining", f"replica {replica.id} finishes its requests", replica.id)
        for _ in range(self.desired - len(living)):
            self.made += 1
            replica = Replica(f"{self.deployment.id}-{self.made}", 41_000 + self.made, second, started=second)
            self.replicas.append(replica)
            note(self.name, "Normal", "ReplicaStarted", f"replica {replica.id} is starting", replica.id)

    # What the wire shows of it.

    def status(self, second: int, moment: Callable[[int], datetime]) -> DeploymentStatus:
        counts = {stage: sum(r.stage == stage for r in self.replicas) for stage in (*STAGE_SECONDS, "READY")}
        stats = ReplicaStats(
            pending_scheduling_replica_count=counts["PENDING_SCHEDULING"],
            downloading_model_replica_count=counts["DOWNLOADING_MODEL"],
            initializing_replica_count=counts["INITIALIZING"],
            ready_replica_count=counts["READY"],
        )
        shown = self.deployment.model_copy(
            update={"desired_replica_count": self.desired, "replica_count": len(self.replicas), "replica_stats": stats}
        )
        replicas = [self._replica(replica, second, moment) for replica in self.replicas]
        scaler = None if shown.state in ("DELETED", "FAILED") else self._scaler(second, moment)
        return DeploymentStatus(
            deployment=shown, stats=self.stats(second, moment), autoscaler=scaler, replicas=replicas, simulated=True,
            conditions=self.conditions, quarantined=self.quarantined, speculation=self._drafts(),
        )  # fmt: skip

    def _drafts(self) -> SpeculationView | None:
        """As if each request had been drafted for four times; costs as of a small model on two cores."""
        if not self.deployment.ngram_speculation_length:
            return None
        drafts = int(self.total * 4)
        at = [drafts] * (self.deployment.draft_token_count or 0)
        right = [int(drafts * 0.8 ** (position + 1)) for position in range(len(at))]
        return SpeculationView(
            drafts=drafts, drafted=sum(at), accepted=sum(right), drafted_at=at, accepted_at=right,
            step_ms=6.8, verify_ms={2: 7.4, 4: 9.1, 8: 13.2, 16: 22.0},
        )  # fmt: skip

    def stats(self, second: int, moment: Callable[[int], datetime]) -> DeploymentStats:
        served = min(self.rps + self.queue, self.ready * PER_REPLICA_RPS)
        flows = self.last_request is not None and second - self.last_request < 60
        ttft = self.ttft_ms(second) if self.ready and served else None
        return DeploymentStats(
            window_s=60,
            requests_per_second=round(self.rps, 2) if flows else None,
            error_rate=0.0 if flows else None,
            queue=int(self.queue),
            running=min(SLOTS * self.ready, round(served * 1.7)),
            ttft_p50_ms=ttft,
            ttft_p95_ms=None if ttft is None else ttft * 1.9 + 14,
            ttft_p99_ms=None if ttft is None else ttft * 2.3 + 31,
            tokens_per_second=round(served * TOKENS_PER_REQUEST, 1) if flows else None,
            requests_total=int(self.total),
            generated_tokens_total=int(self.total * TOKENS_PER_REQUEST),
            last_request_at=None if self.last_request is None else moment(self.last_request),
        )

    def sample(self, second: int, moment: Callable[[int], datetime]) -> dict[str, float | None]:
        """One second of the history, by the names of its series."""
        stats = self.stats(second, moment)
        replicas = [self._replica(replica, second, moment) for replica in self.replicas]
        used = [one.kv_used_tokens / KV_TOKENS for one in replicas if one.kv_used_tokens is not None]
        token_ms = 6.5 + 0.9 * stats.running / max(1, self.ready) if stats.running else None
        drafts = self.deployment.ngram_speculation_length and stats.running
        return {
            "ttft_p50_ms": stats.ttft_p50_ms, "ttft_p95_ms": stats.ttft_p95_ms, "ttft_p99_ms": stats.ttft_p99_ms,
            "inter_token_p50_ms": token_ms, "inter_token_p95_ms": None if token_ms is None else token_ms * 1.6,
            "tokens_per_second": stats.tokens_per_second, "requests_per_second": stats.requests_per_second,
            "queue": float(stats.queue), "concurrency": float(stats.running),
            "ready": float(self.ready), "desired": float(self.desired),
            "kv_share": sum(used) / len(used) if used else None,
            "draft_acceptance": 0.62 + 0.08 * math.sin(second / 9) if drafts else None,
        }  # fmt: skip

    def ttft_ms(self, second: int) -> float:
        load = min(1.5, self.rps / (PER_REPLICA_RPS * max(1, self.ready)))
        return 55 + 90 * load**2 + 60 * min(10.0, self.queue) + 9 * math.sin(second / 1.7)

    def _replica(self, replica: Replica, second: int, moment: Callable[[int], datetime]) -> ReplicaView:
        lives = replica.stage in ("READY", "DRAINING")
        share = min(self.rps, self.ready * PER_REPLICA_RPS) / max(1, self.ready)
        spent = (second - replica.since) / STAGE_SECONDS.get(replica.stage, 1)
        return ReplicaView(
            id=replica.id, stage=replica.stage, pid=replica.pid, device="cpu", node="rehearsal-1",
            progress=min(1.0, spent) if replica.stage in ("DOWNLOADING_MODEL", "INITIALIZING") else None,
            started_at=moment(replica.started), ready_at=moment(replica.since) if lives else None,
            running=min(SLOTS, round(share * 1.7)) if lives else None, waiting=0 if lives else None,
            slots=SLOTS if lives else None,
            kv_used_tokens=round(share * 300) if lives else None, kv_capacity_tokens=KV_TOKENS if lives else None,
            tokens_per_second=round(share * TOKENS_PER_REQUEST, 1) if lives else None,
            last_progress_age_s=0.1 if lives and share else None,
        )  # fmt: skip

    def _scaler(self, second: int, moment: Callable[[int], datetime]) -> AutoscalerView:
        wanted = self.wanted()
        change = "" if wanted == self.desired else f"scale {'up' if wanted > self.desired else 'down'} to {wanted}"
        due = moment(second) + timedelta(seconds=max(0, self.window() - self.pressed)) if change else None
        target = TargetView(name="requests_per_second", observed=self.rps, target=PER_REPLICA_RPS, wanted=wanted)
        return AutoscalerView(
            desired=self.desired, current=self.ready, reasons=[self._reason(wanted)], targets=[target],
            next_change_at=due, next_change=change, decided_at=moment(second),
        )  # fmt: skip

    def _reason(self, wanted: int) -> Reason:
        if not self.rps and not self.desired:
            return Reason(code="SCALED_TO_ZERO", text="no requests: the next one wakes it")
        if not self.rps:
            return Reason(code="IDLE", text=f"no requests for {self.idle}s")
        limit = self.deployment.max_replica_count
        if wanted == limit and self.rps > PER_REPLICA_RPS * wanted:
            return Reason(code="AT_MAX", text=f"{self.rps:.1f} req/s is more than the maximum of {limit} carries")
        return Reason(
            code="STEADY" if wanted == self.desired else "LOAD_ABOVE_TARGET",
            text=f"{self.rps:.1f} req/s at {PER_REPLICA_RPS:g} a replica wants {wanted}",
        )
