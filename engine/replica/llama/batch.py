"""What one llama.cpp call reads: tokens with their positions and sequences, in arrays of ours behind a llama_batch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, TypeAlias

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = NDArray[np.int32]


class Batch:
    """Up to `capacity` tokens, each of one sequence.

    `tokens`, `positions`, `sequences` (int32) and `outputs` (int8: 1 where a row of results is wanted) are arrays of
    that length to write into: by slices, which is 100 times faster than by ctypes elements.
    """

    def __init__(self, capacity: int) -> None:
        self.tokens, self.positions, self.sequences = (np.zeros(capacity, np.int32) for _ in range(3))
        self.outputs = np.zeros(capacity, np.int8)
        # The struct holds addresses only: these two live here as long as it does.
        self._sequence_counts = np.ones(capacity, np.int32)
        self._sequence_addresses = self.sequences.ctypes.data + 4 * np.arange(capacity, dtype=np.uint64)
        pointer_to = ctypes.POINTER
        self._struct = C.llama_batch(
            0,
            self.tokens.ctypes.data_as(pointer_to(C.llama_token)),
            None,
            self.positions.ctypes.data_as(pointer_to(C.llama_pos)),
            self._sequence_counts.ctypes.data_as(pointer_to(ctypes.c_int32)),
            self._sequence_addresses.ctypes.data_as(pointer_to(pointer_to(C.llama_seq_id))),
            self.outputs.ctypes.data_as(pointer_to(ctypes.c_int8)),
        )

    def write(self, at: int, sequence: int, tokens: Sequence[int] | Tokens, start: int) -> int:
        """Tokens of one sequence, at positions from `start`, into the places from `at`. Returns the place after."""
        end = at + len(tokens)
        self.tokens[at:end], self.sequences[at:end] = tokens, sequence
        self.positions[at:end] = np.arange(start, start + len(tokens), dtype=np.int32)
        return end

    def first(self, n: int) -> Any:
        """The llama_batch of the first `n` places; the next call of this gives the same one."""
        self._struct.n_tokens = n
        return self._struct
