"""What is of no given shape: the way `not`, and `else` of a condition, are turned into shapes."""

from __future__ import annotations

from engine.replica.schema.shapes import (
    EVERY_TYPE,
    UNBOUNDED,
    Array,
    Literals,
    Node,
    Number,
    Object,
    Shape,
    State,
    Text,
    type_of,
    type_of_shape,
)

NEVER = Node(0)


def complement(shape: Shape) -> tuple[tuple[Shape, ...], bool]:
    """Shapes for what `shape` does not allow, and whether they are all of it."""
    if isinstance(shape, Literals):
        return _other_than(shape)
    own = type_of_shape(shape)
    others = [found for name, found in EVERY_TYPE.items() if name != own]
    if isinstance(shape, Number):
        inside, exact = _numbers(shape)
    elif isinstance(shape, Text):
        inside, exact = _texts(shape)
    elif isinstance(shape, Array):
        inside, exact = _arrays(shape)
    else:
        inside, exact = _objects(shape)
    return (*others, *inside), exact


def _other_than(shape: Literals) -> tuple[tuple[Shape, ...], bool]:
    """The other truth value and the types without one of the values; of strings and numbers there would be more."""
    kinds = {type_of(value) for value in shape.values}
    others = [found for name, found in EVERY_TYPE.items() if name not in kinds]
    if "boolean" in kinds:
        left = tuple(value for value in (True, False) if not any(value is given for given in shape.values))
        others += [Literals(left)] if left else []
    return tuple(others), kinds <= {"null", "boolean"}


def _numbers(shape: Number) -> tuple[list[Shape], bool]:
    found: list[Shape] = []
    if shape.low is not None:
        found.append(Number(high=shape.low, high_open=not shape.low_open))
    if shape.high is not None:
        found.append(Number(low=shape.high, low_open=not shape.high_open))
    return found, not shape.integer  # numbers that are no integers have no shape


def _texts(shape: Text) -> tuple[list[Shape], bool]:
    found: list[Shape] = [Text(most=shape.least - 1)] if shape.least else []
    if shape.most < UNBOUNDED:
        found.append(Text(least=int(shape.most) + 1))
    return found, not shape.formats


def _arrays(shape: Array) -> tuple[list[Shape], bool]:
    found: list[Shape] = [Array(most=shape.least - 1)] if shape.least else []
    if shape.most < UNBOUNDED:
        found.append(Array(least=int(shape.most) + 1))
    for index, state in enumerate(shape.prefix):
        before: tuple[State, ...] = (frozenset(),) * index
        found += [Array(prefix=(*before, wrong), least=index + 1) for wrong in _violations(state)]
    return found, not shape.rest


def _objects(shape: Object) -> tuple[list[Shape], bool]:
    found: list[Shape] = [Object(most=shape.least - 1)] if shape.least else []
    if shape.most < UNBOUNDED:
        found.append(Object(least=int(shape.most) + 1))
    found += [Object(properties={name: frozenset({NEVER})}) for name in shape.required]
    for name, state in shape.properties.items():
        found += [Object(properties={name: wrong}, required=(name,)) for wrong in _violations(state)]
    return found, not shape.additional and not shape.names


def _violations(state: State) -> list[State]:
    """One state for each member that may fail."""
    return [frozenset({Node(node.number, not node.negated)}) for node in sorted(state)]
