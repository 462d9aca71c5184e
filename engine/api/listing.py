"""Lists as AIP-132 has them: filter, order, pages. Pure.

A page token says where the last page ended (the sort keys and the name of its last item), not how many items there
were: whatever is made or deleted between two pages, an item that stays as it is appears exactly once. Tokens are
signed, and belong to one query (https://google.aip.dev/158).
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument
from client.types import Wire
from engine.api.filtering import compiled
from engine.wire_paths import Leaf, find, read, reader

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 200
ORDER_PARTS_MAX = 5
_SIGNATURE_BYTES = 16

W = TypeVar("W", bound=Wire)
SortKey = tuple[int, float, str]  # what is not set comes first, numbers by value, texts by code point
Position = tuple[list[SortKey], str]  # of an item: its keys and its name


@dataclass(frozen=True, slots=True)
class By:
    """One part of an order."""

    leaf: Leaf
    descending: bool


def page(
    items: Sequence[W],
    *,
    size: int | None,
    token: str,
    filter_text: str,
    order_by: str,
    default_order: str,
    scope: str = "",
    secret: bytes = b"",
    read_mask: str = "",
    kind: type[W] | None = None,
) -> tuple[list[W], str, int]:
    """One page of `items`: (items, next page token or "", total after filtering).

    `kind`: the items' class, told from the first of them where it is not given. `scope`: what else than filter and
    order makes the query; `secret` signs the tokens. `read_mask` is for whoever shows the items.
    """
    item_kind = kind or (type(items[0]) if items else Wire)
    orders = _orders(order_by or default_order, item_kind) if items or kind else []
    holds = compiled(filter_text, item_kind) if items or kind else None
    found = _ordered([item for item in items if holds(item)] if holds else list(items), orders)
    query = f"{scope}\n{filter_text}\n{order_by or default_order}"
    count = page_size(size)
    start = _after(found, orders, _position(token, query, secret)) if token else 0
    end = start + count
    more = end < len(found)
    return found[start:end], _token(found[end - 1], orders, query, secret) if more else "", len(found)


def page_size(size: int | None) -> int:
    """How many a page has: the default for none or 0, the most there may be for more than that."""
    count = min(size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    if count < 1:
        raise InvalidArgument(f"pageSize {count} is less than 1", field="pageSize", hint="leave it out for 50")
    return count


def _orders(text: str, kind: type[Wire]) -> list[By]:
    """The parts of an `orderBy`, e.g. "createTime desc, name"."""
    parts = text.split(",")
    if len(parts) > ORDER_PARTS_MAX:
        raise InvalidArgument(f"orderBy has more than {ORDER_PARTS_MAX} fields", field="orderBy")
    return [_order(part, kind) for part in parts]


def _order(part: str, kind: type[Wire]) -> By:
    words = part.split()
    direction = words[1].lower() if len(words) == 2 else "asc"
    if len(words) not in (1, 2) or direction not in ("asc", "desc"):
        raise InvalidArgument(f"orderBy {part[:60]!r} cannot be read", field="orderBy", hint="e.g. 'name desc'")
    leaf = find(kind, words[0])
    if leaf is None:
        near = difflib.get_close_matches(words[0], map(to_camel, kind.model_fields), n=1)
        hint = f"did you mean {near[0]}?" if near else "fields are named as in the JSON of an item"
        raise InvalidArgument(f"orderBy names an unknown field {words[0][:60]!r}", field="orderBy", hint=hint)
    if leaf.kind in (list, dict) or leaf.is_message:
        raise InvalidArgument(
            f"orderBy cannot use {words[0]!r}", field="orderBy", hint="name a number, a text or a time below it"
        )
    return By(leaf, direction == "desc")


def _ordered(items: list[W], orders: Sequence[By]) -> list[W]:
    """Sorted by each part in turn, equals by name."""
    items.sort(key=_name)
    for by in reversed(orders):
        items.sort(key=_comparable(items, by), reverse=by.descending)
    return items


def _comparable(items: Sequence[W], by: By) -> Callable[[W], Any]:
    """What orders just these items as `_sort_key` does: their values as they are, unless some are not set."""
    value = reader(by.leaf)
    if None not in map(value, items):
        return value
    return lambda item: ((found := value(item)) is not None, found)


def _sort_key(item: Wire, by: By) -> SortKey:
    value = read(item, by.leaf.names)
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, datetime):
        return (1, value.timestamp(), "")
    if isinstance(value, timedelta):
        return (1, value.total_seconds(), "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def _name(item: Wire) -> str:
    """What tells an item from all others: its name, of a key its id, of an event its number."""
    return str(getattr(item, "name", None) or getattr(item, "key_id", None) or getattr(item, "seq", ""))


def _after(items: Sequence[W], orders: Sequence[By], position: Position) -> int:
    """The index of the first item behind a position, by bisection."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if _behind(_position_of(items[middle], orders), position, orders):
            high = middle
        else:
            low = middle + 1
    return low


def _behind(one: Position, other: Position, orders: Sequence[By]) -> bool:
    if len(other[0]) != len(orders):
        raise _not_ours()
    for by, mine, its in zip(orders, one[0], other[0], strict=True):
        if mine != its:
            return (mine < its) == by.descending
    return one[1] > other[1]


def _position_of(item: Wire, orders: Sequence[By]) -> Position:
    return [_sort_key(item, by) for by in orders], _name(item)


def _token(last: Wire, orders: Sequence[By], query: str, secret: bytes) -> str:
    body = json.dumps(_position_of(last, orders), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_signature(body, query, secret) + body).decode().rstrip("=")


def _position(token: str, query: str, secret: bytes) -> Position:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _not_ours() from None
    signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(body, query, secret)):
        raise _not_ours()
    keys, name = json.loads(body)
    return [(int(rank), float(number), str(text)) for rank, number, text in keys], str(name)


def _signature(body: bytes, query: str, secret: bytes) -> bytes:
    query_digest = hashlib.sha256(query.encode("utf-8", "surrogatepass")).digest()
    return hmac.digest(secret or b"unsigned", query_digest + body, "sha256")[:_SIGNATURE_BYTES]


def _not_ours() -> InvalidArgument:
    return InvalidArgument(
        "pageToken was not made by this server for this query",
        field="pageToken",
        hint="send the same filter and orderBy as for the first page, or begin again without a token",
    )
