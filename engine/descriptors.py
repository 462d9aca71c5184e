"""File descriptors of this process: how many it may have, and for how many clients they do."""

from __future__ import annotations

import os
import resource

WANTED = 1 << 16
RESERVE = 16  # for files and replicas that are opened later
OF_A_CLIENT = 2  # its connection, and one to a replica
PLACES_MIN = 4


def raise_limit() -> None:
    """As many as this process may give itself, up to WANTED. (Replicas have a limit of their own.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def places() -> int | None:
    """How many clients may be connected at a time, beside all that is open now. None: any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(PLACES_MIN, (soft - _open() - RESERVE) // OF_A_CLIENT)


def _open() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # not every system has it
        return 0
