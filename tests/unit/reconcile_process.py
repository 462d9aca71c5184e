"""A replica as it is, and the settings that decide how it fares: what the worlds of `reconcile_world` are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.control.reconcile import Stage

LEGAL = {
    None: {Stage.PENDING_SCHEDULING},
    Stage.PENDING_SCHEDULING: {Stage.INITIALIZING, Stage.DOWNLOADING_MODEL, Stage.STOPPING},
    Stage.DOWNLOADING_MODEL: {Stage.INITIALIZING, Stage.STOPPING},
    Stage.INITIALIZING: {Stage.READY, Stage.STOPPING},
    Stage.READY: {Stage.DRAINING, Stage.STOPPING},
    Stage.DRAINING: {Stage.READY, Stage.STOPPING},
    Stage.STOPPING: set(),
}


@dataclass
class Settings:
    """How replicas of a generation fare: `crashes` on load, or dies `lives_s` after it was ready."""

    crashes: bool = False
    lives_s: float | None = None

    @property
    def good(self) -> bool:
        return not self.crashes and self.lives_s is None


@dataclass
class Process:
    """A replica as it is, not as it is seen."""

    id: str
    generation: str
    born_at: float
    stage: Stage = Stage.PENDING_SCHEDULING
    stage_since: float = 0.0
    moves_at: float = 0.0
    alive: bool = True
    work_ends: list[float] = field(default_factory=list)
    stuck_since: float | None = None
    stuck_as: str = ""
    wedged: bool = False
    short: bool = False
    ready_at: float | None = None
    ends_at: float | None = None  # when SIGTERM takes effect
    deaf: bool = False  # to SIGTERM
