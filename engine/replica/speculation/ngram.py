"""Drafts from the request's own text: what followed the last tokens when they occurred before (prompt lookup)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.replica.speculation.grams import keys_at_end, keys_by_size

SHORTEST_GRAM = 2
COMPARED_TOKENS = 16  # how far back a match is measured
MAX_GRAMS = 1 << 16  # of one generation: about 8 MB


class NgramIndex:
    """The latest earlier place where the last n tokens stood, for the largest n from `length` down to 2 that has one.

    Grams are kept by hash in two generations: when the younger is full the older is dropped, so memory is bounded and
    recent text stays found. A hash that collides finds a wrong place, which the comparison of its tokens rejects.
    """

    def __init__(self, length: int, tokens: Sequence[int], *, max_grams: int = MAX_GRAMS) -> None:
        if length < 1:
            raise ValueError(f"an n-gram has at least one token, not {length}")
        self._sizes = range(min(SHORTEST_GRAM, length), length + 1)
        self._max_grams = max_grams
        self._young: dict[int, int] = {}  # hash of a gram -> where the text after it begins
        self._tokens = list(tokens[:-1])
        self._old = self._index()
        self._next: int | None = None  # what followed the match; None: no match
        self.run = 0  # tokens before it that agree: how sure the match is
        if tokens:
            self.advance(tokens[-1])

    @property
    def expected(self) -> int | None:
        """The token proposed first, or None when nothing is."""
        return None if self._next is None else self._tokens[self._next]

    def propose(self, limit: int) -> list[int]:
        """At most `limit` tokens that followed last time. Where that reaches the present, it goes round: a repeated
        text repeats on."""
        if self._next is None or limit <= 0:
            return []
        copied = self._tokens[self._next : self._next + limit]
        while len(copied) < limit:
            copied += copied[: limit - len(copied)]
        return copied

    def advance(self, token: int) -> None:
        """Add one token of the output and find the latest earlier match of its end."""
        followed = self.expected == token
        before = self._next
        self._tokens.append(token)
        keys = keys_at_end(self._tokens, self._sizes)
        self._next = self._latest(keys)
        if followed and before is not None and self._next == before + 1:
            self.run += 1
        else:
            self.run = 0 if self._next is None else self._agreement(self._next)
        for key in keys.values():
            self._young[key] = len(self._tokens)
        if len(self._young) >= self._max_grams:
            self._old, self._young = self._young, {}

    def _latest(self, keys: dict[int, int]) -> int | None:
        for n in sorted(keys, reverse=True):
            place = self._young.get(keys[n]) or self._old.get(keys[n])
            if place is not None and self._tokens[place - n : place] == self._tokens[-n:]:
                return place
        return None

    def _agreement(self, place: int) -> int:
        """How many tokens before `place` equal those at the end of the text, up to COMPARED_TOKENS."""
        tokens, end = self._tokens, len(self._tokens)
        most = min(COMPARED_TOKENS, place)
        return next((n for n in range(most) if tokens[place - 1 - n] != tokens[end - 1 - n]), most)

    def _index(self) -> dict[int, int]:
        """All grams of the text at hand (its end, if it is too long): a later place replaces an earlier one."""
        recent = self._tokens[-(self._max_grams // len(self._sizes)) :]
        first = len(self._tokens) - len(recent)
        index: dict[int, int] = {}
        for n, keys in keys_by_size(recent, self._sizes).items():
            index.update(zip(keys.tolist(), range(first + n, len(self._tokens) + 1), strict=True))
        return index
