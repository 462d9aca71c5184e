"""Keeps a replica's own log file bounded, whoever floods it: llama.cpp, a library, or Python.

The file is the one behind standard error, opened by whoever started this process. When it has grown past the limit it
begins anew with its end. Where standard error is a terminal or a pipe, nothing is done.
"""

from __future__ import annotations

import fcntl
import os
import stat

LIMIT_BYTES = 8 * 1024 * 1024
KEPT_BYTES = 256 * 1024
CUT = b"[the log had grown too long: its older part was dropped]\n"


class LogLimit:
    """`check()` now and then, on any thread. `fd` is the log's descriptor; its writers share its file."""

    def __init__(self, fd: int = 2, limit_bytes: int = LIMIT_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
        self._fd = fd
        self._limit, self._kept = limit_bytes, kept_bytes
        self._bounded = stat.S_ISREG(os.fstat(fd).st_mode)
        if self._bounded:
            # Writers go to the end wherever it is; else the next line after a cut would leave a hole before it.
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)

    def check(self) -> None:
        """Cut the log if it is too long. A disk that is full costs the log its end, never the replica its life."""
        if not self._bounded or os.fstat(self._fd).st_size <= self._limit:
            return
        try:
            end = self._end()
            os.ftruncate(self._fd, 0)
            os.write(self._fd, CUT + end)
        except OSError:
            return

    def _end(self) -> bytes:
        """The last whole lines, read through a descriptor of its own: ours may be for writing only."""
        try:
            reader = os.open(f"/dev/fd/{self._fd}", os.O_RDONLY)
        except OSError:
            return b""
        try:
            end = os.pread(reader, self._kept, max(0, os.fstat(reader).st_size - self._kept))
        finally:
            os.close(reader)
        return end.partition(b"\n")[2]
