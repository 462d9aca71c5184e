"""What a simulated week is made of: its size, its deployments, their replicas."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.control.autoscale import LoadHistory, Memory, Policy
from engine.control.autoscale_reasons import Code
from engine.control.backoff import Starts
from engine.control.lifecycle import CREATING, DELETED, DELETING, FAILED, READY, UPDATING
from engine.control.reconcile import SERVING, Stage
from engine.control.rollout import Progress
from engine.placement.port import Need

HOUR_S, DAY_S = 3600.0, 86_400.0

STAGES_AFTER = {
    Stage.PENDING_SCHEDULING: {Stage.INITIALIZING},
    Stage.INITIALIZING: {Stage.READY, Stage.STOPPING},
    Stage.READY: {Stage.DRAINING, Stage.STOPPING},
    Stage.DRAINING: {Stage.READY, Stage.STOPPING},
    Stage.STOPPING: set[Stage](),
}
STATES_AFTER = {
    CREATING: {READY, FAILED, DELETING, DELETED},
    READY: {UPDATING, FAILED, DELETING, DELETED},
    UPDATING: {READY, FAILED, DELETING, DELETED},
    FAILED: {READY, UPDATING, CREATING, DELETING, DELETED},
    DELETING: {DELETED},
    DELETED: set[str](),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How large and how long. `accelerators` is what all deployments together may ask for, about."""

    deployments: int
    accelerators: int
    seconds: float
    most_each: int = 39  # replicas of one deployment
    calm_s: float = 3 * HOUR_S  # at the end: no faults, no changes, an even load
    faults: tuple[str, ...] = ("crash", "wedge", "broken starts")
    faults_per_day: float = 4.0  # of each deployment
    changes_per_day: float = 2.0
    restarts: int = 3  # of the engine
    start_delay_s: float = 30.0
    room_for_all: bool = False  # no stockouts, outages, preemptions

    @property
    def calm_from(self) -> float:
        return self.seconds - self.calm_s


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
    wedged: bool = False  # found to be stuck
    ready_at: float | None = None
    stuck_since: float | None = None  # it makes no token any more, and ends on SIGKILL alone
    silent: bool = False  # where it is stuck: it does not answer either
    quits_at: float | None = None  # its last request ends, once it drains
    ends_at: float | None = None

    def enter(self, stage: Stage, now: float) -> None:
        assert stage in STAGES_AFTER[self.stage], f"{self.id}: {self.stage} -> {stage}"
        self.stage, self.stage_since = stage, now
        if stage == Stage.READY and self.ready_at is None:
            self.ready_at = now

    def taken_over(self, now: float) -> None:
        """By an engine that was started again and knows nothing but that it lives."""
        self.stage, self.stage_since = Stage.INITIALIZING, now
        self.in_flight, self.ready_at, self.wedged = 0, None, False

    def well(self) -> bool:
        return not self.dead and self.stuck_since is None


@dataclass(slots=True)
class Look:
    """What the rules about scaling need to know of a look: the load at it, and whether that was seen whole."""

    at: float
    load: float
    blind: bool


@dataclass(slots=True)
class Deployed:
    """One deployment: its declaration, its replicas, and the load that it is under."""

    name: str
    policy: Policy
    need: Need
    generation: str = "g0"
    generations: int = 1
    broken: set[str] = field(default_factory=set)  # settings with which no replica ever starts
    deleted: bool = False
    state: str = CREATING
    count: int = 0  # what the autoscaler wants
    codes: set[Code] = field(default_factory=set)  # of its last decision
    memory: Memory = field(default_factory=Memory)
    history: LoadHistory = field(default_factory=lambda: LoadHistory(1000.0))
    starts: Starts = field(default_factory=Starts)
    progress: Progress = field(default_factory=Progress)
    units: dict[str, Unit] = field(default_factory=dict)
    load: float = 0.0
    concurrency: float = 0.0  # the load, and what still drains
    load_until: float = 0.0
    idle_since: float = 0.0
    held_since: float | None = None
    broken_until: float = 0.0
    looked_at: float = 0.0
    # For the checks alone:
    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=400))
    raised_at: float = 0.0  # the count, or all windows began anew
    used_at: float = 0.0
    at_rest_since: float | None = None  # not as declared, and nothing under way
    unsettled_at: float = 0.0

    @property
    def desired(self) -> int:
        return 0 if self.deleted else self.count

    def first_count(self) -> int:
        return self.policy.clamp(max(1, self.policy.min_replicas))

    def serving(self) -> Iterator[Unit]:
        """Those that count, dead or not: nobody has looked at them yet."""
        return (unit for unit in self.units.values() if unit.stage in SERVING)

    def ready(self) -> list[Unit]:
        return [unit for unit in self.units.values() if unit.stage == Stage.READY and not unit.dead]

    def ready_since(self, generation: str) -> list[float]:
        ready = (u for u in self.units.values() if u.stage == Stage.READY and u.generation == generation)
        return [u.ready_at for u in ready if u.ready_at is not None]
