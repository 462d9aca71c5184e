"""A word that is given once, and heard by all who listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Word:
    """Listening costs an entry in a dictionary, and no task: every request does."""

    def __init__(self) -> None:
        self.given = False
        self._listening: dict[object, Callable[[], None]] = {}

    def give(self) -> None:
        self.given = True
        for call in list(self._listening.values()):
            call()

    @contextmanager
    def calls(self, call: Callable[[], None]) -> Iterator[None]:
        """`call` is called when it is given, if that is within this."""
        mark = object()
        self._listening[mark] = call
        try:
            yield
        finally:
            del self._listening[mark]
