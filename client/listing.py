"""Lists as the server has them (AIP-132, AIP-158): filter, order, one page or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypedDict, TypeVar

if TYPE_CHECKING:
    from client.http import Query, Transport

PAGE_SIZE_MAX = 200  # the most that a list answers at once
T = TypeVar("T")


class ListOptions(TypedDict, total=False):
    """What every list takes. `page_size` or `page_token` asks for one page alone; without them all pages come."""

    filter: str | None
    order_by: str | None
    page_size: int | None
    page_token: str | None


class Listed(list[T]):
    """What a list answered. `total_size`: how many there are on all pages; `next_page_token`: "" after the last."""

    total_size: int = 0
    next_page_token: str = ""


class Page(Protocol):
    """The wire form of a page; its items have a name of their own in each."""

    next_page_token: str

    @property
    def total_size(self) -> int | None: ...

    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...


P = TypeVar("P", bound=Page)


async def listed(
    transport: Transport, path: str, kind: type[P], items: Callable[[P], Sequence[T]], options: ListOptions, *,
    own: Query | None = None, limit: int | None = None,
) -> Listed[T]:  # fmt: skip
    """`own`: what only this list takes; `limit`: how many at most, where no single page is asked for."""
    size, token = options.get("page_size"), options.get("page_token") or ""
    one_page = bool(size or token)
    wanted = {"pageSize": size or min(limit or PAGE_SIZE_MAX, PAGE_SIZE_MAX)}
    asked = wanted | {"filter": options.get("filter"), "orderBy": options.get("order_by")} | dict(own or {})
    found: Listed[T] = Listed()
    while True:
        page = kind.model_validate(await transport.get(path, asked | {"pageToken": token}))
        found += items(page)
        found.total_size, found.next_page_token = max(page.total_size or 0, len(found)), page.next_page_token
        token = page.next_page_token
        if limit is not None and not one_page and len(found) >= limit:
            del found[limit:]
            found.next_page_token = ""  # what follows the page may not be what follows the limit
            return found
        if one_page or not token or not items(page):
            return found
