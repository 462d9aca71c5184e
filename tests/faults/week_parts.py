"""What a simulated week is made of: its size, its deployments, their replicas."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.control.autoscale import LoadHistory, Memory, Policy
from engine.control.backoff import Backoff
from engine.control.reconcile import SERVING, Stage
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
