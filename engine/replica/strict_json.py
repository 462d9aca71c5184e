"""JSON as RFC 8259 has it: UTF-8, no NaN, no infinity, no number out of range."""

from __future__ import annotations

import json
from typing import Any

from client.errors import InvalidArgument


def parse_json(raw: bytes) -> Any:
    """The value in `raw`. Raises InvalidArgument."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidArgument("the body nests too deep") from None
    except ValueError as error:  # bad UTF-8, bad JSON, an integer of thousands of digits
        raise InvalidArgument(f"the body is not valid JSON: {error}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return value
