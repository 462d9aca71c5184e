"""What a simulated week is made of: its size, its deployments, their replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.control.autoscale import LoadHistory, Memory, Policy
from engine.control.backoff import Backoff
from engine.control.reconcile import SERVING, Do, Observed, Stage, Step
from engine.placement.port import Need


@dataclass(frozen=True, slots=True)
class Size:
    """How large and how long. `accelerators` is what all deployments together may ask for, about."""

    deployments: int
    accelerators: int
    seconds: float
    faults_per_day: float = 4.0  # of each deployment
    changes_per_day: float = 2.0
    restarts: int = 3  # of the engine


@dataclass(slots=True)
class Unit:
    """One replica."""

    id: str
    generation: str
    started_at: float
    stage: Stage = Stage.PENDING_SCHEDULING
    stage_since: float = 0.0
    retry_at: float = 0.0
    tries: int = 0
    in_flight: int = 0
    placed: bool = False
    dead: bool = False
    was_ready: bool = False
    stuck_since: float | None = None  # it makes no token any more, and ends on SIGKILL alone
    ends_at: float | None = None

    def enter(self, stage: Stage, now: float) -> None:
        self.stage, self.stage_since = stage, now


@dataclass(slots=True)
class Deployed:
    """One deployment: its declaration, its replicas, and the load that it is under."""

    name: str
    policy: Policy
    need: Need
    generation: int = 0
    deleted: bool = False
    desired: int = 0
    memory: Memory = field(default_factory=Memory)
    history: LoadHistory = field(default_factory=lambda: LoadHistory(1000.0))
    backoff: Backoff = field(default_factory=Backoff)
    units: dict[str, Unit] = field(default_factory=dict)
    load: float = 0.0
    load_until: float = 0.0
    idle_since: float = 0.0
    held_since: float | None = None
    broken_until: float = 0.0
    looked_at: float = 0.0

    @property
    def wanted(self) -> str:
        return f"g{self.generation}"

    def current(self) -> list[Unit]:
        return [unit for unit in self.units.values() if unit.generation == self.wanted and unit.stage in SERVING]

    def ready(self) -> list[Unit]:
        return [unit for unit in self.units.values() if unit.stage == Stage.READY and not unit.dead]


def check_steps(d: Deployed, observed: Sequence[Observed], found: Sequence[Step], now: float) -> None:
    """No step takes away what serves before something else does, or a replica that still has requests; and after a
    failed start the next one waits its time."""
    starts = [step for step in found if step.do == Do.START]
    assert not starts or now >= d.backoff.holds_until(), f"{d.name}: started again too soon"
    desired = 0 if d.deleted else d.desired
    forced = {step.replica for step in found if step.fault or step.do in {Do.BURY, Do.KILL}}
    ready = {r.id for r in observed if r.alive and r.stage == Stage.READY} - forced
    drained = {step.replica for step in found if step.do == Do.DRAIN}
    given_up = desired > 1 and any(r.short for r in observed)  # one: else two sets would wait for each other's room
    left = len(ready - drained)
    assert left >= min(desired - given_up, len(ready)), f"{d.name}: {left} of {len(ready)} stay, {desired} are wanted"
    busy = {r.id for r in observed if r.in_flight}
    ended = {step.replica for step in found if step.do == Do.TERMINATE and not step.fault}
    assert not ended & busy, f"{d.name}: a request was lost in a drain"
