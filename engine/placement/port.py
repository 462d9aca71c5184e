"""What a placement driver must do: put replica processes somewhere and tell whether they still live.

A driver starts and stops; it never decides. Health, routing and restarts belong to `engine.fleet`. Nothing outside a
driver may know which one runs: a replica is reached at `Placed.socket` with `Launch.key`, wherever it is. What every
driver must keep to is written down as tests: `tests/placement/conformance.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

REGION_UNSPECIFIED = "REGION_UNSPECIFIED"


class Stockout(Exception):
    """No room for one more replica now, though there are nodes that could hold one; the message says what is short."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one replica takes, and where it may stand.

    `accelerator_type` None: any; `accelerators`: that many of one node, 0: none; `regions` None: anywhere.
    `model_bytes` (weights, caches, buffers) lie on the accelerators where there are any, else beside `process_bytes`
    in the node's memory. 0: not known. `preemptible`: it gives its place to a replica that is not, and finds none.
    """

    accelerator_type: str | None = None
    accelerators: int = 0
    regions: frozenset[str] | None = None
    model_bytes: int = 0
    process_bytes: int = 0
    threads: int = 1
    preemptible: bool = False

    @property
    def memory_bytes(self) -> int:
        """Of the node's own memory."""
        return self.process_bytes if self.accelerators else self.process_bytes + self.model_bytes

    @property
    def device_bytes(self) -> int:
        """Of the memory of each of its accelerators."""
        return -(-self.model_bytes // self.accelerators) if self.accelerators else 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine with its labels and its capacity; `free_...` is what no replica has been given.

    `accelerator_type` is the wire's word, None where it has none for them; `device` is for people.
    `free_device_bytes` has an entry for each accelerator; one that is another's alone has 0.
    `threads` may be promised more than once over: they run on `cores`; 0: each has one of its own.
    `closed` says why it takes no replica at the moment; "" when it does.
    """

    name: str
    device: str
    memory_bytes: int
    free_memory_bytes: int
    threads: int
    free_threads: int
    region: str = REGION_UNSPECIFIED
    accelerator_type: str | None = None
    accelerators: int = 0
    accelerator_bytes: int = 0
    free_device_bytes: tuple[int, ...] = ()
    price_per_hour: float | None = None
    cores: int = 0
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that a replica process needs to know. `context_tokens` is per sequence.

    `draft_tokens`, the most drafted a step, and `ngram_length` are 0 where they are off. `adapters_cached`: LoRA
    adapters in memory at once; `adapter_sequences`: sequences that may use one at once; `threads`: of the CPU, at most
    `cores` of which are this replica's where it chooses by itself. None leaves each to the replica.
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
    need: Need = Need()


@dataclass(frozen=True, slots=True)
class Placed:
    """A replica process that was started: enough to find it again after a restart.

    A pid alone may have been given to another process since; `socket` holds a random id that only the right one has.
    """

    replica: str
    socket: Path
    pid: int


class Taken(enum.StrEnum):
    """How its place was taken from a replica, as events name it: nothing of that is its deployment's fault."""

    PREEMPTED = "Preempted"  # by the node's owner, who had lent it for as long as it could be spared
    NODE_LOST = "NodeLost"


class Driver(Protocol):
    """Where replicas run."""

    simulated: bool
    reads_files: bool  # False: a replica needs no model file, and none is fetched for it

    async def open(self) -> None:
        """Recover what an earlier engine left running. Called once, before anything else."""
        ...

    def nodes(self) -> list[Node]:
        """Every node with its labels and what is free on it now; those that are closed or down too."""
        ...

    def would_be(self, node: str, gone: Collection[Placed], come: Collection[Need]) -> Node | None:
        """The node of this name as it would be had these of its replicas ended, and some of such needs been placed
        there: with no more room than there would be. None: there is no such node."""
        ...

    def socket_of(self, replica: str) -> Path:
        """Where a replica of this id will listen, known before it starts."""
        ...

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        """Start the process on a node that meets `launch.need` and is none of `kept`, whose room is for others; not
        waiting until it serves.

        Raises Stockout when none has room now, FailedPrecondition when none could ever have.
        """
        ...

    def alive(self, placed: Placed) -> bool:
        """True while the very process that was placed exists (zombies do not count)."""
        ...

    def node_of(self, placed: Placed) -> Node | None:
        """Where a living replica stands; None when it is gone."""
        ...

    def stop(self, placed: Placed, *, force: bool) -> None:
        """Ask the process group to end (SIGTERM), or with `force` end it (SIGKILL). Dead already is fine."""
        ...

    def forget(self, placed: Placed) -> None:
        """The process is gone: remove what it left behind, and count its room as free."""
        ...

    def ending(self, placed: Placed) -> str:
        """How its process ended, for a human: by which signal, with which exit status, or that nobody could see it.

        "" while it lives; to be asked before `forget`.
        """
        ...

    def crashed(self, placed: Placed) -> bool:
        """Whether its process is seen to have ended by its own fault: a crash or a failure, be it that the kernel ended
        it for want of memory, not a signal from outside.

        False while it lives, and where nobody could see it; to be asked before `forget`.
        """
        ...

    def taken(self, placed: Placed) -> Taken | None:
        """How its place was taken from it, where its process ended for that; to be asked before `forget`."""
        ...

    def last_words(self, replica: str) -> str:
        """The last lines that the replica logged, for a human, at most 2000 characters."""
        ...

    def close(self) -> None:
        """The engine ends and has stopped every replica: remove what is empty."""
        ...

    def strays(self, known: frozenset[Path]) -> list[Placed]:
        """Living replicas of this data folder whose sockets are not among `known`."""
        ...
