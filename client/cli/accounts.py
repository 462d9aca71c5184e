"""`firedeck account get|list`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import quiet_option, run, shared
from client.listing import ListOptions
from client.resources import Client
from client.types import Account

HEADER = ("NAME", "STATE", "SUSPEND STATE", "EMAIL", "CREATE TIME")


@click.group(cls=Noun)
def account() -> None:
    """The account of a key, and the one that owns the model library."""


@account.command()
@click.argument("name", required=False)
@quiet_option("Its name alone.")
@shared
def get(name: str | None, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One account.  [default: that of --account-id]"""

    async def work(client: Client) -> None:
        out.show(await client.accounts.get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@account.command(name="list")
@list_options("state=READY")
@shared
def list_all(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """The accounts that the key can see."""

    async def work(client: Client) -> None:
        show(await client.accounts.list(**asked), HEADER, _row, output)

    run(work, base_url, api_key, account)


def _row(a: Account) -> Sequence[str]:
    return (a.name, out.known(a.state), out.known(a.suspend_state), a.email or "-", out.local_time(a.create_time))
