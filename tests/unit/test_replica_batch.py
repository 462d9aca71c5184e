"""What llama.cpp reads out of a batch is what was written into its arrays."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import numpy as np

from engine.replica.llama.batch import Batch

Row = tuple[int, int, int, int, int]  # token, position, sequences, the first of them, whether a row is wanted


def read(struct: Any) -> list[Row]:
    """The places of a llama_batch, by its own pointers."""
    return [
        (struct.token[i], struct.pos[i], struct.n_seq_id[i], struct.seq_id[i][0], struct.logits[i])
        for i in range(struct.n_tokens)
    ]


def test_texts_written_one_after_the_other_are_read_in_their_places() -> None:
    chance = random.Random(5)
    batch = Batch(64)
    batch.outputs[:] = 1
    for _ in range(20):  # the arrays are used again and again
        at = 0
        expected: list[Row] = []
        for sequence in range(chance.randrange(1, 5)):
            tokens = [chance.randrange(50_000) for _ in range(chance.randrange(1, 17))]
            start = chance.randrange(200)
            at = batch.write(at, sequence, tokens, start)
            expected += [(token, start + i, 1, sequence, 1) for i, token in enumerate(tokens)]
            assert at == len(expected)
        assert read(batch.first(at)) == expected


def test_columns_written_as_arrays_are_read_row_by_row() -> None:
    batch = Batch(4)
    batch.sequences[:3], batch.tokens[:3], batch.positions[:3] = [0, 2, 3], [7, 8, 9], [10, 0, 5]
    batch.outputs[1] = 1
    assert read(batch.first(3)) == [(7, 10, 1, 0, 0), (8, 0, 1, 2, 1), (9, 5, 1, 3, 0)]
    assert read(batch.first(1)) == [(7, 10, 1, 0, 0)]


def test_no_text_is_embedded_already() -> None:
    batch = Batch(2)
    batch.write(0, 0, np.asarray([3, 4], np.int32), 0)
    assert not ctypes.cast(batch.first(2).embd, ctypes.c_void_p).value  # else llama.cpp would read vectors instead
