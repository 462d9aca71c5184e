"""Tokens to text as they arrive: whole characters only, and never a piece of a stop string.

A stream emits text as soon as no later token can take it back: bytes of an unfinished character and any tail that
might become a stop string are held. What is emitted, joined, is the decoded text cut where the first stop string
begins; "first" is the one complete earliest, since generation ends there.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Feed `push` the bytes of each token; `stopped` turns True once a stop string is complete."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.length = 0  # characters decoded so far, held ones included: the text offset of the next token
        self.stopped_by: str | None = None  # the stop string that is complete

    @property
    def stopped(self) -> bool:
        return self.stopped_by is not None

    def push(self, piece: bytes) -> str:
        """The text that became certain with this token."""
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """The text still held when generation ends by itself (an unfinished character becomes U+FFFD)."""
        if self.stopped:
            return ""
        text = self._release(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text if self.stopped else text + held

    def _release(self, text: str) -> str:
        self.length += len(text)
        if not self._stops:
            return text
        self._held += text
        found = _first_stop(self._held, self._stops)
        if found is not None:
            start, self.stopped_by = found
            out, self._held = self._held[:start], ""
            return out
        keep = _possible_stop(self._held, self._stops)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out


def _first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Where the stop string that completes first begins (the longest, when two complete together), and which it is."""
    found = [(at + len(stop), at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    return min(found)[1:] if found else None


def _possible_stop(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` could be the beginning of a stop string."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0
