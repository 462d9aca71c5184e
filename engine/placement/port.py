"""What a placement driver must do: put replica processes somewhere and tell whether they still live.

A driver starts and stops; it never decides. Health, routing and restarts belong to `engine.fleet`. Nothing outside a
driver may know which one runs: a replica is reached at `Placed.socket` with `Launch.key`, wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Stockout(Exception):
    """No room for one more replica now; the message says what is short."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that a replica process needs to know. `context_tokens` is per sequence.

    `draft_tokens`, the most drafted a step, and `ngram_length` are 0 where they are off. `adapters_cached`: LoRA
    adapters in memory at once; `adapter_sequences`: sequences that may use one at once; `devices`: accelerators to
    split the model over; `threads`: of the CPU, at most `cores` of which are this replica's where it chooses by itself.
    None leaves each to the replica.
    """

    replica: str
    deployment: str
    model_file: Path
    key: str = field(repr=False)
    slots: int
    context_tokens: int
    cores: int
    threads: int | None = None
    draft_file: Path | None = None
    draft_tokens: int = 0
    ngram_length: int = 0
    adapters_cached: int | None = None
    adapter_sequences: int | None = None
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A replica process that was started: enough to find it again after a restart.

    A pid alone may have been given to another process since; `socket` holds a random id that only the right one has.
    """

    replica: str
    socket: Path
    pid: int


class Driver(Protocol):
    """Where replicas run."""

    simulated: bool

    def socket_of(self, replica: str) -> Path:
        """Where a replica of this id will listen, known before it starts."""
        ...

    async def start(self, launch: Launch) -> Placed:
        """Start the process (not waiting until it serves); raises Stockout when there is no room."""
        ...

    def alive(self, placed: Placed) -> bool:
        """True while the very process that was placed exists (zombies do not count)."""
        ...

    def stop(self, placed: Placed, *, force: bool) -> None:
        """Ask the process group to end (SIGTERM), or with `force` end it (SIGKILL). Dead already is fine."""
        ...

    def forget(self, placed: Placed) -> None:
        """The process is gone: remove what it left behind."""
        ...

    def last_words(self, replica: str) -> str:
        """The last lines that the replica logged, for a human, at most 2000 characters."""
        ...

    def close(self) -> None:
        """The engine ends and has stopped every replica: remove what is empty."""
        ...

    def strays(self, known_pids: frozenset[int]) -> list[Placed]:
        """Replica processes of this data folder that are not among `known_pids`."""
        ...
