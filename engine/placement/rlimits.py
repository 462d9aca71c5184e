"""What a replica process may not exceed, set from outside right after its start (Linux; elsewhere nothing is set).

From outside, because code between fork and exec of a process with threads can deadlock.
"""

from __future__ import annotations

import contextlib
import resource
import sys

from engine.placement.port import Need

OPEN_FILES = 4096
# Of any file it writes, and so of its log, however fast that is flooded between two looks of the replica's own limit.
FILE_BYTES = 64 << 20
# Private writable memory: what leaks and runaway requests take. Mapped model files are not counted, and the address
# space is not limited at all: CUDA reserves terabytes of it.
MEMORY_FACTOR = 2
MEMORY_SLACK_BYTES = 1 << 30


def dump_no_core() -> None:
    """For this process and all that it starts: prompts and keys in memory never land on a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bound(pid: int, need: Need) -> None:
    """Core dumps (they would hold prompts) off, files and memory bounded; a process that is gone is fine."""
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: OPEN_FILES}
    if not need.accelerators:  # what CUDA shares with other processes are files, too
        limits[resource.RLIMIT_FSIZE] = FILE_BYTES
    if need.model_bytes and not need.accelerators:  # CUDA's own pinned and managed memory cannot be foreseen
        limits[resource.RLIMIT_DATA] = MEMORY_FACTOR * need.memory_bytes + MEMORY_SLACK_BYTES
    if sys.platform != "linux":
        return
    for limit, most in limits.items():
        with contextlib.suppress(OSError, ValueError):
            hard = resource.prlimit(pid, limit)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, limit, (most, most))
