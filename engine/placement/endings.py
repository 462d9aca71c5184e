"""How a process ended: in words for people, and whether by its own fault."""

from __future__ import annotations

import signal

UNSEEN = "how it ended is not known: an earlier engine started it"
FOR_MEMORY = (
    "killed by signal 9 (SIGKILL): the kernel ended it for memory; a smaller maxContextLength or maxBatchSize, fewer "
    "replicas or more memory help"
)

_OWN = (  # of all signals those that a process brings on itself
    signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP,
    signal.SIGXCPU, signal.SIGXFSZ,
)  # fmt: skip


def by_own_fault(returncode: int) -> bool:
    """Whether it crashed. Not where it ended as told, nor where somebody else ended it: an operator, or the kernel for
    want of memory, which SIGKILL does not tell apart (`engine.placement.oom` does)."""
    return returncode > 0 or -returncode in _OWN


def in_words(returncode: int) -> str:
    """Of a code as `subprocess` gives it: an exit status, or the signal that ended it below zero."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:  # real-time signals but the first and the last have none
        return f"killed by signal {-returncode}"
    return f"killed by signal {-returncode} ({name})"
