"""Answers in channels: `<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...`

The analysis channel is reasoning, a message `to=functions.NAME` is a call, all other messages are content.
Source: https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import re
from collections.abc import Collection

from engine.replica.tools.json_scan import JsonScanner
from engine.replica.tools.markers import overlap
from engine.replica.tools.parts import Arguments, CallOpened, Content, Part, Reasoning

_BODY = "<|message|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_BEGINNINGS = ("<|start|>", "<|channel|>", "to=")
_RECIPIENT = re.compile(r"to=functions\.([A-Za-z0-9_.-]+)")
MAX_HEADER_CHARS = 512


class ChannelReader:
    """One answer. `names`: the declared functions; `single`: calls after the first one are not told."""

    def __init__(self, names: Collection[str], *, single: bool = False) -> None:
        self._names, self._single = frozenset(names), single
        self._kind = ""  # of the message that is open: "" while its header is read
        self._held = ""
        self._calls = 0
        self._scanner = JsonScanner()

    def push(self, text: str) -> list[Part]:
        """The parts that became certain with `text`."""
        self._held += text
        out: list[Part] = []
        while self._step(out):
            pass
        return out

    def finish(self, *, cut: bool = False) -> list[Part]:
        """The parts still held when the text ends. `cut`: by a limit; a header without its message is then nothing."""
        text, self._held = self._held, ""
        if self._kind:
            return self._said(text)
        return [Content(text)] if text and not cut else []

    def _step(self, out: list[Part]) -> bool:
        return self._body(out) if self._kind else self._header(out)

    def _header(self, out: list[Part]) -> bool:
        text = self._held.lstrip()
        if not any(text.startswith(begin) or begin.startswith(text) for begin in _BEGINNINGS):
            self._kind = "content"  # no header at all: the model has left the format
            return True
        at = self._held.find(_BODY, 0, MAX_HEADER_CHARS)
        if at < 0 and len(self._held) < MAX_HEADER_CHARS:
            return False
        if at < 0:
            out.append(Content(self._held[:1]))  # no header either; past the mark, or it would be read as one again
            self._kind, self._held = "content", self._held[1:]
            return True
        out += self._begin(self._held[:at])
        self._held = self._held[at + len(_BODY) :]
        return True

    def _begin(self, header: str) -> list[Part]:
        found = _RECIPIENT.search(header)
        if found and found[1] in self._names:
            self._kind, self._scanner = "call" if not (self._single and self._calls) else "nothing", JsonScanner()
            return [CallOpened(self._calls, found[1])] if self._kind == "call" else []
        self._kind = "reasoning" if "<|channel|>analysis" in header else "content"
        return []

    def _body(self, out: list[Part]) -> bool:
        found = [(at, end) for end in _ENDS if (at := self._held.find(end)) >= 0]
        if not found:
            keep = max(overlap(self._held, end) for end in _ENDS)
            certain = len(self._held) - keep
            out += self._said(self._held[:certain])
            self._held = self._held[certain:]
            return False
        at, end = min(found)
        out += self._said(self._held[:at])
        # A message that follows at once begins with the mark itself.
        self._held = self._held[at + (0 if end in ("<|start|>", "<|channel|>") else len(end)) :]
        self._calls += self._kind == "call"
        self._kind = ""
        return bool(self._held)

    def _said(self, text: str) -> list[Part]:
        if not text or self._kind == "nothing":
            return []
        if self._kind == "call":
            piece = self._scanner.take(text)[0]
            return [Arguments(self._calls, piece)] if piece else []
        return [Reasoning(text) if self._kind == "reasoning" else Content(text)]
