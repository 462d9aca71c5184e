"""What each sequence id of the context holds, and which of it a new prompt can reuse. Pure bookkeeping.

A finished sequence stays in memory until its id is needed. A new prompt takes the longest common prefix of
anything resident under the same key: in place, or copied when the rest of the resident text is worth keeping.
The key is everything that makes KV state foreign: the isolation key today, the adapter set with it tomorrow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CacheKey = tuple[str, ...]

# A copy costs about a millisecond; a token of prefill costs several on a CPU and far less on a GPU.
MIN_COPY_TOKENS = 4
# A resident that loses no more than this to its successor is taken over; more is worth a copy elsewhere.
MAX_LOSS_TOKENS = 16


@dataclass(slots=True)
class Resident:
    """Tokens whose KV state an id holds (a bound on it: `tokens` grows as the sequence decodes)."""

    key: CacheKey
    tokens: list[int]
    used: int  # logical time of the last use


@dataclass(frozen=True, slots=True)
class Placement:
    """Put the prompt at `target`; its first `reuse` tokens are there (or at `source`, to be copied first)."""

    target: int
    reuse: int
    source: int | None = None


class PrefixCache:
    """Residents by sequence id. `free` ids are those that no running request owns."""

    def __init__(self, slots: int) -> None:
        self._residents: list[Resident | None] = [None] * slots
        self._time = 0

    def place(
        self, prompt: Sequence[int], key: CacheKey, free: Collection[int], *, max_reuse: int | None = None
    ) -> Placement:
        """Where a prompt goes. At least its last token is left to evaluate: its logits are not stored."""
        limit = max(0, len(prompt) - 1 if max_reuse is None else min(max_reuse, len(prompt) - 1))
        source, reuse = self._longest(prompt[:limit], key, free)
        if source is None:
            return Placement(self._least_valuable(free), 0)
        if source in free and self._in_place(source, reuse, free):
            return Placement(source, reuse)
        if reuse < MIN_COPY_TOKENS:
            return Placement(self._least_valuable(free), 0)
        others = [i for i in free if i != source]
        return Placement(self._least_valuable(others), reuse, source)

    def _in_place(self, source: int, reuse: int, free: Collection[int]) -> bool:
        """Whether taking the resident over loses little: nearly all of it is reused, or no other id is free."""
        resident = self._residents[source]
        assert resident is not None
        return len(free) == 1 or len(resident.tokens) - reuse < MAX_LOSS_TOKENS

    def _longest(self, prompt: Sequence[int], key: CacheKey, free: Collection[int]) -> tuple[int | None, int]:
        """The id with the longest common prefix (free ids win ties), or (None, 0)."""
        wanted = np.asarray(prompt, np.int32)
        best, best_length, best_free = None, 0, False
        for identifier, resident in enumerate(self._residents):
            if resident is None or resident.key != key:
                continue
            length, is_free = common_prefix(wanted, resident.tokens), identifier in free
            if length > best_length or (length == best_length and length and is_free and not best_free):
                best, best_length, best_free = identifier, length, is_free
        return best, best_length

    def _least_valuable(self, free: Collection[int]) -> int:
        """An empty id if there is one, else the one used longest ago; the lowest id wins ties."""
        return min(free, key=lambda i: (self._used(i), i))

    def _used(self, identifier: int) -> int:
        resident = self._residents[identifier]
        return -1 if resident is None else resident.used

    def hold(self, identifier: int, key: CacheKey, tokens: list[int]) -> None:
        """Record that `identifier` now holds `tokens` (the list is shared, not copied: it may grow)."""
        self._time += 1
        self._residents[identifier] = Resident(key, tokens, self._time)

    def touch(self, identifier: int) -> None:
        """Record that what `identifier` holds was in use until now."""
        self._time += 1
        resident = self._residents[identifier]
        if resident is not None:
            resident.used = self._time

    def drop(self, identifier: int) -> None:
        """Record that `identifier` holds nothing that can be trusted."""
        self._residents[identifier] = None

    def tokens_held(self) -> int:
        """Tokens in memory over all ids, running and idle."""
        return sum(len(r.tokens) for r in self._residents if r is not None)


def common_prefix(wanted: NDArray[np.int32], held: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    n = min(len(wanted), len(held))
    if n == 0 or wanted[0] != held[0]:
        return 0
    different = np.flatnonzero(wanted[:n] != np.asarray(held[:n], np.int32))
    return int(different[0]) if different.size else n
