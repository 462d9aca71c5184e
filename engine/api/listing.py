"""Lists as AIP-132 and AIP-160 have them: filter, order, pages.

The filter understands `field = value`, `field != value` and `field : value` (contains, ignoring case) joined by AND
(both spellings of a field, quotes optional), which is what the SDKs and `firectl` send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument
from client.types import Wire

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 200
_TERM = re.compile(r'([A-Za-z_.]+)\s*(!=|=|:)\s*(?:"([^"]*)"|([^\s"()=]+))')
_AND = re.compile(r"\s+AND\s+")

W = TypeVar("W", bound=Wire)
SortKey = tuple[int, float, str]


@dataclass(frozen=True, slots=True)
class Term:
    """`field = value`, `!=` where `equal` is False, `:` where `contains` is True."""

    field: str
    equal: bool
    value: str
    contains: bool = False


def page(
    items: Sequence[W], *, size: int | None, token: str, filter_text: str, order_by: str, default_order: str
) -> tuple[list[W], str, int]:
    """One page of `items`: (items, next page token or "", total after filtering)."""
    terms = parse(filter_text)
    found = _ordered([item for item in items if matches(item, terms)], order_by or default_order)
    start = _start(token)
    end = start + page_size(size)
    return found[start:end], str(end) if end < len(found) else "", len(found)


def page_size(size: int | None) -> int:
    """How many a page has: the default for none or 0, the most there may be for more than that."""
    count = min(size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    if count < 1:
        raise InvalidArgument(f"pageSize {count} is less than 1", field="pageSize")
    return count


def parse(filter_text: str) -> list[Term]:
    """The terms of a filter; InvalidArgument for one that cannot be read."""
    text, position = filter_text.strip(), 0
    terms: list[Term] = []
    while position < len(text):
        joint = _AND.match(text, position) if terms else None
        match = _TERM.match(text, joint.end() if joint else position)
        if match is None or (terms and joint is None):
            raise InvalidArgument(
                f"filter {text[position:][:80]!r} cannot be read", field="filter", hint='write field="value" AND ...'
            )
        terms.append(Term(match[1], match[2] != "!=", match[3] if match[3] is not None else match[4], match[2] == ":"))
        position = match.end()
    return terms


def matches(item: Wire, terms: Sequence[Term]) -> bool:
    """Whether all terms hold for an item."""
    wire = item.to_wire() if terms else {}
    return all(_holds(_text(_field(item, wire, term.field, "filter")), term) for term in terms)


def _holds(value: str, term: Term) -> bool:
    return term.value.lower() in value.lower() if term.contains else (value == term.value) == term.equal


def _ordered(items: list[W], order_by: str) -> list[W]:
    for part in reversed(order_by.split(",")):
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1].lower() not in {"asc", "desc"}):
            raise InvalidArgument(f"orderBy {part[:60]!r} cannot be read", field="orderBy", hint='e.g. "name desc"')
        down = words[-1].lower() == "desc" and len(words) == 2
        items = sorted(items, key=partial(_sort_key, words[0]), reverse=down)
    return items


def _sort_key(path: str, item: Wire) -> SortKey:
    """Numbers by value, texts by code point; what is not set comes first."""
    value = _field(item, item.to_wire(), path, "orderBy")
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def _field(item: Wire, wire: dict[str, Any], path: str, parameter: str) -> Any:
    """The value at `path` (either spelling), None when it is not set; InvalidArgument when there is no such field."""
    value: Any = wire
    first, *below = (to_camel(part) if "_" in part else part for part in path.split("."))
    if first not in {to_camel(name) for name in type(item).model_fields}:
        raise InvalidArgument(f"{parameter} names an unknown field {path[:60]!r}", field=parameter)
    for name in (first, *below):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        raise InvalidArgument(f"{parameter} cannot use {path!r}", field=parameter)
    return value


def _text(value: Any) -> str:
    return "" if value is None else {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _start(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit()) or len(token) > 9:
        raise InvalidArgument("pageToken was not made by this server", field="pageToken")
    return int(token)
