"""Tool calls out of a model's text while it arrives.

Text outside of calls is content, as it stands. What might become a call is held back until it is one (then its
arguments flow as they arrive) or cannot be one (then it is content, its markers too). A call counts when it names a
declared function. Space beside calls belongs to their spelling. However the text is cut, the joined result is one.
When a limit ends the text, a marker or its beginning that nothing could follow any more is neither call nor content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from engine.replica.tools.family import Family
from engine.replica.tools.json_scan import JsonScanner
from engine.replica.tools.markers import overlap
from engine.replica.tools.parts import Arguments, CallOpened, Content, Part
from engine.replica.tools.tagged import QWEN_TAGS, TaggedArguments

Json = dict[str, Any]

MAX_HEADER_CHARS = 256
NO_SCHEMAS: Mapping[str, Json] = {}
_KEYS = frozenset({"name", "arguments", "parameters", "type", "id", "function"})
_FIRST_KEY = re.compile(r'\{\s*"([^"\\]*)"')
_NO_KEY = re.compile(r'\{\s*[^\s"]')
# The order in which models write: then the arguments can flow before the object is complete.
_HEAD = re.compile(
    r'\{\s*(?:"(?:type|id)"\s*:\s*"[^"\\]*"\s*,\s*)*"name"\s*:\s*"([^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*'
    r"(?=\{)"
)
_SPACE = re.compile(r"\s*")


class CallParser:
    """One answer. `names`: the declared functions; `single`: the first call ends the answer; `dropped`: markers that
    are control tokens of the model, which show nowhere but in a call. `schemas`: of the functions' parameters."""

    def __init__(
        self,
        family: Family,
        names: Collection[str],
        *,
        single: bool = False,
        dropped: tuple[str, ...] = (),
        schemas: Mapping[str, Json] = NO_SCHEMAS,
    ) -> None:
        self._family, self._names, self._single = family, frozenset(names), single
        self._schemas, self._tagged = schemas, TaggedArguments(QWEN_TAGS, {})
        self._noise = tuple(dict.fromkeys((*family.noise, *dropped)))
        self._marks = tuple(mark for mark in (family.opening, *self._noise) if mark)
        self._state: Callable[[], bool] = self._content
        self._held = ""  # not given out yet
        self._opened = ""  # what stood before `held` and is content should there be no call
        self._calls = 0
        self._at_start = True  # no content since the beginning or the last call
        self._in_list = self._nested = False
        self._pattern = family.header
        self._scanner, self._scanned = JsonScanner(), 0
        self._out: list[Part] = []

    def push(self, text: str) -> list[Part]:
        """The parts that became certain with `text`."""
        self._held += text
        return self._run()

    def finish(self, *, cut: bool = False) -> list[Part]:
        """The parts still held when the text ends. An unfinished call keeps the arguments it has.

        `cut`: a limit has ended the text. What began as a call is then dropped, where functions may be called at all.
        """
        out, cut = self._run(), cut and bool(self._names)
        while self._state in (self._header, self._object):
            if cut and self._surely_call():
                self._held, self._state = "", self._nothing
                return out
            self._malformed()
            out += self._run()
        if self._state == self._content:
            self._say(self._left(cut=cut))
        self._held = ""
        return out + self._run()

    def _surely_call(self) -> bool:
        """Whether what has begun cannot be content: a marker opened it, or it follows a call. Other objects may."""
        return bool(self._opened.strip(self._space)) or (self._calls > 0 and self._at_start)

    def _left(self, *, cut: bool) -> str:
        """What is content of the text held at the end: the beginning of a marker only when no limit has `cut` it."""
        keep = max((overlap(self._held, mark) for mark in self._marks), default=0) if cut else 0
        left = self._held[: len(self._held) - keep].rstrip(self._space) if keep else self._held
        return "" if self._calls and self._at_start and not left.strip(self._space) else left

    def _run(self) -> list[Part]:
        while self._state():
            pass
        out, self._out = self._out, []
        return out

    def _say(self, text: str) -> None:
        if text:
            self._out.append(Content(text))
            self._at_start = self._at_start and not text.strip()

    # Each state takes from `held` and says whether the next one may go on with the rest.

    def _content(self) -> bool:
        opening = self._family.opening
        found = [(at, -len(m), m) for m in self._marks if (at := self._held.find(m)) >= 0]
        at, _, mark = min(found, default=(len(self._held), 0, ""))
        if self._family.bare and self._at_start and (start := self._bare_start(at)) is not None:
            return self._begin(start, "", self._object)
        if mark and mark != opening:
            said = self._held[:at].rstrip(self._space)
            self._say(said)
            self._held = self._held[len(said) : at] + self._held[at + len(mark) :]
            return True
        if mark:
            return self._begin(at, mark, self._header)
        self._release()
        return False

    @property
    def _space(self) -> str:
        """What may stand beside calls; bare ones are also set apart by semicolons."""
        return " \t\r\n;" if self._family.bare and self._calls and self._at_start else " \t\r\n"

    def _bare_start(self, limit: int) -> int | None:
        """Where an object begins that stands first in the answer, or next to another call."""
        start = len(self._held) - len(self._held.lstrip(self._space))
        return start if start < limit and self._held.startswith("{", start) else None

    def _begin(self, at: int, mark: str, state: Callable[[], bool]) -> bool:
        """A call may begin at `at`; the space before it is kept for the case that it does not."""
        before = self._held[:at]
        said = before.rstrip(self._space)
        self._say(said)
        self._opened, self._held = before[len(said) :] + mark, self._held[at + len(mark) :]
        self._pattern, self._in_list, self._state = self._family.header, False, state
        self._scanner, self._scanned = JsonScanner(), 0
        return True

    def _release(self) -> None:
        """Give out content, but no end that may be a marker's beginning, nor the space before one."""
        keep = max((overlap(self._held, mark) for mark in self._marks), default=0)
        certain = self._held[: len(self._held) - keep]
        said = certain.rstrip(self._space)
        self._say(said)
        self._held = self._held[len(said) :]

    def _header(self) -> bool:
        tags = self._family.tags
        if tags is not None and (named := tags.function.match(self._held)) and named["name"] in self._names:
            self._tagged = TaggedArguments(tags, self._schemas.get(named["name"], {}))
            self._out.append(CallOpened(self._calls, named["name"]))
            self._held, self._state = self._held[named.end() :], self._parameters
            return True
        at = self._held.find("{", 0, MAX_HEADER_CHARS)
        if at < 0:
            return len(self._held) >= MAX_HEADER_CHARS and self._malformed()
        found = self._pattern.fullmatch(self._held, 0, at)
        if found is None:
            return self._malformed()
        groups = found.groupdict()
        if groups.get("name"):
            if groups["name"] not in self._names:
                return self._malformed()
            self._held = self._held[at:]
            return self._open(groups["name"], nested=False)
        self._in_list = self._in_list or bool(groups.get("list"))
        self._opened, self._held, self._state = self._opened + self._held[:at], self._held[at:], self._object
        self._scanner, self._scanned = JsonScanner(), 0
        return True

    def _object(self) -> bool:
        """An object with name and arguments in it."""
        if found := _HEAD.match(self._held):
            if found[1] not in self._names:
                return self._malformed()
            self._held = self._held[found.end() :]
            return self._open(found[1], nested=True)
        key = _FIRST_KEY.match(self._held)
        if (key and key[1] not in _KEYS) or (not key and _NO_KEY.match(self._held)):
            return self._malformed()
        self._scanned += self._scanner.take(self._held[self._scanned :])[1]
        if not self._scanner.done:
            return False
        call = _whole_call(self._held[: self._scanned])
        if call is None or call[0] not in self._names:
            return self._malformed()
        self._held = self._held[self._scanned :]
        self._out += [CallOpened(self._calls, call[0]), Arguments(self._calls, call[1])]
        return self._end_call()

    def _open(self, name: str, *, nested: bool) -> bool:
        self._out.append(CallOpened(self._calls, name))
        self._nested, self._scanner, self._state = nested, JsonScanner(), self._arguments
        return True

    def _arguments(self) -> bool:
        text, used = self._scanner.take(self._held)
        if text:
            self._out.append(Arguments(self._calls, text))
        self._held = self._held[used:]
        if not self._scanner.done:
            return False
        if self._nested:
            self._scanner, self._state = JsonScanner(depth=1), self._tail
            return True
        return self._end_call()

    def _parameters(self) -> bool:
        """Arguments in tags."""
        text, used = self._tagged.take(self._held)
        if text:
            self._out.append(Arguments(self._calls, text))
        self._held = self._held[used:]
        return self._tagged.done and self._end_call()

    def _tail(self) -> bool:
        """What an object says after the arguments: nothing that counts."""
        self._held = self._held[self._scanner.take(self._held)[1] :]
        return self._scanner.done and self._end_call()

    def _end_call(self) -> bool:
        self._calls += 1
        self._opened, self._at_start = "", True
        self._state = self._nothing if self._single else self._between
        return True

    def _between(self) -> bool:
        rest = self._held.lstrip()
        if not rest:
            return False
        if self._in_list and rest[0] == ",":
            self._opened, self._held = ",", rest[1:]
            self._pattern, self._state = _SPACE, self._header
            return True
        if self._in_list and rest[0] == "]":
            self._in_list, self._held = False, rest[1:]
            return True
        for closing in self._family.closings:
            if rest.startswith(closing):
                self._held, self._state = rest[len(closing) :], self._content
                return True
            if closing.startswith(rest):
                return False
        self._state = self._content
        return True

    def _nothing(self) -> bool:
        self._held = ""
        return False

    def _malformed(self) -> bool:
        """No call after all: what opened it is content, and the rest is read again."""
        self._at_start = False
        self._say(self._opened)
        self._opened, self._in_list, self._state = "", False, self._content
        return True


def _whole_call(text: str) -> tuple[str, str] | None:
    """Name and arguments of a complete object in any order of keys, or None when it is no call."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name", value.get("function")) if isinstance(value, dict) else None
    arguments = _arguments_text(value.get("arguments", value.get("parameters"))) if isinstance(name, str) else None
    return None if arguments is None else (str(name), arguments)


def _arguments_text(value: Any) -> str | None:
    """Arguments as JSON text; models also write them as text with JSON in it, or leave them out."""
    if isinstance(value, str):
        try:
            return value if isinstance(json.loads(value), dict) else None
        except (ValueError, RecursionError):
            return None
    if value is None:
        return "{}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else None
