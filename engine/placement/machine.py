"""What this machine has for replicas: cores and memory, within what its cgroups allow.

A container sees the whole host in `/proc`; its limits stand in the cgroup files, of version 2 or 1
(https://docs.kernel.org/admin-guide/cgroup-v2.html). A limit of any ancestor holds too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: all that this process and its replicas may have, and what of it is available now."""

    total: int
    available: int


def memory(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> Memory:
    """The machine's, or the tightest cgroup's."""
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    for folder in folders("memory", cgroups, membership):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is None or limit >= machine.total:  # version 1 writes "no limit" as a number near 2^63
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        total = min(total, limit)
        available = min(available, limit - used + _reclaimable(folder))
    return Memory(total, max(0, available))


def cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Cores that may be used, rounded up to a whole one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in folders("cpu", cgroups, membership):
        share = _share(folder)
        if share is not None:
            allowed = min(allowed, max(1, math.ceil(share)))
    return allowed


def folders(controller: str, cgroups: Path, membership: Path) -> Iterator[Path]:
    """The folders of our cgroup of either version and of its ancestors, as far as they can be seen from here."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            top = cgroups
        elif controller in controllers.split(","):
            top = cgroups / controllers
        else:
            continue
        # Inside a cgroup namespace the path may lead out of what is mounted here: then only the top can be seen.
        folder = top if ".." in path.split("/") else top / path.lstrip("/")
        yield top
        while folder != top and top in folder.parents:
            yield folder
            folder = folder.parent


def _number(file: Path) -> int | None:
    """None when there is no such file, or it says "max"."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(folder: Path) -> int:
    """Cached file pages that the kernel gives back when they are needed."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    figures = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(figures.get("total_inactive_file", figures.get("inactive_file", 0)))


def _share(folder: Path) -> float | None:
    """Cores' worth of time that the cgroup may take."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return quota_us / period_us if quota_us and period_us else None
