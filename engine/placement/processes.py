"""Replica processes as this machine shows them: whose they are, what they were promised, what they have taken.

What a replica was promised stands in its environment, where the next engine reads it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.placement import devices
from engine.placement.port import Need

PROMISE = "FIREDECK_REPLICA_NEED"


@dataclass(frozen=True, slots=True)
class Promise:
    """What one living replica was given. `gpus`: ids; the need's bytes lie on each of them in equal parts."""

    need: Need
    gpus: tuple[str, ...] = ()


def held_by_others(ours: Collection[int]) -> list[list[str]]:
    """The GPUs of each replica that lives on this machine and is none of `ours`, by pid: another engine's. Read from
    their environment, which a process lacks for a moment after its start, so not the way for those just started."""
    held = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if pid not in ours and runs_on(pid) is not None:
                held.append(psutil.Process(pid).environ().get(devices.VISIBLE, "").split(","))
    return held


def runs_on(pid: int) -> Path | None:
    """The socket of the replica that this process is, or None: no process, a zombie, or something else."""
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        if "engine.replica" not in command or "--socket" not in command[:-1]:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else Path(command[command.index("--socket") + 1])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def resident_bytes(pid: int) -> int | None:
    """None when there is no such process any more."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def private_bytes(pid: int) -> int:
    """Memory that is free once it has ended: pages of files stay in the system's cache, which is free as it is."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return max(0, int(memory.rss) - int(memory.shared)) if hasattr(memory, "shared") else int(memory.rss)


def promise_of(pid: int) -> Promise:
    """What a replica process was promised when it was started; nothing where that cannot be read."""
    try:
        environment = psutil.Process(pid).environ()
        accelerators, model_bytes, process_bytes, threads = map(int, environment.get(PROMISE, "").split(","))
    except (psutil.Error, ValueError):
        return Promise(Need())
    need = Need(accelerators=accelerators, model_bytes=model_bytes, process_bytes=process_bytes, threads=threads)
    return Promise(need, tuple(environment.get(devices.VISIBLE, "").split(",")) if accelerators else ())
