"""Reading a replica's event stream while it passes through: when the first token came, and what the usage was.

Bytes are never changed. Only events that can matter are parsed: those before the first token, and those with `usage`.

A stream with a journal (see `Journal`) comes in groups of events, each ended by a comment with its record. A group is
passed on as soon as it is whole, and its record is kept instead.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from engine.telemetry.meter import Usage

JOURNAL_MAX_BYTES = 1 << 20  # of one stream; 6 bytes a token


class Journal:
    """What replicas wrote down of what the client has, for the next one to go on with; nobody here reads it.

    `usable`: a replica writes one, and it is not too long."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.usable = False

    def add(self, record: bytes) -> None:
        if record and self.usable:
            self.text += record + b";"
            if len(self.text) > JOURNAL_MAX_BYTES:
                self.usable, self.text = False, bytearray()


class StreamReader:
    """Fed with raw chunks in any cut; returns what of them is for the client.

    Knows `started` (a token was sent), `usage` (None until seen), `error` (the replica ended the stream with an error
    event of its own), `done` (`[DONE]` was sent) and `groups`: how many of those with a record have come.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.started = False
        self.done = False
        self.error = False
        self.usage: Usage | None = None
        self.perf: dict[str, Any] = {}
        self.groups = 0
        self._journal = journal
        self._rest = b""
        self._open: list[bytes] = []  # events of a group whose record has not come

    def feed(self, chunk: bytes) -> bytes:
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        if self._journal is None:
            for event in events:
                self._look(event)
            return chunk
        passed: list[bytes] = []
        for event in events:
            if event[:1] != b":":
                self._open.append(event)
                continue
            self._journal.add(event[1:])
            for whole in self._open:
                self._look(whole)
            self.groups += 1
            passed += self._open
            self._open = []
        passed.append(b"")
        return b"\n\n".join(passed)

    def _look(self, event: bytes) -> None:
        data = event[5:].strip() if event.startswith(b"data:") else b""
        if data == b"[DONE]":
            self.done = True
        elif data and (not self.started or b'"usage"' in data or data.startswith(b'{"error"')):
            # What a replica garbled is the client's to see; accounting goes on.
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                self._take(json.loads(data))

    def _take(self, event: dict[str, Any]) -> None:
        self.error = self.error or isinstance(event.get("error"), dict)
        self.started = self.started or any(_has_token(choice) for choice in event.get("choices") or ())
        if event.get("usage"):
            self.usage = usage_of(event)
            self.perf = event.get("perf_metrics") or {}


def usage_of(answer: dict[str, Any]) -> Usage:
    """The tokens of an answer or a last chunk, in OpenAI's `usage`."""
    usage = answer.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(int(usage.get("prompt_tokens") or 0), int(cached or 0), int(usage.get("completion_tokens") or 0))


def _has_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    said = choice.get("text") or delta.get("content") or delta.get("tool_calls") or delta.get("reasoning_content")
    return bool(said) or choice.get("finish_reason") is not None
