"""What the keeper of a deployment is given by its engine: what it shares with all others, and the way to tell of it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from engine.clock import Clock
from engine.fleet.line import Line
from engine.fleet.lived import Lived
from engine.fleet.notes import Notes
from engine.library import Library
from engine.placement.port import Driver
from engine.store.store import Store


class Announce(Protocol):
    """Write an event of this deployment."""

    def __call__(self, kind: str, reason: str, message: str, replica: str | None = None) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """What every deployment shares: where replicas run, where records and model files are, what time it is."""

    driver: Driver
    store: Store
    library: Library
    clock: Clock
    line: Line = field(init=False)  # of the replicas that wait for a place by this driver
    lived: Lived = field(init=False)  # time that cannot be set
    notes: Notes = field(init=False)  # of what the engine did, written as soon as the disk takes it

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", Line(self.driver, self.clock))
        object.__setattr__(self, "lived", Lived(self.store, self.clock))
        object.__setattr__(self, "notes", Notes(self.store, self.clock))
