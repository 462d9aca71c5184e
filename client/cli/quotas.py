"""`firedeck quota list|get|update|delete`, with firectl's flags; `--key-id` (firedeck's own) for those of one key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from client.access_types import Quota
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.cli.users import whose
from client.errors import InvalidArgument
from client.listing import ListOptions
from client.resources import Client

HEADER = ("ID", "VALUE", "MAX VALUE", "USAGE", "UPDATE TIME")


class _Whole(click.ParamType[int]):
    """Quotas have no parts of one: on the wire they are int64."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not (value.isascii() and value.isdigit()):
            what = "requests, tokens, replicas, hours and US dollars are limited in whole ones"
            self.fail(f"{value!r} is no whole number of 0 or more: {what}", param, ctx)
        return int(value)


@click.group(cls=Noun)
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
        key = (await _quotas(client, key_id, user_id)).key
        found = await (client.api_keys.quotas(*key, **asked) if key else client.quotas.list(**asked))
        show(found, HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@_of_key
@quiet_option("Its name alone.")
@shared
def get(
    name: str, key_id: str | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """One quota."""

    async def work(client: Client) -> None:
        out.show(await (await _quotas(client, key_id, user_id)).get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@quota.command()
@click.argument("name")
@click.option("--value", type=_Whole(), required=True, help="A whole number, at most the quota's maximum.")
@_of_key
@dry_run_option
@shared
def update(
    name: str, value: int, key_id: str | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Set a quota (admins). At their maximum, where they begin, those by the minute and the month are off."""

    async def work(client: Client) -> None:
        changed = await (await _quotas(client, key_id, user_id)).update(name, value)
        out.show(changed, HEADER, _row, output)
        if warning := beyond(changed):
            out.tell(warning, output)

    run(work, base_url, api_key, account)


@quota.command()
@names_argument()
@_of_key
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(
    names: tuple[str, ...], key_id: str | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Take limits away (admins): each goes back to its maximum, where it began."""

    async def work(client: Client) -> None:
        quotas = await _quotas(client, key_id, user_id)
        await delete_each(names, quotas.delete, output)

    run(work, base_url, api_key, account)


@dataclass(frozen=True)
class _Quotas:
    """Those of the account, or of one `key`, a user's id and its own."""

    client: Client
    key: tuple[str, str] | None

    async def get(self, name: str) -> Quota:
        return await (self.client.api_keys.quota(*self.key, name) if self.key else self.client.quotas.get(name))

    async def update(self, name: str, value: int) -> Quota:
        if self.key is None:
            return await self.client.quotas.update(name, value)
        return await self.client.api_keys.update_quota(*self.key, name, value)

    async def delete(self, name: str) -> None:
        if self.key is None:
            await self.client.quotas.delete(name)
        else:
            await self.client.api_keys.delete_quota(*self.key, name)


async def _quotas(client: Client, key_id: str | None, user_id: str | None) -> _Quotas:
    if key_id is None and user_id is not None:
        raise InvalidArgument("limits are of the account or of one key", hint="give --key-id: firedeck api-key list")
    return _Quotas(client, None if key_id is None else (await whose(client, user_id), key_id))


def beyond(q: Quota) -> str:
    """That more is in use than the quota now allows; "" where it is not."""
    if q.off or q.usage is None or q.value is None or q.usage <= int(q.value):
        return ""
    what = "what there is stays, and none is added" if q.id.endswith("-count") else "it holds from now on"
    return f"warning: {q.id} is {q.value} now, and {q.used} are used already: {what}"


def _row(q: Quota) -> Sequence[str]:
    return (q.id, "off" if q.off else q.value or "", q.max_value or "", q.used or "-", out.local_time(q.update_time))
