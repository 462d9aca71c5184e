"""Drafts from a text that the client expects: the answer is mostly that text with some edits (predicted outputs)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.replica.speculation.grams import keys_at_end, keys_by_size

GRAMS = range(2, 5)
NOWHERE: NDArray[np.int64] = np.zeros(0, np.int64)
SKIPPED_TOKENS = 4  # a deletion of at most this many tokens is recognised by the first token after it


class PredictedText:
    """A pointer into the prediction. It follows the output and proposes what comes after it.

    At a mismatch it bets on an edit of one token: replaced (the pointer steps over it), inserted or left out, which
    the token itself or the next one shows. When that bet fails it is lost and proposes nothing, until the last 4, 3 or
    2 tokens of the output occur in the prediction ahead of where it was lost (behind it, for 3 or more: a repeat);
    of several places it takes the nearest, and 2 tokens must be unique ahead. The index is built once; a token costs
    a few look-ups.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self._places = {n: _Places(keys, n) for n, keys in keys_by_size(self._tokens, GRAMS).items()}
        self._pairs = set(zip(self._tokens, self._tokens[1:], strict=False))
        self._tail: deque[int] = deque(maxlen=GRAMS[-1])
        self._next: int | None = 0 if self._tokens else None  # what the pointer is at; None: lost
        self._missed: int | None = None  # where the last mismatch was, while the bet on one edited token is open
        self._lost_at = 0
        self.run = 0  # tokens in a row that were as predicted: how sure the pointer is

    @property
    def expected(self) -> int | None:
        """The token proposed first, or None when nothing is."""
        return None if self._next is None or self._next >= len(self._tokens) else self._tokens[self._next]

    def propose(self, limit: int) -> list[int]:
        """At most `limit` tokens that should come next; none while lost or at the end of the prediction."""
        return [] if self._next is None else self._tokens[self._next : self._next + max(0, limit)]

    def advance(self, token: int) -> None:
        """Follow one token of the output."""
        self._tail.append(token)
        if self._next is not None and self.expected == token:
            self._next += 1
            self.run += 1
            if self.run > 1:
                self._missed = None
        else:
            self._mismatch(token)

    def _mismatch(self, token: int) -> None:
        if self._missed is not None and self._tokens[self._missed] == token:  # the token before was inserted
            self._move(self._missed + 1, run=1)
        elif self._missed is None and self._next is not None and self._next < len(self._tokens):
            self._bet(token, self._next)
        else:
            self._resynchronise()

    def _bet(self, token: int, at: int) -> None:
        """Assume one edit at `at`: tokens were left out if `token` comes soon after, else one was replaced."""
        self._lost_at = at
        ahead = self._tokens[at + 1 : at + 1 + SKIPPED_TOKENS]
        if token in ahead:
            self._move(at + 2 + ahead.index(token), run=1)
        else:
            self._move(at + 1, run=0)
        self._missed = at

    def _move(self, to: int, *, run: int) -> None:
        self._next, self._missed, self.run = to, None, run

    def _resynchronise(self) -> None:
        if self._next is not None:
            self._lost_at = min(self._lost_at, self._next) if self._missed is not None else self._next
        self._next, self._missed, self.run = None, None, 0
        tail = tuple(self._tail)
        if tail[-2:] not in self._pairs:  # nor can a longer gram be: nearly always so in text that is not as predicted
            return
        for n, key in reversed(keys_at_end(tail, GRAMS).items()):
            end = self._place(key, n)
            if end is not None and self._tokens[end - n : end] == list(tail[-n:]):
                self._move(end, run=n)
                return

    def _place(self, key: int, n: int) -> int | None:
        """Where in the prediction the text after a gram of n tokens begins."""
        ends = self._places[n].of(key) if n in self._places else NOWHERE
        if not len(ends):
            return None
        ahead = ends[np.searchsorted(ends, self._lost_at, "right") :]
        if n == GRAMS[0]:
            return int(ahead[0]) if len(ahead) == 1 else None
        return int(ahead[0] if len(ahead) else ends[0])


class _Places:
    """Where each gram of n tokens ends, found by its hash."""

    def __init__(self, keys: NDArray[np.uint64], n: int) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys, self._ends = keys[order], order + n

    def of(self, key: int) -> NDArray[np.int64]:
        """The ends, ascending."""
        wanted = np.uint64(key)
        first, last = (np.searchsorted(self._keys, wanted, side) for side in ("left", "right"))
        return self._ends[first:last]
