"""What other threads ask of the scheduler, to be done on its own, and how many jobs it has been given."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from client.errors import ResourceExhausted, Unavailable

Command = Callable[[], None]

MAX_JOBS = 1024


class Inbox:
    """`take_in` and `put` are thread safe, as are the attributes to read; the rest is the owning thread's.

    `jobs`: taken in and not over; `busy_since`: when the first of them came, monotonic seconds.
    """

    def __init__(self) -> None:
        self.jobs = 0
        self.busy_since = time.monotonic()
        self.closed = False
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def take_in(self, jobs: int, command: Command) -> None:
        """Count so many jobs more, which `command` starts. Raises ResourceExhausted when there are too many, and
        Unavailable after `close`."""
        with self._lock:
            if self.closed:
                raise Unavailable("this replica is shutting down", retry_after_s=1.0)
            if self.jobs + jobs > MAX_JOBS:
                raise ResourceExhausted("too many requests are waiting on this replica", retry_after_s=1.0)
            if not self.jobs:
                self.busy_since = time.monotonic()
            self.jobs += jobs
            self._commands.put(command)

    def put(self, command: Command) -> None:
        self._commands.put(command)

    def close(self) -> None:
        """Take in no more jobs."""
        with self._lock:
            self.closed = True

    def ended(self) -> None:
        """One job is over."""
        with self._lock:
            self.jobs -= 1

    def obey(self, *, wait: bool = False) -> None:
        """Carry out what was asked by now; `wait` for something when there is nothing."""
        while wait or not self._commands.empty():
            self._commands.get()()
            wait = False

    def obey_all(self) -> None:
        """The same, whatever the commands raise."""
        while not self._commands.empty():
            with contextlib.suppress(Exception):
                self._commands.get()()
