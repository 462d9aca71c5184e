"""A client's schema as a numbered set of schemas, with references resolved inside it and nowhere else.

A remote reference would be a request forged by the client; the document's own `$id` is only a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from client.errors import InvalidArgument
from engine.replica.schema.shapes import Node, State

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 64
MAX_PROPERTIES = 1_000
_LITERALS = ("enum", "const", "default", "examples", "example")  # hold values, not schemas
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies")


class Document:
    """`field` is where the schema stood in the request, for errors."""

    def __init__(self, root: Any, field: str) -> None:
        self.field = field
        self.root = root
        self._schemas: list[Any] = []
        self._numbers: dict[int, int] = {}  # id() of an object that `_schemas` keeps alive -> its number
        self.node(False)  # number 0: complement.NEVER
        self._check_size()
        self._anchors = self._find_anchors()
        # What to name when something cannot be negated: conditions negate too.
        self.negating = "not" if any("not" in schema for schema, _ in self._walk(root, 0)) else "if"

    def refuse(self, text: str, keyword: str = "") -> InvalidArgument:
        """The error for what this schema says; `keyword` is named in its field."""
        return InvalidArgument(f"the schema {text}", field=f"{self.field}.{keyword}" if keyword else self.field)

    def node(self, schema: Any, negated: bool = False) -> Node:
        """The number of a schema. Equal `True`s and `False`s share one."""
        if not isinstance(schema, dict | bool):
            raise self.refuse("holds something that is no schema")
        key = id(schema)
        if key not in self._numbers:
            self._numbers[key] = len(self._schemas)
            self._schemas.append(schema)
        return Node(self._numbers[key], negated)

    def state(self, *schemas: Any) -> State:
        """All of these together; `True` adds nothing."""
        return frozenset(self.node(schema) for schema in schemas if schema is not True)

    def schema(self, number: int) -> Any:
        return self._schemas[number]

    def resolve(self, reference: Any) -> Any:
        """The schema that `#`, `#/pointer` or `#anchor` names."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise self.refuse("may only refer to itself (#/...)", "$ref")
        fragment = unquote(reference[1:])
        if fragment in self._anchors:
            return self._anchors[fragment]
        if fragment and not fragment.startswith("/"):
            raise self.refuse(f"has no anchor {reference[:100]}", "$ref")
        target = self.root
        for name in fragment.split("/")[1:]:
            target = _member(target, name.replace("~1", "/").replace("~0", "~"))
        if not isinstance(target, dict | bool):
            raise self.refuse(f"has no schema at {reference[:100]}", "$ref")
        return target

    def _check_size(self) -> None:
        try:
            size = len(json.dumps(self.root))
        except RecursionError:
            raise self.refuse(f"nests deeper than {MAX_SCHEMA_DEPTH}") from None
        if size > MAX_SCHEMA_BYTES:
            raise self.refuse(f"is over {MAX_SCHEMA_BYTES} bytes")
        properties = 0
        for schema, depth in self._walk(self.root, 0):
            named = schema.get("properties")
            properties += len(named) if isinstance(named, dict) else 0
            if depth and isinstance(schema.get("$id", schema.get("id")), str):
                raise self.refuse("names a part of itself by $id, which is not supported", "$id")
        if properties > MAX_PROPERTIES:
            raise self.refuse(f"has more than {MAX_PROPERTIES} properties", "properties")

    def _walk(self, value: Any, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Every object that may be a schema, with its depth."""
        if depth > MAX_SCHEMA_DEPTH:
            raise self.refuse(f"nests deeper than {MAX_SCHEMA_DEPTH}")
        if isinstance(value, list):
            for item in value:
                yield from self._walk(item, depth + 1)
        if not isinstance(value, dict):
            return
        yield value, depth
        for keyword, inner in value.items():
            if keyword in _BY_NAME and isinstance(inner, dict):
                for schema in inner.values():
                    yield from self._walk(schema, depth + 1)
            elif keyword not in _LITERALS:
                yield from self._walk(inner, depth + 1)

    def _find_anchors(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for schema, _ in self._walk(self.root, 0):
            anchor = schema.get("$anchor")
            if isinstance(anchor, str) and re.fullmatch(r"[A-Za-z_][\w.-]*", anchor):
                if anchor in found:
                    raise self.refuse(f"has two anchors {anchor[:50]}", "$anchor")
                found[anchor] = schema
        return found


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", name) and int(name) < len(value):
        return value[int(name)]
    return None
