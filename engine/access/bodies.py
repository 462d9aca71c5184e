"""Bodies of requests as wire types: unknown fields, wrong types and missing fields are refused by name."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from client.errors import InvalidArgument
from client.types import Wire
from engine import declare

W = TypeVar("W", bound=Wire)


def read(body: Any, kind: type[W]) -> W:
    """The body as `kind`, or InvalidArgument naming the first field that is wrong."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    try:
        return kind.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise declare.from_pydantic(error) from None
