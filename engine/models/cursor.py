"""A bounded way through a file whose numbers cannot be trusted.

Every step is checked against the file's size before anything is read or allocated, so a length field that lies costs
nothing (CVE-2026-7482: a declared size larger than the file leaked the heap of another server). The file is read with
`pread` and never mapped: a file cut short while it is mapped would end the process with SIGBUS.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client.errors import InvalidArgument

WINDOW_BYTES = 1 << 20

_U64 = struct.Struct("<Q")


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A read-only file descriptor of a regular file; InvalidArgument for anything else.

    O_NONBLOCK keeps a named pipe from blocking the engine before we have seen that it is one.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{path} is not a file", field="file", hint="name a .gguf file itself")
        yield fd
    finally:
        os.close(fd)


def unreadable(path: Path, error: OSError | ValueError) -> InvalidArgument:
    """Why a path cannot be opened, with what to do about it."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InvalidArgument(f"there is no file {path}", field="file", hint="check the path's spelling")
    if isinstance(error, PermissionError):
        return InvalidArgument(f"{path} may not be read by this user", field="file", hint=f"allow it: chmod u+r {path}")
    reason = error.strerror if isinstance(error, OSError) else "the path holds a NUL character"
    return InvalidArgument(f"{path} cannot be read: {reason}", field="file")


class Array(NamedTuple):
    """Where an array's items lie in a GGUF file; they are read only by who needs them."""

    item_type: int
    length: int
    offset: int


class Cursor:
    """Reads little-endian values from `fd`, `size` bytes long, forwards from byte 0.

    Every method raises InvalidArgument, naming the file, when the bytes it needs are not there.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._window = b""
        self._start = 0  # file offset of the window's first byte
        self._at = 0  # next byte, within the window

    @property
    def position(self) -> int:
        """File offset of the next byte."""
        return self._start + self._at

    @property
    def remaining(self) -> int:
        return self.size - self.position

    def bad(self, what: str, hint: str | None = None) -> InvalidArgument:
        """The error for a fact about this file that rules it out."""
        return InvalidArgument(
            f"{self.name} is not a usable GGUF file: {what}",
            field="file",
            hint=hint or "download it again, or convert the model again with a current llama.cpp",
        )

    def jump(self, offset: int) -> None:
        """Continue at a file offset that was reached before."""
        self._window, self._start, self._at = b"", offset, 0

    def take(self, count: int) -> bytes:
        self._need(count)
        chunk = self._window[self._at : self._at + count]
        self._at += count
        return chunk

    def skip(self, count: int) -> None:
        """Pass over `count` bytes without reading them."""
        if count > self.remaining:
            raise self._cut_off()
        self._at += count
        if self._at > len(self._window):
            self.jump(self.position)

    def unpack(self, layout: struct.Struct) -> tuple[int | float, ...]:
        return layout.unpack(self.take(layout.size))

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def strings(self, count: int, limit_bytes: int) -> Iterator[bytes]:
        """`count` length-prefixed strings, each at most `limit_bytes` long, one at a time.

        This loop runs once for each token of a vocabulary (262,144 for Gemma 3): it touches the window directly.
        """
        for _ in range(count):
            if len(self._window) - self._at < 8:
                self._need(8)
            length: int = _U64.unpack_from(self._window, self._at)[0]
            if length > limit_bytes:
                raise self.bad(f"it declares a text of {length:,} bytes (at most {limit_bytes:,} are accepted)")
            if len(self._window) - self._at < 8 + length:
                self._need(8 + length)
            begin = self._at + 8
            self._at = begin + length
            yield self._window[begin : self._at]

    def _need(self, count: int) -> None:
        """Have at least `count` bytes ahead in the window."""
        ahead = len(self._window) - self._at
        if ahead >= count:
            return
        if count > self.remaining:
            raise self._cut_off()
        fresh = os.pread(self._fd, max(count - ahead, WINDOW_BYTES), self.position + ahead)
        self._window, self._start, self._at = self._window[self._at :] + fresh, self.position, 0
        if len(self._window) < count:  # it was cut short while we read it
            raise self._cut_off()

    def _cut_off(self) -> InvalidArgument:
        return self.bad(f"it ends too early, at byte {self.size:,}", "the download was cut off: fetch it again")
