"""Which keywords are understood, and the shapes that the ones about a single type stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.replica.schema.document import Document
from engine.replica.schema.shapes import UNBOUNDED, Array, Literals, Number, Object, Shape, Text, decimal
from engine.replica.schema.strings import FORMATS

MAX_COUNT = 100_000  # of minLength, maxItems and the like
MAX_DIGITS = 40  # of a numeric bound

ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
    "$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "$vocabulary",
    "contentEncoding", "contentMediaType", "contentSchema",
})  # fmt: skip
APPLICATORS = frozenset({
    "$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "enum", "const", "type",
    "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_OF_TYPE = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "string": ("minLength", "maxLength", "format"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains"),
    "object": (
        "properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties",
    ),
}  # fmt: skip
_UNDERSTOOD = ANNOTATIONS | APPLICATORS | {keyword for words in _OF_TYPE.values() for keyword in words}


def check_keywords(document: Document, schema: dict[str, Any]) -> None:
    """InvalidArgument naming the first keyword that is not understood: ignoring it would let invalid text pass."""
    for keyword in schema:
        if keyword not in _UNDERSTOOD:
            raise document.refuse(f"uses {keyword[:100]}, which is not supported", keyword[:100])


def shape_of_type(document: Document, schema: dict[str, Any], name: str, asked: bool) -> Shape:
    """What the keywords about type `name` leave of it."""
    if name in ("boolean", "null"):
        return Literals((True, False) if name == "boolean" else (None,), asked)
    asked = asked or any(keyword in schema for keyword in _OF_TYPE["number" if name == "integer" else name])
    make: Callable[[_Reader], Shape] = _SHAPES[name]
    return make(_Reader(document, schema, asked))


class _Reader:
    """The keywords of one schema with their types checked."""

    def __init__(self, document: Document, schema: dict[str, Any], asked: bool) -> None:
        self.document, self.schema, self.asked = document, schema, asked

    def integer(self) -> Number:
        return self._number(integer=True)

    def number(self) -> Number:
        return self._number(integer=False)

    def _number(self, *, integer: bool) -> Number:
        low, high = self._bound("minimum"), self._bound("maximum")
        low_open, high_open = self._bound("exclusiveMinimum"), self._bound("exclusiveMaximum")
        shape = Number(integer, low, high, asked=self.asked)
        if low_open is not None and (low is None or low_open >= low):
            shape = Number(integer, low_open, shape.high, True, shape.high_open, self.asked)
        if high_open is not None and (high is None or high_open <= high):
            shape = Number(integer, shape.low, high_open, shape.low_open, True, self.asked)
        return shape

    def _bound(self, keyword: str) -> Any:
        value = self.schema.get(keyword)
        if value is None and keyword not in self.schema:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.document.refuse(f"needs a number as {keyword}", keyword)
        bound = decimal(value)
        if bound and not -MAX_DIGITS <= bound.adjusted() < MAX_DIGITS:
            raise self.document.refuse(f"needs {keyword} below {MAX_DIGITS} digits", keyword)
        return bound

    def _count(self, keyword: str, default: float) -> Any:
        value = self.schema.get(keyword, default)
        if keyword in self.schema:
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if type(value) is not int or not 0 <= value <= MAX_COUNT:
                raise self.document.refuse(f"needs {keyword} from 0 to {MAX_COUNT}", keyword)
        return value

    def text(self) -> Text:
        name = self.schema.get("format")
        if name is not None and name not in FORMATS:
            raise self.document.refuse(f"uses the format {str(name)[:50]!r}, which is not supported", "format")
        formats = frozenset() if name is None else frozenset({str(name)})
        return Text(self._count("minLength", 0), self._count("maxLength", UNBOUNDED), formats, self.asked)

    def array(self) -> Array:
        document, schema = self.document, self.schema
        items, prefix = schema.get("items", True), schema.get("prefixItems", [])
        if isinstance(items, list):  # how drafts before 2020-12 spelled prefixItems
            items, prefix = True, items
        if not isinstance(prefix, list):
            raise document.refuse("needs a list as prefixItems", "prefixItems")
        most = self._count("maxItems", UNBOUNDED)
        if schema.get("uniqueItems", False) is not False and most > 1:
            raise document.refuse("uses uniqueItems, which is not supported", "uniqueItems")
        return Array(
            prefix=tuple(document.state(item) for item in prefix),
            rest=document.state(items),
            least=self._count("minItems", 0),
            most=most,
            evaluated=UNBOUNDED if "items" in schema and not isinstance(schema["items"], list) else len(prefix),
            asked=self.asked,
        )

    def object(self) -> Object:
        document, schema = self.document, self.schema
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict):
            raise document.refuse("has properties that are no object", "properties")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise document.refuse("needs a list of names as required", "required")
        additional = schema.get("additionalProperties", True)
        return Object(
            properties={name: document.state(inner) for name, inner in properties.items()},
            required=tuple(dict.fromkeys(required)),
            additional=document.state(additional),
            names=document.state(schema.get("propertyNames", True)),
            least=self._count("minProperties", 0),
            most=self._count("maxProperties", UNBOUNDED),
            open="additionalProperties" in schema,
            listed="properties" in schema,
            evaluated=frozenset(properties),
            evaluated_all="additionalProperties" in schema,
            asked=self.asked,
        )


_SHAPES: dict[str, Callable[[_Reader], Shape]] = {
    "integer": _Reader.integer,
    "number": _Reader.number,
    "string": _Reader.text,
    "array": _Reader.array,
    "object": _Reader.object,
}
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
