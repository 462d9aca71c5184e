"""Reading a replica's event stream while it passes through: when the first token came, what was sent, what was used.

Bytes are never changed, and only whole events are passed on. Only those that can matter are parsed: those before the
first token, and those with `usage`. Of the others it is seen whether they look like what a replica writes.

A stream with a journal (see `Journal`) comes in groups of events, each ended by a comment with its record. A group is
passed on as soon as it is whole, and its record is kept instead.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from engine.telemetry.meter import Usage

PROMPT_HEADER, DRAFTS_HEADER = b"x-firedeck-prompt-tokens", b"x-firedeck-drafts"  # from replicas, for `Sent`
JOURNAL_MAX_BYTES = 1 << 20  # of one stream; 6 bytes a token
GROUP_BYTES_MAX = 16 << 20  # of events that are held back until they are whole
_DONE = b"[DONE]"


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


class Sent:
    """Tokens that a client was sent, by all replicas that it had them from: what a request is charged whose end with
    its usage never came. Records say it to the token; without them an event is one."""

    def __init__(self) -> None:
        self.prompt = 0  # as the first replica said
        self.accepted = self.rejected = 0
        self._cached = self._events = 0
        self._told: dict[bytes, int] = {}

    def add(self, record: bytes) -> None:
        for entry in record.split(b";"):
            first, _, rest = entry[1:].partition(b",")
            kind = entry[:1]
            if kind == b"t":
                self._told[first] = self._told.get(first, 0) + rest.count(b",") + 1
            elif kind in (b"s", b"f", b"d"):
                with contextlib.suppress(ValueError):  # what a replica garbled
                    self._note(kind, first, int(rest))

    def _note(self, kind: bytes, first: bytes, number: int) -> None:
        if kind == b"s":
            self._cached += number
        elif kind == b"f":
            self._told[first] = number
        else:
            self.accepted, self.rejected = self.accepted + int(first), self.rejected + number

    def event(self) -> None:
        self._events += 1

    @property
    def drafts(self) -> tuple[int, int]:
        """Drafted tokens that were accepted, and that were rejected."""
        return self.accepted, self.rejected

    def told(self, header: Callable[[bytes], bytes | None]) -> None:
        """What a replica says before it answers: the prompt of a stream, and the drafts of a whole answer."""
        with contextlib.suppress(ValueError):
            self.prompt = self.prompt or int(header(PROMPT_HEADER) or 0)
            if drafts := header(DRAFTS_HEADER):
                self.accepted, self.rejected = map(int, drafts.split(b","))

    def used(self, told: Usage) -> Usage:
        """`told`: the usage that the replica told at the end, empty where it never did."""
        if not (told.prompt or told.generated):
            told = Usage(self.prompt, self._cached, sum(self._told.values()) + self._events)
        return Usage(told.prompt, told.cached, told.generated, self.accepted, self.rejected)


class StreamReader:
    """Fed with raw chunks in any cut; returns what of them is for the client.

    Knows `started` (a token was sent), `usage` (None until seen), `error` (the replica ended the stream with an error
    event of its own), `done` (`[DONE]` was sent), `groups`: how many of those with a record have come, and `garbled`:
    what came last is no event stream of a replica, and was not passed on.
    """

    def __init__(self, journal: Journal | None = None, sent: Sent | None = None) -> None:
        self.started = False
        self.done = False
        self.error = False
        self.garbled = False
        self.usage: Usage | None = None
        self.groups = 0
        self._journal, self._sent = journal, sent or Sent()
        self._rest = bytearray()
        self._open: list[bytes] = []  # events of a group whose record has not come
        self._held = 0  # bytes of them

    def feed(self, chunk: bytes) -> bytes:
        if self._rest:  # which is looked through once, however many pieces it comes in
            searched = len(self._rest) - 1
            self._rest += chunk
            if self._rest.find(b"\n\n", searched) < 0:
                self.garbled = self._held + len(self._rest) > GROUP_BYTES_MAX
                return b""
            chunk = bytes(self._rest)
        *events, rest = chunk.split(b"\n\n")
        self._rest = bytearray(rest)
        if self._journal is None:
            return self._passed(events)
        passed: list[bytes] = []
        for event in events:
            if event[:1] != b":":
                self._open.append(event)
                self._held += len(event)
                continue
            group = self._passed(self._open)
            if self.garbled:
                self.done = False  # nothing of the group was passed on, its end neither
                break
            passed.append(group)
            self._journal.add(event[1:])
            self._sent.add(event[1:])
            self.groups += 1
            self._open, self._held = [], 0
        self.garbled = self.garbled or self._held > GROUP_BYTES_MAX
        return b"".join(passed)

    def _passed(self, events: list[bytes]) -> bytes:
        """Those before the first that is no event of a replica's."""
        whole = []
        for event in events:
            if not self._look(event):
                self.garbled = True
                break
            whole.append(event)
        return b"\n\n".join([*whole, b""])

    def _look(self, event: bytes) -> bool:
        """Whether it is a chunk, the end, a comment or nothing."""
        if not event or event[:1] == b":":
            return True
        data = event[5:].strip() if event[:5] == b"data:" else b""
        if data == _DONE:
            self.done = True
            return True
        if data[:1] != b"{" or data[-1:] != b"}" or b"\n" in data:
            return False
        if not self.started or b'"usage"' in data or data.startswith(b'{"error"'):
            try:
                parsed = json.loads(data)
            except (ValueError, RecursionError):
                return False
            # An odd value is the client's to see; accounting goes on.
            with contextlib.suppress(ValueError, TypeError, AttributeError, OverflowError):
                self._take(parsed)
        if self._journal is None and not data.startswith(b'{"error"'):
            self._sent.event()
        return True

    def _take(self, event: dict[str, Any]) -> None:
        self.error = self.error or isinstance(event.get("error"), dict)
        self.started = self.started or any(_has_token(choice) for choice in event.get("choices") or ())
        if event.get("usage"):
            self.usage = usage_of(event)


def usage_of(answer: dict[str, Any]) -> Usage:
    """The tokens of an answer or a last chunk, in OpenAI's `usage`."""
    usage = answer.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(int(usage.get("prompt_tokens") or 0), int(cached or 0), int(usage.get("completion_tokens") or 0))


def answer_in(status: int, content: bytes) -> dict[str, Any] | None:
    """The object of an answer that is no stream; None for what is neither an answer nor an error in the inference
    API's envelope. A replica that does not know its own key (401) is none of ours."""
    try:
        answer = json.loads(content)
        usage_of(answer)
        known = status == 200 or (400 <= status < 600 and status != 401 and isinstance(answer["error"], dict))
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
        return None
    return dict(answer) if known else None


def _has_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    said = choice.get("text") or delta.get("content") or delta.get("tool_calls") or delta.get("reasoning_content")
    return bool(said) or choice.get("finish_reason") is not None
