"""Arguments between tags instead of JSON: one pair of tags a parameter, each value as plain text.

What arrives is written on as JSON, parameter by parameter. A value is a string unless its schema says otherwise and it
reads as JSON. Source: the model cards of Qwen3-Coder and GLM-4.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TAG_CHARS = 512

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tags:
    """`function` matches what names the function, `key` what opens a value (group 1 is the parameter's name);
    `value_end` ends the value and `end` the call; `markers` are all tags."""

    function: re.Pattern[str]
    key: re.Pattern[str]
    value_end: str
    end: str
    markers: tuple[str, ...]


_NAME = r"(?P<name>[A-Za-z0-9_.-]{1,64})"
QWEN_TAGS = Tags(
    re.compile(rf"\s*<function={_NAME}>"),
    re.compile(r"<parameter=([^<>]{1,256})>"),
    "</parameter>",
    "</function>",
    ("<function=", "<parameter=", "</parameter>", "</function>"),
)
GLM_TAGS = Tags(
    re.compile(rf"\s*{_NAME}\s*(?=<)"),
    re.compile(r"<arg_key>([^<>]{1,256})</arg_key>\s{0,64}<arg_value>"),
    "</arg_value>",
    "</tool_call>",
    ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
)


class TaggedArguments:
    """The arguments of one call. `schema` is the function's, as declared."""

    def __init__(self, tags: Tags, schema: Mapping[str, Any]) -> None:
        self._tags = tags
        properties = schema.get("properties")
        self._properties: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        self._count = 0
        self.done = False

    def take(self, text: str) -> tuple[str, int]:
        """The JSON that became certain, and how many characters of `text` went into it. Call again with the rest."""
        out, at = "", 0
        while not self.done:
            at += len(text[at:]) - len(text[at:].lstrip())
            piece, used = self._next(text[at:])
            if not used and not self.done:
                break
            out, at = out + piece, at + used
        return out, at

    def _next(self, rest: str) -> tuple[str, int]:
        """One parameter or the end, (text, characters used); nothing used while it is unfinished."""
        if rest.startswith(self._tags.end):
            return self._close(), len(self._tags.end)
        found = self._tags.key.match(rest)
        if found is not None:
            end = rest.find(self._tags.value_end, found.end())
            if end < 0:
                return "", 0
            return self._parameter(found[1].strip(), rest[found.end() : end]), end + len(self._tags.value_end)
        if not rest or (rest[0] == "<" and len(rest) < MAX_TAG_CHARS):
            return "", 0
        return self._close(), 0  # something else: the call is over, and this is no part of it

    def _parameter(self, key: str, text: str) -> str:
        opening = ", " if self._count else "{"
        self._count += 1
        value = json.dumps(self._value(key, text.removeprefix("\n").removesuffix("\n")), ensure_ascii=False)
        return f"{opening}{json.dumps(key, ensure_ascii=False)}: {value}"

    def _close(self) -> str:
        self.done = True
        return "}" if self._count else "{}"

    def _value(self, key: str, text: str) -> Any:
        schema = self._properties.get(key)
        if not isinstance(schema, dict) or schema.get("type") == "string":
            return text
        try:
            return json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            return text
