"""Lists as AIP-132 and AIP-160 have them: filter, order, pages.

The filter understands `field = value` terms joined by AND (both spellings of a field, quotes optional), which is what
the SDKs and `firectl` send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument
from client.types import Wire

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 200
_TERM = re.compile(r'\s*([A-Za-z_.]+)\s*(!=|=)\s*(?:"([^"]*)"|([^\s"()]+))\s*')

W = TypeVar("W", bound=Wire)


def page(
    items: Sequence[W], *, size: int | None, token: str, filter_text: str, order_by: str, default_order: str
) -> tuple[list[W], str, int]:
    """One page of `items`: (items, next page token or "", total after filtering)."""
    found = _ordered([item for item in items if matches(item, filter_text)], order_by or default_order)
    start = _start(token)
    count = min(size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    if count < 1:
        raise InvalidArgument(f"pageSize {count} is less than 1", field="pageSize")
    end = start + count
    return found[start:end], str(end) if end < len(found) else "", len(found)


def matches(item: Wire, filter_text: str) -> bool:
    """Whether a filter holds for an item; InvalidArgument for one that cannot be read."""
    if not filter_text.strip():
        return True
    wire = item.to_wire()
    for term in re.split(r"\s+AND\s+", filter_text.strip()):
        match = _TERM.fullmatch(term)
        if match is None:
            raise InvalidArgument(
                f"filter term {term[:80]!r} cannot be read", field="filter", hint='write field="value" AND ...'
            )
        value = match[3] if match[3] is not None else match[4]
        if (_field(wire, match[1], "filter") == value) == (match[2] == "!="):
            return False
    return True


def _ordered(items: list[W], order_by: str) -> list[W]:
    for part in reversed(order_by.split(",")):
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1].lower() not in {"asc", "desc"}):
            raise InvalidArgument(f"orderBy {part[:60]!r} cannot be read", field="orderBy", hint='e.g. "name desc"')
        down = words[-1].lower() == "desc"
        items = sorted(items, key=lambda item: _field(item.to_wire(), words[0], "orderBy"), reverse=down)
    return items


def _field(wire: dict[str, Any], path: str, parameter: str) -> str:
    value: Any = wire
    for part in path.split("."):
        name = to_camel(part) if "_" in part else part
        value = value.get(name, "") if isinstance(value, dict) else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise InvalidArgument(f"{parameter} cannot use {path!r}", field=parameter)
    return str(value)


def _start(token: str) -> int:
    if not token:
        return 0
    if not token.isdigit() or len(token) > 9:
        raise InvalidArgument("pageToken was not made by this server", field="pageToken")
    return int(token)
