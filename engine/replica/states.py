"""Sequence states kept in RAM, so that a prompt seen before is restored and not evaluated again. Pure bookkeeping.

Ordinary states are a cache: the one used longest ago goes first, and none is kept that another one covers. A pinned
state is all that is left of a preempted sequence: it stays until it is taken back, and no other replaces it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NewType, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.replica.radix import RadixIndex, Tokens, as_tokens

State = NDArray[np.uint8]
Handle = NewType("Handle", int)  # counted from 1, so a handle is always true; never used twice
S = TypeVar("S", bound=Hashable)


@dataclass(slots=True)
class _Entry(Generic[S]):
    scope: S
    tokens: Tokens
    state: State
    pinned: bool


class StateStore(Generic[S]):
    """States by handle, within `budget_bytes` of state (8 bytes for each token come on top). One thread.

    A handle ends with its entry: `put`, `take` and `drop` can end others than the one they are about, so a
    handle from `longest` is good until the next of these calls. A dead handle raises KeyError.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes_used = self.tokens_kept = 0  # of all states together
        self.hits = 0  # states read with `get`
        self.evictions = 0  # states thrown out for want of room
        self._entries: dict[Handle, _Entry[S]] = {}  # used longest ago first
        self._index: RadixIndex[S, Handle] = RadixIndex()
        self._last_handle = 0

    @property
    def entries(self) -> int:
        return len(self._entries)

    def __contains__(self, handle: object) -> bool:
        return handle in self._entries

    def put(
        self, scope: S, tokens: Sequence[int] | NDArray[np.integer], state: bytes | State, *, pin: bool = False
    ) -> Handle | None:
        """Keep `state` (the buffer itself, not a copy), which holds `tokens`. Its handle, or None when it cannot fit
        beside the pinned ones: then nothing has changed.

        An ordinary state that another one covers is not kept: the other one is touched and its handle returned. A
        pinned one is always kept. Ordinary states that the new one covers go. ValueError for no tokens or no bytes.
        """
        wanted, held = as_tokens(tokens).copy(), np.frombuffer(state, np.uint8)
        if not wanted.size or not held.size:
            raise ValueError("a sequence state needs at least one token and one byte")
        if not pin and (cover := self._cover(scope, wanted)) is not None:
            self._touch(cover)
            return cover
        if not self._make_room(held.nbytes, list(self._covered(scope, wanted))):
            return None
        return self._keep(_Entry(scope, wanted, held, pin))

    def longest(self, scope: S, tokens: Sequence[int] | NDArray[np.integer]) -> tuple[int, Handle | None]:
        """How many of `tokens` the best state shares, and its handle: the one with the fewest further tokens among
        equals. (0, None) when none shares any. Touches nothing."""
        shared, handles = self._index.longest(scope, tokens)
        return shared, handles[0] if handles else None

    def length(self, handle: Handle) -> int:
        """How many tokens the state holds."""
        return len(self._entries[handle].tokens)

    def get(self, handle: Handle) -> State:
        """The state, to be read and not changed. It counts as used now, and as a hit."""
        self._touch(handle)
        self.hits += 1
        return self._entries[handle].state

    def take(self, handle: Handle) -> State:
        """The state, which is kept no longer, pinned or not: the way back of a preempted sequence."""
        return self._forget(handle).state

    def drop(self, handle: Handle) -> None:
        """Keep the state no longer, pinned or not."""
        self._forget(handle)

    def _cover(self, scope: S, tokens: Tokens) -> Handle | None:
        """An entry that begins with all of `tokens`."""
        shared, handle = self.longest(scope, tokens)
        return handle if shared == len(tokens) else None

    def _covered(self, scope: S, tokens: Tokens) -> Iterator[Handle]:
        """The ordinary entries all of whose tokens begin `tokens`."""
        return (handle for handle in self._index.prefixes(scope, tokens) if not self._entries[handle].pinned)

    def _make_room(self, need: int, covered: list[Handle]) -> bool:
        """Forget what is covered, then evict until `need` bytes are free; False, and nothing, when that cannot be."""
        ordinary = [handle for handle, entry in self._entries.items() if not entry.pinned]
        pinned_bytes = self.bytes_used - sum(self._entries[handle].state.nbytes for handle in ordinary)
        if pinned_bytes + need > self.budget_bytes:
            return False
        for handle in covered:
            self._forget(handle)
        for handle in ordinary:
            if self.bytes_used + need <= self.budget_bytes:
                break
            if handle in self._entries:
                self._forget(handle)
                self.evictions += 1
        return True

    def _keep(self, entry: _Entry[S]) -> Handle:
        self._last_handle += 1
        handle = Handle(self._last_handle)
        self._entries[handle] = entry
        self._index.insert(entry.scope, entry.tokens, handle)
        self.bytes_used += entry.state.nbytes
        self.tokens_kept += len(entry.tokens)
        return handle

    def _forget(self, handle: Handle) -> _Entry[S]:
        entry = self._entries.pop(handle)
        self._index.remove(handle)
        self.bytes_used -= entry.state.nbytes
        self.tokens_kept -= len(entry.tokens)
        return entry

    def _touch(self, handle: Handle) -> None:
        self._entries[handle] = self._entries.pop(handle)
