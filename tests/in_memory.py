"""Where tests put their files: in memory, where there is plenty. Hundreds of engines wait for the disk at every change,
and longest where others use it, too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from engine.placement import machine
from engine.units import GIB

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "firedeck-tests-"  # then the process
FILES_BYTES, SPARE_BYTES = 4 * GIB, 8 * GIB  # room there must be, and memory that must be left


def folder() -> Path | None:
    """Of this process, not made yet; None where files are better off on the disk."""
    if not os.access(SHARED_MEMORY, os.W_OK):
        return None
    for left in SHARED_MEMORY.glob(f"{PREFIX}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(PREFIX))):  # its process was killed
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(SHARED_MEMORY).free < FILES_BYTES or machine.memory().available < FILES_BYTES + SPARE_BYTES:
        return None
    return SHARED_MEMORY / f"{PREFIX}{os.getpid()}"
