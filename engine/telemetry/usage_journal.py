"""What the tally has not written to the database yet, as lines in two files of the data folder.

    usage-0.journal, usage-1.journal      a line a request: JSON that begins with its number

A line is written before its request's end is told to the client, in one call and without a sync: it survives the end
of this process, however that comes, and not that of the machine. While the database takes what stands in one file, new
lines go to the other; what it has taken is told by its number there, so that no line counts twice. A disk that is full
loses nothing as long as the engine lives: the tally holds the same in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FILES = ("usage-0.journal", "usage-1.journal")
BYTES_MAX = 64 << 20  # of one file, while the database takes nothing


class UsageJournal:
    """One engine's. `open()` before `add`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[int] = []
        self._bytes = [0, 0]
        self._present = 0
        self._torn = False  # a full disk, or the end of the machine, cut the last line

    def open(self) -> None:
        for name in FILES:
            file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._files.append(file)
        self._bytes = [os.fstat(file).st_size for file in self._files]
        last = self._bytes[self._present] - 1
        self._torn = last >= 0 and os.pread(self._files[self._present], 1, last) != b"\n"

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []

    def left(self) -> Iterator[list[Any]]:
        """What an earlier engine left, in no order; what a crash or a full disk has torn is passed over."""
        for name in FILES:
            for line in (self._folder / name).read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, list):
                        yield entry

    def add(self, entry: list[Any]) -> None:
        if not self._files or self._bytes[self._present] > BYTES_MAX:
            return
        line = b"%s%s\n" % (b"\n" if self._torn else b"", json.dumps(entry).encode())
        try:
            written = os.write(self._files[self._present], line)
        except OSError as error:
            written = 0
            if not self._torn:
                log.warning("usage is in memory alone until it is written: %s", error.strerror)
        self._torn = written < len(line)
        self._bytes[self._present] += written

    def turn(self) -> None:
        """New lines go to the other file from now on, where that is empty."""
        other = 1 - self._present
        if not self._bytes[other]:
            self._present = other

    def taken(self) -> None:
        """The database has all that was there when it was turned."""
        other = 1 - self._present
        if self._bytes[other]:
            os.ftruncate(self._files[other], 0)
            self._bytes[other] = 0
