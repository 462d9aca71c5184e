"""Reading a replica's event stream while it passes through: when the first token came, and what the usage was.

Bytes are never changed. Only events that can matter are parsed: those before the first token, and those with `usage`.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from engine.telemetry.meter import Usage


class StreamReader:
    """Fed with raw chunks in any cut.

    Knows `started` (a token was sent), `usage` (None until seen), `perf` (perf metrics that came with it), `error` (the
    replica ended the stream with an error event of its own) and `done` (`[DONE]` was sent).
    """

    def __init__(self) -> None:
        self.started = False
        self.done = False
        self.error = False
        self.usage: Usage | None = None
        self.perf: dict[str, Any] = {}
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        for event in events:
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
