"""Follows one JSON object while it arrives, in any cut: only strings and brackets, which is enough to find its end."""

from __future__ import annotations

import re

_STOPS = re.compile(r'["{}\[\]]')
_STRING_STOPS = re.compile(r'["\\\x00-\x1f]')
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class JsonScanner:
    """`depth` brackets are open at the beginning; the value has ended (`done`) once none is."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = self._escaped = False
        self.done = False

    def take(self, text: str) -> tuple[str, int]:
        """The part of `text` that belongs to the value, and how many characters of `text` that is.

        Control characters inside strings come back escaped: models write them raw, JSON forbids them.
        """
        out: list[str] = []
        at = 0
        while at < len(text) and not self.done:
            piece, at = self._string(text, at) if self._in_string else self._structure(text, at)
            out.append(piece)
        return "".join(out), at

    def _structure(self, text: str, start: int) -> tuple[str, int]:
        found = _STOPS.search(text, start)
        if found is None:
            return text[start:], len(text)
        mark = found.group()
        if mark == '"':
            self._in_string = True
        else:
            self._depth += 1 if mark in "{[" else -1
            self.done = self._depth <= 0
        return text[start : found.end()], found.end()

    def _string(self, text: str, start: int) -> tuple[str, int]:
        if self._escaped:
            self._escaped = False
            return _clean(text[start]), start + 1
        found = _STRING_STOPS.search(text, start)
        if found is None:
            return text[start:], len(text)
        mark = found.group()
        self._in_string, self._escaped = mark != '"', mark == "\\"
        return text[start : found.start()] + _clean(mark), found.end()


def _clean(character: str) -> str:
    if character >= " ":
        return character
    return _ESCAPES.get(character, f"\\u{ord(character):04x}")
