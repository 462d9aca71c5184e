"""Paths into wire messages, in either spelling: `autoscaling_policy.scaleUpWindow`, `annotations.team`. Pure.

Masks, filters and orders name fields by such paths; the types of the messages say which there are.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from client.enums import OneOf
from client.wire import Wire

_UPPER = re.compile(r"(?<=[A-Za-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a path ends. `names` are attributes, the last one the key of a map where `keyed`; `kind` is the type there:
    a scalar, `list`, `dict`, or a message's class. `known`: all that an enum can be, empty for any other text."""

    names: tuple[str, ...]
    kind: Any
    keyed: bool = False
    known: tuple[str, ...] = ()

    @property
    def is_message(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, Wire)


def snake(path: str) -> str:
    """`minReplicaCount` -> `min_replica_count`; what is in snake case stays."""
    return _UPPER.sub(r"_\1", path).lower()


def find(message: type[Wire], path: str) -> Leaf | None:
    """Where `path` leads in messages of this class, None when there is no such field. A map takes any key."""
    kind: Any = message
    names: list[str] = []
    known: tuple[str, ...] = ()
    segments = path.split(".")
    for position, segment in enumerate(segments):
        if get_origin(kind) is dict:
            key, value = ".".join(segments[position:]), get_args(kind)[1]
            return Leaf((*names, key), _plain(value), keyed=True) if key else None
        if not (isinstance(kind, type) and issubclass(kind, Wire)) or snake(segment) not in kind.model_fields:
            return None
        names.append(snake(segment))
        field = kind.model_fields[names[-1]]
        kind, known = _bare(field.annotation), _known(field.annotation, field.metadata)
    return Leaf(tuple(names), _plain(kind), known=known)


def read(message: Any, names: Sequence[str]) -> Any:
    """The value at a path that `find` gave, None where it is not set."""
    value = message
    for name in names:
        if value is None:
            return None
        value = value.get(name) if isinstance(value, dict) else getattr(value, name)
    return value


def reader(leaf: Leaf) -> Callable[[Any], Any]:
    """`read` of one leaf, for many messages: a field of the message itself is got without a step of Python's."""
    if len(leaf.names) == 1 and not leaf.keyed:
        return attrgetter(leaf.names[0])
    return lambda message: read(message, leaf.names)


def _plain(annotation: Any) -> Any:
    """The class behind an annotation: `list` for `list[...]`, `str` for a `Literal` of texts."""
    bare = _bare(annotation)
    return str if get_origin(bare) is Literal else get_origin(bare) or bare


def _known(annotation: Any, marks: Sequence[Any]) -> tuple[str, ...]:
    """The names of an enum, be it marked `OneOf` or a `Literal`, and be it `| None`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _known(parts[0], parts[1:])
    if origin in (Union, types.UnionType):
        [only] = [part for part in parts if part is not type(None)]
        return _known(only, marks)
    if origin is Literal:
        return parts
    return next((mark.names for mark in marks if isinstance(mark, OneOf)), ())


def _bare(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        [only] = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(only)
    return annotation
