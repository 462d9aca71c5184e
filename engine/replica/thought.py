"""A limit on a model's reasoning: after so many tokens its end is written for the model, which then answers.

Source: https://docs.fireworks.ai/guides/reasoning (`thinking.budget_tokens`, `reasoning_effort` as a number).
"""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass

from engine.replica.tools import ReasoningSplitter


@dataclass(frozen=True, slots=True)
class ThoughtLimit:
    """`tokens` of reasoning at most, between the spellings `opening` and `closing`; `end`: `closing` as token ids.
    `inside`: the prompt has opened it already."""

    tokens: int
    opening: str
    closing: str
    end: tuple[int, ...]
    inside: bool


class Thought:
    """The reasoning of one sequence, token by token."""

    def __init__(self, limit: ThoughtLimit) -> None:
        self._left = limit.tokens
        self._end = limit.end
        self._splitter = ReasoningSplitter(limit.opening, limit.closing, inside=limit.inside)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._due: deque[int] = deque()
        self._over = False

    @property
    def due(self) -> int | None:
        """The token that has to come next, whatever the model would say."""
        return self._due[0] if self._due else None

    def accept(self, token: int, piece: bytes) -> None:
        """`token`, spelled `piece`, was written."""
        if self._over:
            return
        if self._due:
            self._due.popleft()
            self._over = not self._due
            return
        self._left -= self._splitter.inside
        self._splitter.push(self._decoder.decode(piece))
        self._over = self._splitter.answering
        if self._left <= 0 and not self._over:
            self._due.extend(self._end)
