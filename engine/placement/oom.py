"""Which ends of processes are the kernel's for want of memory: SIGKILL alone does not tell.

The kernel counts those that it ended: in our own cgroup's `memory.events` (version 2) or `memory.oom_control` (version
1), and in `/proc/vmstat` for the whole machine (https://docs.kernel.org/admin-guide/cgroup-v2.html, proc(5)). The first
that can be read is asked. An end by SIGKILL soon after that count has gone up is one of them, and only so many are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from engine.placement import machine

VMSTAT = Path("/proc/vmstat")
FILES = ("memory.events", "memory.oom_control")
LOOK_EVERY_S = 0.5
RECENT_S = 30.0  # from the kernel's end of a process until somebody looks at what is left of it


def counter(cgroups: Path = machine.CGROUPS, membership: Path = machine.MEMBERSHIP) -> Path | None:
    """The file that counts what concerns us and as little else as can be; None where none can be read."""
    folders = sorted(machine.folders("memory", cgroups, membership), key=lambda folder: -len(folder.parts))
    files = [*(folder / name for folder in folders for name in FILES), VMSTAT]
    return next((file for file in files if _count(file) is not None), None)


class OomKills:
    """`look()` while all is well, `took()` when a process is found ended by SIGKILL."""

    def __init__(self, file: Path | None, now: Callable[[], float] = time.monotonic) -> None:
        self._file, self._now = file, now
        self._counted = self._read() or 0
        self._looked_at = now()
        self._rises: list[float] = []  # when the count went up, once for each process that nobody has claimed

    def look(self) -> None:
        """Take note of what the kernel has done; to be called often, and cheap."""
        if self._now() - self._looked_at >= LOOK_EVERY_S:
            self._look()

    def took(self) -> bool:
        """Whether the kernel ended a process just now that was not claimed yet: that one then is."""
        self._look()
        if not self._rises:
            return False
        self._rises.pop(0)
        return True

    def _look(self) -> None:
        now, count = self._now(), self._read()
        self._looked_at = now
        self._rises = [at for at in self._rises if now - at <= RECENT_S]
        if count is not None:
            self._rises += [now] * (count - self._counted)
            self._counted = count

    def _read(self) -> int | None:
        return None if self._file is None else _count(self._file)


def _count(file: Path) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
