"""What a client may ask a grammar to be, checked before llama.cpp's recursive parsers see it. Pure.

Reported killers: 60,000 nested parentheses (llama.cpp #26600), `%llguidance` (#25960), `pattern` with deep nesting
(#25283), huge repetitions. What passes is still only followed in a process that can be killed (grammar_process).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from client.errors import InvalidArgument
from engine.replica import ambiguity
from engine.replica.schema import to_gbnf

MAX_GRAMMAR_BYTES = 64 * 1024
MAX_MADE_BYTES = 1024 * 1024  # of a grammar made from schemas
MAX_GRAMMAR_DEPTH = 100
MAX_REPETITION = 2_000  # llama.cpp's own limit: each unrolls into that many elements
MAX_REPETITIONS = 20_000  # over the whole grammar

_GBNF_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{[^{}]*\}|[()]', re.S)


def check_gbnf(text: str, field: str = "response_format.grammar", max_width: int = ambiguity.MAX_WIDTH) -> str:
    """The grammar itself, or InvalidArgument naming `field` when it is too large, too deep or not GBNF at all."""
    limit = MAX_GRAMMAR_BYTES if max_width == ambiguity.MAX_WIDTH else MAX_MADE_BYTES
    if len(text.encode("utf-8")) > limit:
        raise InvalidArgument(f"the grammar is over {limit} bytes", field=field)
    if "\0" in text or "%llguidance" in text or not re.search(r"(?m)^\s*root\s*::=", text):
        raise InvalidArgument("the grammar is not GBNF with a rule named root", field=field)
    depth = repetitions = 0
    for found in _GBNF_TOKEN.finditer(text):
        depth += {"(": 1, ")": -1}.get(found.group(), 0)
        if depth > MAX_GRAMMAR_DEPTH:
            raise InvalidArgument(f"the grammar nests deeper than {MAX_GRAMMAR_DEPTH}", field=field)
        if found.group().startswith("{"):
            times = _most_repeated(found.group(), field)
            repetitions += times
            if times > MAX_REPETITION or repetitions > MAX_REPETITIONS:
                raise InvalidArgument(
                    f"the grammar repeats more than {MAX_REPETITION} times, or {MAX_REPETITIONS} in all", field=field
                )
    _check_ambiguity(text, field, max_width)
    return text


def _most_repeated(braces: str, field: str) -> int:
    found = ambiguity.REPETITION.fullmatch(braces)
    if found is None:
        raise InvalidArgument(f"the grammar has a repetition that cannot be read: {braces[:20]!r}", field=field)
    return max(int(found[1]), int(found[3] or 0))


def _check_ambiguity(text: str, field: str, max_width: int) -> None:
    try:
        refused = ambiguity.too_ambiguous(text, max_width)
    except (ambiguity.NotGbnf, RecursionError) as error:
        raise InvalidArgument(f"the grammar cannot be read: {error}", field=field) from None
    if refused:
        raise InvalidArgument("the grammar is too ambiguous: too many optional parts or alternatives", field=field)


def schema_to_gbnf(schema: Any, field: str = "response_format.schema") -> str:
    """GBNF of which every text validates; InvalidArgument naming the keyword for what is unsupported or too large."""
    return to_gbnf(schema, field)


@cache
def any_json_object() -> str:
    """GBNF for `{"type": "json_object"}`; whitespace is bounded, so that it cannot go on for ever."""
    return to_gbnf({"type": "object"}, "response_format")
