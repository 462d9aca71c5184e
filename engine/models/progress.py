"""How long work on model files is watched and stopped: bytes done, bytes in all, stage; and an event that cancels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from client.errors import FiredeckError

# progress(done_bytes, total_bytes, stage): total_bytes is None while it is not known.
Progress = Callable[[int, int | None, str], None]

WAITING = "waiting"  # another process is fetching the same file
DOWNLOADING = "downloading"
CHECKING = "checking"  # unpacking and hashing


class Cancelled(FiredeckError):
    """The caller set the cancel event; nothing was left behind."""

    grpc: ClassVar[int] = 1
    name: ClassVar[str] = "CANCELLED"
    status: ClassVar[int] = 499


def silent(done_bytes: int, total_bytes: int | None, stage: str) -> None:
    """A Progress that tells nobody."""


def stop_if(cancel: threading.Event | None) -> None:
    """Raises Cancelled once `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("cancelled before the model file was complete")
