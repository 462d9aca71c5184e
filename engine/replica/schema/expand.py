"""From schemas to unions of shapes: references followed, alternatives multiplied out, contradictions dropped.

An expansion is exact when it allows all that its schemas allow. Where it allows less (`contains` only at certain
places), text made from it still validates, but its negation would allow too much: that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from client.errors import InvalidArgument
from engine.replica.schema.complement import complement
from engine.replica.schema.conjunction import accepts, both, size, void
from engine.replica.schema.document import Document
from engine.replica.schema.keywords import APPLICATORS, TYPES, check_keywords, shape_of_type
from engine.replica.schema.shapes import (
    EVERY_TYPE,
    UNBOUNDED,
    Array,
    Literals,
    Object,
    Shape,
    State,
    canonical,
)

MAX_ALTERNATIVES = 2_000
MAX_WORK = 200_000  # names and values compared, over the whole schema

Shapes = tuple[Shape, ...]


class Endless(InvalidArgument):
    """A schema refers to itself without a value between."""


class Expander:
    """Expansions of one document, each made once. Raises InvalidArgument for what cannot be followed soundly."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._known: dict[State, tuple[Shapes, bool]] = {}
        self._open: set[State] = set()
        self._proving: set[State] = set()
        self._exact = True  # of what has been looked at in the present scope
        self._work = 0

    def expand(self, state: State) -> Shapes:
        """The union of shapes that `state` allows."""
        if state not in self._known:
            if state in self._open:
                raise Endless("the schema refers to itself without end", field=f"{self.document.field}.$ref")
            self._open.add(state)
            before, self._exact = self._exact, True
            try:
                shapes = self.all_of([self._node(node.number, node.negated) for node in sorted(state)])
                self._known[state] = shapes, self._exact
            finally:
                self._exact = before
                self._open.discard(state)
        shapes, exact = self._known[state]
        self._exact = self._exact and exact
        return shapes

    @contextmanager
    def exactly(self, keyword: str) -> Iterator[None]:
        """Refuses `keyword` when anything looked at inside was not exact."""
        before, self._exact = self._exact, True
        try:
            yield
            if not self._exact:
                raise self.document.refuse(f"uses {keyword} in a way that is not supported", keyword)
        finally:
            self._exact = before

    def inexact(self) -> None:
        """What is being expanded allows less than its schema."""
        self._exact = False

    def all_of(self, parts: list[Shapes]) -> Shapes:
        """The conjunction of unions."""
        shapes: Shapes = tuple(EVERY_TYPE.values())
        for part in parts:
            met = (self._both(a, b) for a in shapes for b in part)
            shapes = tuple(shape for shape in met if shape is not None and not void(shape))
            if len(shapes) > MAX_ALTERNATIVES:
                raise self.document.refuse("has too many combinations of alternatives")
        return shapes

    def one_of(self, branches: Any, given: Shapes) -> Shapes:
        """The union of branches that are provably disjoint within what is `given` besides."""
        with self.exactly("oneOf"):
            parts = self._branches("oneOf", branches)
            for number, part in enumerate(parts):
                for other in parts[number + 1 :]:
                    if not all(self._void_inside(shape) for shape in self.all_of([given, part, other])):
                        raise self.document.refuse("uses oneOf with branches that may overlap", "oneOf")
        return tuple(shape for part in parts for shape in part)

    def allows(self, state: State, value: Any) -> bool:
        """Whether a value is valid under `state`."""
        return any(accepts(shape, value, self.allows) for shape in self.expand(state))

    def empty(self, state: State) -> bool:
        """Whether `state` certainly allows nothing (False when that would need endless unrolling)."""
        if state in self._proving:
            return False
        self._proving.add(state)
        try:
            return all(self._void_inside(shape) for shape in self.expand(state))
        except Endless:
            return False
        finally:
            self._proving.discard(state)

    # One schema

    def _node(self, number: int, negated: bool) -> Shapes:
        schema = self.document.schema(number)
        if isinstance(schema, bool):
            return tuple(EVERY_TYPE.values()) if schema != negated else ()
        check_keywords(self.document, schema)
        if not negated:
            return self._schema(schema)
        with self.exactly(self.document.negating):
            shapes = self._schema(schema)
        return self._negated(shapes)

    def _negated(self, shapes: Shapes) -> Shapes:
        parts = []
        for shape in shapes:
            others, exact = complement(shape)
            self._exact = self._exact and exact
            parts.append(others)
        return self.all_of(parts)

    def _schema(self, schema: dict[str, Any]) -> Shapes:
        parts = [self._own(schema)]
        for keyword in schema:
            if keyword in APPLICATORS:
                parts += self._applied(schema, keyword)
        shapes = self.all_of(parts)
        if "oneOf" in schema:
            shapes = self.all_of([shapes, self.one_of(schema["oneOf"], shapes)])
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            self.inexact()
            rest = tuple(self._evaluated(schema, shape) for shape in shapes)
            shapes = tuple(shape for shape in rest if not void(shape))
        return shapes

    def _own(self, schema: dict[str, Any]) -> Shapes:
        """The schema's types, each with the keywords about it."""
        names = schema.get("type", list(EVERY_TYPE))
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) and name in TYPES for name in names):
            raise self.document.refuse(f"needs types out of {', '.join(TYPES)}", "type")
        if "number" in names:
            names = [name for name in names if name != "integer"]
        shapes = [shape_of_type(self.document, schema, name, "type" in schema) for name in dict.fromkeys(names)]
        if "contains" in schema:
            shapes = [found for shape in shapes for found in self._containing(schema, shape)]
        return tuple(shape for shape in shapes if not void(shape))

    def _containing(self, schema: dict[str, Any], shape: Shape) -> list[Shape]:
        """Arrays whose items that must match stand together, at any place of the prefix or right after it."""
        least = schema.get("minContains", 1)
        if type(least) is not int or least < 0:
            raise self.document.refuse("needs a count as minContains", "minContains")
        if not isinstance(shape, Array) or not least:
            return [shape]
        if least > len(shape.prefix) + 50:
            raise self.document.refuse("needs minContains below 50", "minContains")
        self.inexact()
        wanted, found = self.document.state(schema["contains"]), []
        for start in range(len(shape.prefix) + 1):
            length = max(len(shape.prefix), start + least)
            inside = range(start, start + least)
            prefix = tuple(shape.at(i) | (wanted if i in inside else frozenset()) for i in range(length))
            found.append(replace(shape, prefix=prefix, least=max(shape.least, start + least), asked=True))
        return list(found)

    def _applied(self, schema: dict[str, Any], keyword: str) -> list[Shapes]:
        """What an applicator adds, as unions that must hold besides the rest."""
        value = schema[keyword]
        if keyword in ("enum", "const"):
            return [self._literals(keyword, value)]
        if keyword == "$ref":
            return [self.expand(self.document.state(self.document.resolve(value)))]
        if keyword in ("allOf", "anyOf"):
            branches = self._branches(keyword, value)
            return branches if keyword == "allOf" else [_union(branches)]
        if keyword == "not":
            return [self.expand(frozenset({self.document.node(value, negated=True)}))]
        if keyword == "if":
            return [self._conditional(schema)]
        if keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            if keyword == "dependencies":  # without meaning since 2019-09
                self.inexact()
            return self._dependent(keyword, value)
        return []

    def _literals(self, keyword: str, value: Any) -> Shapes:
        values = value if keyword == "enum" else [value]
        if not isinstance(values, list):
            raise self.document.refuse("needs a list as enum", "enum")
        distinct = {canonical(each): each for each in values}
        return (Literals(tuple(distinct.values()), True),)

    def _branches(self, keyword: str, value: Any) -> list[Shapes]:
        if not isinstance(value, list) or not value:
            raise self.document.refuse(f"needs a list of schemas as {keyword}", keyword)
        return [self.expand(self.document.state(each)) for each in value]

    def _conditional(self, schema: dict[str, Any]) -> Shapes:
        """(if and then) or (not if and else)."""
        condition = schema["if"]
        if "then" not in schema and "else" not in schema:
            return tuple(EVERY_TYPE.values())
        yes = self.expand(self.document.state(condition, schema.get("then", True)))
        refused = frozenset({self.document.node(condition, negated=True)})
        no = self.expand(refused | self.document.state(schema.get("else", True)))
        return _union([yes, no])

    def _dependent(self, keyword: str, value: Any) -> list[Shapes]:
        """For each name: it is absent, or what depends on it holds (schemas), or is there (names)."""
        if not isinstance(value, dict):
            raise self.document.refuse(f"needs an object as {keyword}", keyword)
        never, parts = self.document.state(False), []
        others = tuple(shape for name, shape in EVERY_TYPE.items() if name != "object")
        for name, wanted in value.items():
            absent: Shapes = (Object(properties={name: never}), *others)
            if isinstance(wanted, list) and all(isinstance(each, str) for each in wanted):
                present: Shapes = (Object(required=(name, *wanted)),)
            else:
                present = self.all_of([(Object(required=(name,)),), self.expand(self.document.state(wanted))])
            parts.append(_union([absent, present]))
        return parts

    def _evaluated(self, schema: dict[str, Any], shape: Shape) -> Shape:
        """A shape in which what no keyword has looked at is held to the unevaluated... keyword."""
        if isinstance(shape, Object) and "unevaluatedProperties" in schema and not shape.evaluated_all:
            rest = self.document.state(schema["unevaluatedProperties"])
            properties = {
                name: state if name in shape.evaluated else state | rest for name, state in shape.properties.items()
            }
            shape = replace(
                shape, properties=properties, additional=shape.additional | rest, open=True, evaluated_all=True
            )
        if isinstance(shape, Array) and "unevaluatedItems" in schema and shape.evaluated < UNBOUNDED:
            rest = self.document.state(schema["unevaluatedItems"])
            done = int(shape.evaluated)
            length = max(len(shape.prefix), done)
            prefix = tuple(shape.at(i) if i < done else shape.at(i) | rest for i in range(length))
            shape = replace(shape, prefix=prefix, rest=shape.rest | rest, evaluated=UNBOUNDED)
        return shape

    def _both(self, a: Shape, b: Shape) -> Shape | None:
        """What both allow, within the work that a schema may cost."""
        self._work += size(a) + size(b)
        if self._work > MAX_WORK:
            raise self.document.refuse("has too many combinations of alternatives")
        return both(a, b, self.allows)

    def _void_inside(self, shape: Shape) -> bool:
        """Whether something that a shape needs inside certainly allows nothing."""
        if isinstance(shape, Array):
            return any(self.empty(shape.at(i)) for i in range(min(shape.least, len(shape.prefix) + 1)))
        if isinstance(shape, Object):
            return any(self.empty(shape.at(name)) for name in shape.required)
        return False


def _union(parts: Iterable[Shapes]) -> Shapes:
    return tuple(shape for part in parts for shape in part)
