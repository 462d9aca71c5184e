"""What a replica and its grammar child say to each other: requests over a socket pair, rows in shared memory.

A request is a header (operation, position, token, length) and as many bytes; an answer is one byte. The memory holds
the unfit tokens, which the first child works out for all, and for each child a row of flags and a clock.
"""

from __future__ import annotations

import mmap
import struct

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.uint8]

OPEN, ADVANCE, ALLOWS, FILL, CLOSE = range(5)  # CLOSE is not answered
NO, YES, READY = range(3)
HEADER = struct.Struct("<BIiI")
LENGTHS = struct.Struct("<II")
ROWS = 3  # one more than there are children, for one that is just being replaced
_CLOCK_BYTES = 8
_MARK_BYTES = 8


def memory_bytes(vocabulary_size: int) -> int:
    return _MARK_BYTES + ROWS * _CLOCK_BYTES + (1 + ROWS) * vocabulary_size


class Memory:
    """Views of the shared memory of one replica."""

    def __init__(self, file: int, vocabulary_size: int) -> None:
        self._map = mmap.mmap(file, memory_bytes(vocabulary_size))
        raw = np.frombuffer(self._map, np.uint8)
        clocks = _MARK_BYTES + ROWS * _CLOCK_BYTES
        self.mark = raw[:1]  # 1 once `unfit` is filled
        self.clocks = raw[_MARK_BYTES:clocks].view(np.float64)  # CPU seconds of each child when its request began
        table = raw[clocks:].reshape(1 + ROWS, vocabulary_size)
        self.unfit: Flags = table[0]
        self.rows = table[1:]


def opening(gbnf: str, tokens: list[int], visible: list[int]) -> bytes:
    """The body of OPEN: the grammar, the tokens already taken, the control tokens that are text."""
    text = gbnf.encode("utf-8")
    lists = np.asarray([*tokens, *visible], "<i4").tobytes()
    return LENGTHS.pack(len(text), len(tokens)) + text + lists


def read_opening(body: bytes) -> tuple[str, list[int], frozenset[int]]:
    size, count = LENGTHS.unpack_from(body)
    end = LENGTHS.size + size
    ids = np.frombuffer(body[end:], "<i4").tolist()
    return body[LENGTHS.size : end].decode("utf-8"), ids[:count], frozenset(ids[count:])
