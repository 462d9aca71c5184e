"""Hashes of n-grams of tokens: of a whole text at once, or of the end of a growing one; the same hash either way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BASE, SALT, MASK = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, (1 << 64) - 1  # odd 64-bit constants


def keys_by_size(tokens: Sequence[int], sizes: range) -> dict[int, NDArray[np.uint64]]:
    """For each n of `sizes` (ascending): hashes of all n-grams; element i is of tokens[i : i + n]."""
    values = np.asarray(tokens, np.uint64) + np.uint64(1)
    keys: dict[int, NDArray[np.uint64]] = {}
    sums = np.zeros(len(values) + 1, np.uint64)
    for n in range(1, min(sizes[-1], len(values)) + 1):
        sums = sums[1:] + values[: len(values) - n + 1] * np.uint64(pow(BASE, n - 1, 1 << 64))
        if n in sizes:
            keys[n] = sums + np.uint64(n * SALT & MASK)
    return keys


def keys_at_end(tokens: Sequence[int], sizes: range) -> dict[int, int]:
    """For each n of `sizes` (ascending): the hash of the last n tokens."""
    keys: dict[int, int] = {}
    sum_, power = 0, 1
    for n, token in enumerate(reversed(tokens[-sizes[-1] :]), 1):
        sum_ += (token + 1) * power
        power = power * BASE & MASK
        if n in sizes:
            keys[n] = (sum_ + n * SALT) & MASK
    return keys
