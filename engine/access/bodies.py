"""Bodies of requests as wire types: unknown fields, wrong types and missing fields are refused by name."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from client.errors import InvalidArgument
from client.types import Wire
from engine import declare
from engine.masks import update_paths
from engine.wire_paths import snake

W = TypeVar("W", bound=Wire)


def read(body: Any, kind: type[W]) -> W:
    """The body as `kind`, or InvalidArgument naming the first field that is wrong."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    try:
        return kind.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise declare.from_pydantic(error) from None


def masked(changes: W, update_mask: str) -> W:
    """`changes` with only those fields that an `updateMask` names; all of them where there is none."""
    paths = update_paths(update_mask)
    if paths is None:
        return changes
    names = {snake(path) for path in paths}
    unknown = sorted(names - type(changes).model_fields.keys())
    if unknown:
        raise InvalidArgument(f"unknown field {unknown[0][:60]!r} in the update mask", field="updateMask")
    return type(changes)(**{name: getattr(changes, name) for name in names & changes.model_fields_set})
