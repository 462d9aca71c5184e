"""`firedeck quota list|get|update`, with firectl's flags."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.access_types import Quota
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.options import run, shared
from client.listing import ListOptions
from client.resources import Client

HEADER = ("ID", "VALUE", "MAX VALUE", "USAGE", "UPDATE TIME")


@click.group()
def quota() -> None:
    """Quotas: what the account may use, and uses."""


@quota.command(name="list")
@list_options('name="*month*"')
@shared
def list_all(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Every quota that is enforced."""

    async def work(client: Client) -> None:
        show(await client.quotas.list(**asked), HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One quota."""

    async def work(client: Client) -> None:
        out.show(await client.quotas.get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@click.option("--value", type=click.IntRange(min=0), required=True, help="At most the quota's maximum.")
@shared
def update(name: str, value: int, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Set a quota (admins)."""

    async def work(client: Client) -> None:
        out.show(await client.quotas.update(name, value), HEADER, _row, output)

    run(work, base_url, api_key, account)


def _row(q: Quota) -> Sequence[str]:
    return (q.id, q.value or "", q.max_value or "", q.used or "-", out.local_time(q.update_time))
