"""How a process ended, in words for people."""

from __future__ import annotations

import signal

UNSEEN = "how it ended is not known: an earlier engine started it"


def in_words(returncode: int) -> str:
    """Of a code as `subprocess` gives it: an exit status, or the signal that ended it below zero."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:  # real-time signals but the first and the last have none
        return f"killed by signal {-returncode}"
    return f"killed by signal {-returncode} ({name})"
