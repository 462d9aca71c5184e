"""What a schema allows, one JSON type at a time: the pieces that schemas are worked out with.

A `State` is a set of schemas that must hold together; the empty one allows anything. A `Shape` is what a state allows
of one type, with states for the values inside. A union of shapes is a schema in disjunctive form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

UNBOUNDED = math.inf


class Node(NamedTuple):
    """A schema of the document by its number, or its negation."""

    number: int
    negated: bool = False


State = frozenset[Node]
ANYTHING: State = frozenset()


@dataclass(frozen=True, slots=True)
class Literals:
    """A finite set of values. `asked` (in every shape): a keyword speaks of this type, so it is what is wanted."""

    values: tuple[Any, ...]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """Bounds are None where there are none; open ones exclude the bound itself."""

    integer: bool = False
    low: Decimal | None = None
    high: Decimal | None = None
    low_open: bool = False
    high_open: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Lengths count code points."""

    least: int = 0
    most: float = UNBOUNDED
    formats: frozenset[str] = frozenset()
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """`evaluated` counts the items that a keyword of the same schema has looked at (unevaluatedItems)."""

    prefix: tuple[State, ...] = ()
    rest: State = ANYTHING
    least: int = 0
    most: float = UNBOUNDED
    evaluated: float = 0
    asked: bool = False

    def at(self, index: int) -> State:
        return self.prefix[index] if index < len(self.prefix) else self.rest


@dataclass(frozen=True, slots=True)
class Object:
    """`open`: other properties than the listed ones were spoken of, so they may be written too; `listed`: there is a
    list at all, which without them means that no others are wanted."""

    properties: Mapping[str, State] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    additional: State = ANYTHING
    names: State = ANYTHING
    least: int = 0
    most: float = UNBOUNDED
    open: bool = False
    listed: bool = False
    evaluated: frozenset[str] = frozenset()
    evaluated_all: bool = False
    asked: bool = False

    def at(self, name: str) -> State:
        return self.properties.get(name, self.additional)


Shape = Literals | Number | Text | Array | Object

EVERY_TYPE: dict[str, Shape] = {
    "object": Object(),
    "array": Array(),
    "string": Text(),
    "number": Number(),
    "boolean": Literals((True, False)),
    "null": Literals((None,)),
}


def type_of(value: Any) -> str:
    """The JSON type of a value that came out of a JSON parser; integers are numbers."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def type_of_shape(shape: Shape) -> str | None:
    """The one type of a shape; None for literals, which may be of several."""
    if isinstance(shape, Literals):
        return None
    return next(name for name, example in EVERY_TYPE.items() if isinstance(shape, type(example)))


def canonical(value: Any) -> str:
    """One text for values that JSON Schema calls equal: 1.0 is 1, true is not 1, the order of keys is nothing."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def decimal(number: float) -> Decimal:
    """A JSON number as it was written (a float's shortest spelling)."""
    return Decimal(repr(number))
