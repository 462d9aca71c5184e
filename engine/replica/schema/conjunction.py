"""Conjunctions: what two shapes have in common, whether a shape has room for anything, and which values are of it.

What the values inside may be is a question about states; whoever asks here brings the answer (`Allows`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from engine.replica.schema.numbers import highest_integer, lowest_integer
from engine.replica.schema.shapes import (
    Array,
    Literals,
    Number,
    Object,
    Shape,
    State,
    Text,
    canonical,
    decimal,
    type_of,
)

Allows: TypeAlias = Callable[[State, Any], bool]  # whether a value is valid under a state


def both(a: Shape, b: Shape, allows: Allows) -> Shape | None:
    """What both allow; None for nothing."""
    if isinstance(a, Literals) and isinstance(b, Literals):
        known = {canonical(value) for value in b.values}
        kept = tuple(value for value in a.values if canonical(value) in known)
        return Literals(kept, a.asked or b.asked) if kept else None
    if isinstance(a, Literals) or isinstance(b, Literals):
        literals, other = (a, b) if isinstance(a, Literals) else (b, a)
        assert isinstance(literals, Literals)
        kept = tuple(value for value in literals.values if accepts(other, value, allows))
        return Literals(kept, a.asked or b.asked) if kept else None
    for kind, meet in _MEET:
        if isinstance(a, kind):
            return meet(a, b) if isinstance(b, kind) else None
    return None


def void(shape: Shape) -> bool:
    """Whether nothing can be of this shape, whatever the values inside are."""
    if isinstance(shape, Literals):
        return not shape.values
    if isinstance(shape, Number):
        return _no_number(shape)
    if isinstance(shape, Text):
        return shape.least > shape.most
    if isinstance(shape, Array):
        return shape.least > shape.most
    return max(shape.least, len(shape.required)) > shape.most


def accepts(shape: Shape, value: Any, allows: Allows) -> bool:
    """Whether a value is of this shape."""
    if isinstance(shape, Literals):
        return canonical(value) in {canonical(each) for each in shape.values}
    kind = type_of(value)
    if isinstance(shape, Number):
        return kind == "number" and _within(shape, value)
    if isinstance(shape, Text):
        return kind == "string" and shape.least <= len(value) <= shape.most
    if isinstance(shape, Array):
        fits = kind == "array" and shape.least <= len(value) <= shape.most
        return fits and all(allows(shape.at(i), item) for i, item in enumerate(value))
    fits = kind == "object" and shape.least <= len(value) <= shape.most and all(n in value for n in shape.required)
    return fits and all(allows(shape.at(name), item) and allows(shape.names, name) for name, item in value.items())


def size(shape: Shape) -> int:
    """How much work it is to look at a shape."""
    if isinstance(shape, Object):
        return 1 + len(shape.properties) + len(shape.required)
    if isinstance(shape, Literals):
        return 1 + len(shape.values)
    return 1 + len(shape.prefix) if isinstance(shape, Array) else 1


def _no_number(shape: Number) -> bool:
    if shape.low is None or shape.high is None:
        return False
    if shape.integer:
        return (lowest_integer(shape) or 0) > (highest_integer(shape) or 0)
    return shape.low > shape.high or (shape.low == shape.high and (shape.low_open or shape.high_open))


def _within(shape: Number, value: float) -> bool:
    exact = decimal(value)
    low = shape.low is None or exact > shape.low or (exact == shape.low and not shape.low_open)
    high = shape.high is None or exact < shape.high or (exact == shape.high and not shape.high_open)
    return low and high and (not shape.integer or float(value).is_integer())


def _both_numbers(a: Number, b: Number) -> Number:
    low, low_open = _tighter((a.low, a.low_open), (b.low, b.low_open), 1)
    high, high_open = _tighter((a.high, a.high_open), (b.high, b.high_open), -1)
    return Number(a.integer or b.integer, low, high, low_open, high_open, a.asked or b.asked)


def _tighter(a: tuple[Decimal | None, bool], b: tuple[Decimal | None, bool], sign: int) -> tuple[Decimal | None, bool]:
    if a[0] is None or b[0] is None:
        return b if a[0] is None else a
    return max(a, b, key=lambda bound: ((bound[0] or Decimal()) * sign, bound[1]))


def _both_texts(a: Text, b: Text) -> Text:
    return Text(max(a.least, b.least), min(a.most, b.most), a.formats | b.formats, a.asked or b.asked)


def _both_arrays(a: Array, b: Array) -> Array:
    length = max(len(a.prefix), len(b.prefix))
    return Array(
        prefix=tuple(a.at(i) | b.at(i) for i in range(length)),
        rest=a.rest | b.rest,
        least=max(a.least, b.least),
        most=min(a.most, b.most),
        evaluated=max(a.evaluated, b.evaluated),
        asked=a.asked or b.asked,
    )


def _both_objects(a: Object, b: Object) -> Object:
    return Object(
        properties={name: a.at(name) | b.at(name) for name in [*a.properties, *b.properties]},
        required=tuple(dict.fromkeys(a.required + b.required)),
        additional=a.additional | b.additional,
        names=a.names | b.names,
        least=max(a.least, b.least),
        most=min(a.most, b.most),
        open=a.open or b.open,
        listed=a.listed or b.listed,
        evaluated=a.evaluated | b.evaluated,
        evaluated_all=a.evaluated_all or b.evaluated_all,
        asked=a.asked or b.asked,
    )


_MEET: tuple[tuple[type, Callable[[Any, Any], Shape]], ...] = (
    (Number, _both_numbers),
    (Text, _both_texts),
    (Array, _both_arrays),
    (Object, _both_objects),
)
