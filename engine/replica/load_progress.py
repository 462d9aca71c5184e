"""Whether a loader goes on, so that one that hangs is told from one that has much to read.

Signs are the part of the model that llama.cpp says is loaded, the bytes that this process has read from storage (with
mapped files the part says little), and the processor time of the loading thread (it measures and compiles, too). A
thread that waits for storage that never answers, or for a lock, shows none of them.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

_IO = Path("/proc/self/io")  # proc(5)
TICK_S = 0.01  # less processor time than this is no sign: a thread that waits wakes up now and then


class LoadProgress:
    """`follow()` on the thread that loads, then `fraction` as it goes; `age_s()` from any thread, again and again."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self._clock: int | None = None
        self._over = False
        self._signs: tuple[float, int, int] | None = None
        self._moved_at = time.monotonic()

    def follow(self) -> None:
        """The calling thread is the one that loads."""
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(threading.get_ident())

    def end(self) -> None:
        """Loading is over, well or not."""
        self._over = True

    def age_s(self) -> float:
        """Since the loader was last seen to go on; 0 when it is over, and where a system shows no processor times."""
        now, signs = time.monotonic(), self._look()
        if signs is None or signs != self._signs:
            self._signs, self._moved_at = signs, now
        return now - self._moved_at

    def _look(self) -> tuple[float, int, int] | None:
        if self._over or self._clock is None:
            return None
        try:
            return self.fraction, _bytes_read(), int(time.clock_gettime(self._clock) / TICK_S)
        except OSError:  # the thread has just ended
            return None


def _bytes_read() -> int:
    """From storage, by this process so far; 0 where the system does not tell."""
    try:
        lines = _IO.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
