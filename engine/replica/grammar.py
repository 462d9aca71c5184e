"""What a client may ask a grammar to be, checked before llama.cpp's recursive parsers see it. Pure.

Reported killers: 60,000 nested parentheses (llama.cpp #26600), `%llguidance` (#25960), `pattern` with deep nesting
(#25283), huge repetitions. JSON schemas follow Fireworks' documented subset: no oneOf, no pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llama_cpp.llama_grammar import json_schema_to_gbnf

from client.errors import InvalidArgument
from engine.replica import ambiguity

MAX_GRAMMAR_BYTES = 64 * 1024
MAX_GRAMMAR_DEPTH = 100
MAX_REPETITIONS = 2_000  # over the whole grammar: each unrolls into that many elements
MAX_SCHEMA_DEPTH = 64
MAX_SCHEMA_PROPERTIES = 1_000
MAX_SCHEMA_VISITS = 10_000  # references followed: each definition naming the next one twice doubles the walk
MAX_SCHEMA_COUNT = 64  # of minLength, maxItems and the like: the converter nests one group for each

UNSUPPORTED_KEYWORDS = ("pattern", "patternProperties", "oneOf", "not", "if", "then", "else", "$dynamicRef")
COUNT_KEYWORDS = ("minLength", "maxLength", "minItems", "maxItems")
_GBNF_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{[^{}]*\}|[()]', re.S)


def check_gbnf(text: str, field: str = "response_format.grammar", max_width: int = ambiguity.MAX_WIDTH) -> str:
    """The grammar itself, or InvalidArgument naming `field` when it is too large, too deep or not GBNF at all."""
    if len(text.encode("utf-8")) > MAX_GRAMMAR_BYTES:
        raise InvalidArgument(f"the grammar is over {MAX_GRAMMAR_BYTES} bytes", field=field)
    if "\0" in text or "%llguidance" in text or not re.search(r"(?m)^\s*root\s*::=", text):
        raise InvalidArgument("the grammar is not GBNF with a rule named root", field=field)
    depth = repetitions = 0
    for found in _GBNF_TOKEN.finditer(text):
        depth += {"(": 1, ")": -1}.get(found.group(), 0)
        if depth > MAX_GRAMMAR_DEPTH:
            raise InvalidArgument(f"the grammar nests deeper than {MAX_GRAMMAR_DEPTH}", field=field)
        if found.group().startswith("{"):
            repetitions += _most_repeated(found.group(), field)
    if repetitions > MAX_REPETITIONS:
        raise InvalidArgument(f"the grammar repeats more than {MAX_REPETITIONS} times", field=field)
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


def schema_to_gbnf(schema: dict[str, Any], field: str = "response_format.schema") -> str:
    """GBNF for a JSON schema; InvalidArgument naming the keyword for what is unsupported or out of bounds."""
    _SchemaCheck(schema, field).run()
    try:
        return check_gbnf(json_schema_to_gbnf(json.dumps(schema)), field, ambiguity.MAX_SCHEMA_WIDTH)
    except InvalidArgument:
        raise
    except Exception as error:  # the converter raises whatever its code runs into
        raise InvalidArgument(f"the schema cannot be turned into a grammar: {error!r}", field=field) from error


def any_json_object() -> str:
    """GBNF for `{"type": "json_object"}`; whitespace is bounded, so that it cannot go on for ever."""
    return str(json_schema_to_gbnf('{"type": "object"}'))


class _SchemaCheck:
    """Walks a schema by its structure, so that a property may be called "pattern"."""

    def __init__(self, root: dict[str, Any], field: str) -> None:
        self._root, self._field = root, field
        self._properties = self._visits = 0

    def run(self) -> None:
        if len(json.dumps(self._root)) > MAX_GRAMMAR_BYTES:
            raise self._error(f"is over {MAX_GRAMMAR_BYTES} bytes")
        self._visit(self._root, 0, ())

    def _error(self, text: str, keyword: str = "") -> InvalidArgument:
        return InvalidArgument(f"the schema {text}", field=f"{self._field}.{keyword}" if keyword else self._field)

    def _visit(self, schema: Any, depth: int, references: tuple[str, ...]) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise self._error("holds something that is no schema")
        self._visits += 1
        if self._visits > MAX_SCHEMA_VISITS:
            raise self._error("refers to its own parts too often")
        if depth > MAX_SCHEMA_DEPTH:
            raise self._error(f"nests deeper than {MAX_SCHEMA_DEPTH}")
        self._check_keywords(schema)
        if "$ref" in schema:
            self._follow(schema["$ref"], depth, references)
        for child in _children(schema):
            self._visit(child, depth + 1, references)

    def _check_keywords(self, schema: dict[str, Any]) -> None:
        for keyword in UNSUPPORTED_KEYWORDS:
            if keyword in schema:
                raise self._error(f"uses {keyword}, which is not supported", keyword)
        for keyword in COUNT_KEYWORDS:
            count = schema.get(keyword, 0)
            if type(count) is not int or not 0 <= count <= MAX_SCHEMA_COUNT:
                raise self._error(f"needs {keyword} from 0 to {MAX_SCHEMA_COUNT}", keyword)
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise self._error("has properties that are no object", "properties")
        self._properties += len(properties)
        if self._properties > MAX_SCHEMA_PROPERTIES:
            raise self._error(f"has more than {MAX_SCHEMA_PROPERTIES} properties", "properties")

    def _follow(self, reference: Any, depth: int, references: tuple[str, ...]) -> None:
        """References stay inside the document (a remote one would be a request forged by the client) and end."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise self._error("may only refer to itself (#/...)", "$ref")
        if reference in references:
            raise self._error("refers to itself without end", "$ref")
        target: Any = self._root
        for name in reference[2:].split("/"):
            target = target.get(name) if isinstance(target, dict) else None
        if target is None:
            raise self._error(f"has no {reference[:100]}", "$ref")
        self._visit(target, depth + 1, (*references, reference))


def _children(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas directly inside a schema."""
    for keyword in ("properties", "$defs", "definitions"):
        values = schema.get(keyword)
        yield from values.values() if isinstance(values, dict) else ()
    for keyword in ("anyOf", "allOf", "prefixItems"):
        values = schema.get(keyword)
        yield from values if isinstance(values, list) else ()
    items = schema.get("items")
    yield from items if isinstance(items, list) else () if items is None else (items,)
    if isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"]
