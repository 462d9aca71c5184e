"""Reasoning apart from the answer while both arrive: `<think>...</think>` and its relatives.

Reasoning stands first in an answer, or the prompt itself has opened it. Later spellings of the markers are text.
"""

from __future__ import annotations

from engine.replica.tools.markers import overlap
from engine.replica.tools.parts import Content, Part, Reasoning


class ReasoningSplitter:
    """One answer. `inside`: the prompt has opened the reasoning already."""

    def __init__(self, opening: str, closing: str, *, inside: bool) -> None:
        self._opening, self._closing = opening, closing
        self._inside, self._at_start = inside, True
        self._trim = False  # space at the beginning belongs to the spelling
        self._held = ""

    @property
    def inside(self) -> bool:
        """Whether what comes next is reasoning, as far as is known."""
        return self._inside

    @property
    def answering(self) -> bool:
        """Whether the reasoning is over, or there was none."""
        return not self._inside and not self._at_start

    def push(self, text: str) -> list[Part]:
        """The parts that became certain with `text`."""
        self._held += text
        if self._at_start and not self._start():
            return []
        out: list[Part] = []
        if self._inside:
            out += self._reason()
        if not self._inside:
            out += self._answer()
        return out

    def finish(self, *, cut: bool = False) -> list[Part]:
        """The parts still held when the text ends. Reasoning that never closes stays reasoning."""
        text, self._held = self._held, ""
        if self._inside:
            text = (text.lstrip() if self._trim or self._at_start else text).rstrip()
            return [Reasoning(text)] if text else []
        return [Content(text)] if text and not self._trim else []

    def _start(self) -> bool:
        """Whether it is known if the answer opens its reasoning itself."""
        text = self._held.lstrip()
        if len(text) < len(self._opening) and self._opening.startswith(text):
            return False
        self._at_start = False
        if text.startswith(self._opening):
            self._held, self._inside = text[len(self._opening) :], True
        self._trim = self._inside
        return True

    def _reason(self) -> list[Part]:
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        at = self._held.find(self._closing)
        if at >= 0:
            said = self._held[:at].rstrip()
            self._held, self._inside, self._trim = self._held[at + len(self._closing) :], False, True
        else:
            said = self._held[: len(self._held) - overlap(self._held, self._closing)].rstrip()
            self._held = self._held[len(said) :]
        return [Reasoning(said)] if said else []

    def _answer(self) -> list[Part]:
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        text, self._held = self._held, ""
        return [Content(text)] if text else []
