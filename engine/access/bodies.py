"""Bodies of requests as wire types: unknown fields, wrong types and missing fields are refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, TypeVar

from pydantic import ValidationError

from client.errors import InvalidArgument
from client.types import Wire
from engine import declare
from engine.masks import update_paths
from engine.wire_paths import snake

W = TypeVar("W", bound=Wire)


def read(body: Any, kind: type[W], context: Mapping[str, Any] | None = None) -> W:
    """The body as `kind`, or InvalidArgument naming the first field that is wrong. `context`: of the validation."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    try:
        return kind.model_validate(body, extra="forbid", context=context)
    except ValidationError as error:
        raise declare.from_pydantic(error, body) from None


def without(message: W, output_only: Set[str]) -> W:
    """`message` as if these fields had not been given: clients send back what they got, and it means nothing there."""
    for name in output_only & message.model_fields_set:
        setattr(message, name, type(message).model_fields[name].get_default())
        message.model_fields_set.discard(name)
    return message


def masked(changes: W, update_mask: str) -> W:
    """`changes` with only those fields that an `updateMask` names, one that it lacks as none (google.aip.dev/134); all
    of them where there is no mask."""
    paths = update_paths(update_mask)
    if paths is None:
        return changes
    names = {snake(path) for path in paths}
    unknown = sorted(names - type(changes).model_fields.keys())
    if unknown:
        raise InvalidArgument(f"unknown field {unknown[0][:60]!r} in the update mask", field="updateMask")
    return type(changes)(**{name: getattr(changes, name) for name in names})
