"""`firedeck quota list|get|update`, with firectl's flags; `--key-id` (firedeck's own) for those of a single key."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.access_types import Quota
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.options import quiet_option, run, shared
from client.cli.users import whose
from client.listing import ListOptions
from client.resources import Client

HEADER = ("ID", "VALUE", "MAX VALUE", "USAGE", "UPDATE TIME")


@click.group()
def quota() -> None:
    """Quotas: what the account may use, and uses."""


def _of_key(command: click.decorators.FC) -> click.decorators.FC:
    key = click.option("--key-id", help="Of this key by itself, not of the account.")
    return click.option("--user", "user_id", help="Whose key it is.  [default: your own]")(key(command))


@quota.command(name="list")
@list_options('name="*month*"')
@_of_key
@shared
def list_all(
    asked: ListOptions, key_id: str | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Every quota that is enforced."""

    async def work(client: Client) -> None:
        if key_id is None:
            found = await client.quotas.list(**asked)
        else:
            found = await client.api_keys.quotas(await whose(client, user_id), key_id, **asked)
        show(found, HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One quota."""

    async def work(client: Client) -> None:
        out.show(await client.quotas.get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@click.option("--value", type=click.IntRange(min=0), required=True, help="At most the quota's maximum.")
@_of_key
@shared
def update(
    name: str, value: int, key_id: str | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Set a quota (admins). At their maximum, where they begin, those by the minute are off."""

    async def work(client: Client) -> None:
        if key_id is None:
            changed = await client.quotas.update(name, value)
        else:
            changed = await client.api_keys.update_quota(await whose(client, user_id), key_id, name, value)
        out.show(changed, HEADER, _row, output)

    run(work, base_url, api_key, account)


def _row(q: Quota) -> Sequence[str]:
    return (q.id, q.value or "", q.max_value or "", q.used or "-", out.local_time(q.update_time))
