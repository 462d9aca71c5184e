"""The lines of a file that is too long to be read: found where they are looked for."""

from __future__ import annotations

from mmap import mmap

LEAST, MOST = 4096, 2**20  # bytes that are looked through at once: few at first, for what is looked for is mostly near


class Lines:
    """`data`: all bytes of the file; what follows its last line end, as a killed writer leaves it, is left out."""

    def __init__(self, data: bytes | mmap) -> None:
        self._data = data
        self.end = len(data)
        self.end = self.rfind(b"\n", 0, self.end) + 1

    def find(self, what: bytes, start: int, stop: int) -> int:
        """Where `what` is found first between `start` and `stop`; -1 for nowhere."""
        size, stop = LEAST, min(stop, self.end)
        while start < stop:
            found = self._data[start : min(start + size + len(what) - 1, stop)].find(what)
            if found >= 0:
                return start + found
            start, size = start + size, min(2 * size, MOST)
        return -1

    def rfind(self, what: bytes, start: int, stop: int) -> int:
        """Where it is found last."""
        size, last = LEAST, min(stop, self.end)
        stop = last
        while start < stop:
            first = max(start, stop - size)
            found = self._data[first : min(stop + len(what) - 1, last)].rfind(what)
            if found >= 0:
                return first + found
            stop, size = first, min(2 * size, MOST)
        return -1

    def part(self, start: int, count: int) -> bytes:
        return self._data[start : start + count]

    def line(self, start: int) -> bytes:
        """The one that begins there, without its end."""
        return self._data[start : self.find(b"\n", start, self.end)]
