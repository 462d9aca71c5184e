"""firectl's options of every list: a filter, an order, and one page or all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from client.cli import output as out
from client.cli.options import quiet_option
from client.listing import PAGE_SIZE_MAX, Listed, ListOptions
from client.wire import Wire

W = TypeVar("W", bound=Wire)
Command = Callable[..., None]
NAMES_ALONE = "Names alone, as other commands take them, one a line."


def list_options(
    filter_example: str, order_example: str = "name desc", *, quiet: str = NAMES_ALONE
) -> Callable[[Command], Command]:
    """The command gets them as one argument, `asked`: the `options` of a typed list, without `page_size` for
    `--no-paginate`."""
    options = (
        click.option("--filter", "filter_text", help=f"e.g. {filter_example}"),
        click.option("--order-by", help=f"e.g. '{order_example}'"),
        click.option("--page-size", type=click.IntRange(1, PAGE_SIZE_MAX), help="One page of so many.  [default: all]"),
        click.option("--page-token", help="The page after the one that named this token."),
        click.option("--no-paginate", is_flag=True, help="All of them, whatever --page-size says."),
    )

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(
            *, filter_text: str | None, order_by: str | None, page_size: int | None, page_token: str | None,
            no_paginate: bool, **rest: Any,
        ) -> None:  # fmt: skip
            if no_paginate and page_token:
                raise click.UsageError("--no-paginate and --page-token exclude each other")
            asked = ListOptions(filter=filter_text, order_by=order_by, page_token=page_token)
            command(asked=asked if no_paginate else asked | ListOptions(page_size=page_size), **rest)

        wrapped = quiet_option(quiet)(gathered)
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def show(
    found: Listed[W], header: Sequence[str], row: Callable[[W], Sequence[str]], output: str, note: str = ""
) -> None:
    """The rows, which page of how many this is, how many there are on all of them, and on standard error how to get the
    next page."""
    out.show(found, header, row, output, note, total=found.total_size, page=_page(found.total_size))
    tell_more(found.next_page_token)


def _page(total: int) -> str:
    """firectl's `Page 1 of 3`; "" after a token, which does not say how many pages came before."""
    asked = click.get_current_context().params
    if asked.get("page_token"):
        return ""
    size = total if asked.get("no_paginate") else asked.get("page_size") or total
    return f"Page 1 of {max(1, -(-total // max(1, size)))}"


def tell_more(page_token: str) -> None:
    """Of a page after which there is another one."""
    if page_token:
        click.echo(f"there are more: --page-token {page_token}", err=True)
