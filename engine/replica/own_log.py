"""What a replica says about itself in its log, which is standard error."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """One line, there at once. A disk that is full costs the line, never the replica its life."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A line with its time, for what is no reason to end."""
    say(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
