"""What llama.cpp warns of while a replica serves, in the replica's own log.

Warnings and errors only, of the form `function: what is wrong`: what it prints of a grammar, or over several lines, may
be a client's text and is left out. So many lines a minute as `LINES_A_MINUTE`; of the others their number is told, so
that a fault that repeats with every token leaves room for everything else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from engine.replica import own_log

WARNING, ERROR, CONTINUED = 3, 4, 5  # ggml.h: ggml_log_level
LINES_A_MINUTE = 20
LINE_CHARS = 300
MINUTE_S = 60.0
_OF_A_FUNCTION = re.compile(r"\w+: \S")
_GRAMMAR = re.compile("grammar", re.IGNORECASE)


class LlamaLog:
    """`take` gets what llama.cpp logs, in pieces, on any thread; `say` gets lines."""

    def __init__(self, say: Callable[[str], None] = own_log.note, now_s: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now_s = say, now_s
        self._wanted = False  # the line that was begun
        self._begun = ""
        self._minute_at = now_s()
        self._said = self._left_out = 0

    def take(self, level: int, text: str) -> None:
        if level != CONTINUED:
            self._begun, self._wanted = "", level in (WARNING, ERROR)
        if not self._wanted:
            return
        *lines, rest = (self._begun + text).split("\n")
        self._begun = rest[:LINE_CHARS]
        for line in lines:
            self._line(line[:LINE_CHARS].rstrip())

    def _line(self, line: str) -> None:
        if not _OF_A_FUNCTION.match(line) or _GRAMMAR.search(line):
            return
        now = self._now_s()
        if now - self._minute_at >= MINUTE_S:
            if self._left_out:
                self._say(f"llama.cpp: {self._left_out} more lines in {now - self._minute_at:.0f} s")
            self._minute_at, self._said, self._left_out = now, 0, 0
        if self._said < LINES_A_MINUTE:
            self._said += 1
            self._say(f"llama.cpp: {line}")
        else:
            self._left_out += 1
