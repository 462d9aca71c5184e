"""KV cells: what memory does with them, and how many sequences take up where some share them.

A copy has the cells of its source, not its own. So a sequence is a row of runs, each with who computed it. Copies are
taken of whole beginnings: those who have a run of one owner have it from the same position on, and the longest of them
tells how many cells it has.

    source  [0 -------- A -------- 50]             50 cells
    copy    [0 --- A --- 30][30 - B - 42]          12 more
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Protocol

from engine.replica.llama import State

Run = tuple[int, int]  # its first position and its owner; the last run of a sequence grows with it


class Cells(Protocol):
    """What memory needs of the context."""

    slots: int
    capacity: int
    unified: bool

    def keep(self, sequence: int, tokens: int) -> bool: ...
    def copy(self, source: int, target: int) -> None: ...
    def save(self, sequence: int) -> State | None: ...
    def load(self, sequence: int, state: State) -> bool: ...
    def clear(self, *, wipe: bool = False) -> None: ...


class SharedCells:
    """Runs by sequence id; one that was neither copied nor cut has cells of its own. One thread writes, others may call
    `used`."""

    def __init__(self) -> None:
        self._runs: dict[int, list[Run]] = {}
        self._owners = count()

    def copy(self, source: int, target: int, tokens: int) -> None:
        """`target` is a copy of the first `tokens` of `source`."""
        self._runs[target] = self._runs.setdefault(source, [(0, next(self._owners))])
        self.cut(target, tokens)

    def cut(self, identifier: int, tokens: int) -> None:
        """Only the first `tokens` are left; what is computed behind them will be new."""
        kept = [run for run in self._runs.get(identifier, [(0, next(self._owners))]) if run[0] < tokens]
        if not kept or self._is_shared(kept[-1][1], identifier):
            kept.append((tokens, next(self._owners)))
        self._runs[identifier] = kept

    def drop(self, identifier: int) -> None:
        """The sequence is gone."""
        self._runs.pop(identifier, None)

    def clear(self) -> None:
        """All are gone."""
        self._runs.clear()

    def used(self, lengths: Mapping[int, int]) -> int:
        """Cells of the sequences that have these lengths, in tokens, by id."""
        every = self._runs.copy()
        extents: dict[int, tuple[int, int]] = {}  # by owner: the first position, the one after the last
        for identifier, runs in every.items():
            ends = [*(start for start, _ in runs[1:]), lengths.get(identifier, 0)]
            for (start, owner), end in zip(runs, ends, strict=True):
                extents[owner] = start, max(end, extents.get(owner, (start, start))[1])
        own = sum(length for identifier, length in lengths.items() if identifier not in every)
        return own + sum(end - start for start, end in extents.values())

    def _is_shared(self, owner: int, identifier: int) -> bool:
        others = (runs for other, runs in self._runs.items() if other != identifier)
        return any(owner == theirs for runs in others for _, theirs in runs)
