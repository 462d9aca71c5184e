"""`firedeck user ...`, `firedeck api-key ...`, `firedeck whoami`, with firectl's flags."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime

import click

from client.access_types import ROLES, ApiKey, User, UserSpec
from client.cli import output as out
from client.cli.instants import INSTANT
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.listing import ListOptions
from client.resources import Client

_ROLE = click.Choice(ROLES)
USER_HEADER = ("ID", "ROLE", "KIND", "EMAIL", "DISPLAY NAME", "CREATE TIME")
KEY_HEADER = ("KEY ID", "NAME", "PREFIX", "CREATE TIME", "EXPIRE TIME")


@click.group(cls=Noun)
def user() -> None:
    """Users and service accounts, and their roles."""


@user.command()
@click.option("--user-id", help="Your own id.  [default: from the email; service accounts need one]")
@click.option("--email")
@click.option("--display-name")
@click.option("--role", type=_ROLE, default="user", show_default=True)
@click.option("--service-account", is_flag=True, help="For a program: CI, a backend.")
@dry_run_option
@quiet_option("The new user's id alone.")
@shared
def create(
    user_id: str | None, email: str | None, display_name: str | None, role: str, service_account: bool,
    output: str, base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Add a user; a key for it is made with `firedeck api-key create --user ID`."""
    given = {"email": email, "display_name": display_name, "service_account": service_account or None}
    spec = UserSpec(role=role, **{key: value for key, value in given.items() if value is not None})

    async def work(client: Client) -> None:
        made = await client.users.create(spec, user_id)
        out.show(made, USER_HEADER, _user_row, output)

    run(work, base_url, api_key, account)


@user.command(name="list")
@list_options("serviceAccount=true")
@shared
def list_users(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """All users of the account."""

    async def work(client: Client) -> None:
        show(await client.users.list(**asked), USER_HEADER, _user_row, output)

    run(work, base_url, api_key, account)


@user.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One user."""

    async def work(client: Client) -> None:
        out.show(await client.users.get(name), USER_HEADER, _user_row, output)

    run(work, base_url, api_key, account)


@user.command()
@click.argument("name")
@click.option("--role", type=_ROLE)
@click.option("--display-name")
@click.option("--email")
@dry_run_option
@shared
def update(
    name: str, role: str | None, display_name: str | None, email: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Change what is given; a new role holds at once for all keys of the user."""
    given = {"role": role, "display_name": display_name, "email": email}
    check_given(given.values())
    changes = UserSpec(**{key: value for key, value in given.items() if value is not None})

    async def work(client: Client) -> None:
        changed = await client.users.update(name, changes)
        out.show(changed, USER_HEADER, _user_row, output)

    run(work, base_url, api_key, account)


@user.command()
@names_argument()
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Remove a user and revoke their keys; what they made stays."""

    async def work(client: Client) -> None:
        await delete_each(names, client.users.delete, output)

    run(work, base_url, api_key, account)


@click.group(cls=Noun, name="api-key")
def api_key() -> None:
    """API keys: your own, and an admin's of others."""


def _whose(command: click.decorators.FC) -> click.decorators.FC:
    name = click.option("--user", "user_id", help="Whose; others' need an admin's key.  [default: your own]")
    return click.option("--service-account", "user_id", help="The same, as firectl has it.")(name(command))


def _expiry(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    return None if value in (None, "never") else INSTANT.convert(value, param, ctx)


@api_key.command(name="create")
@click.option("--key-name", "--display-name", "key_name", help="[default: default]")
@click.option(
    "--expire-time", callback=_expiry, help="This machine's time unless it has an offset, or never.  [default: never]"
)
@_whose
@dry_run_option
@shared
def create_key(
    key_name: str | None, expire_time: datetime | None, user_id: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Make a key. It is shown once: keep it."""

    async def work(client: Client) -> None:
        made = await client.api_keys.create(await whose(client, user_id), key_name, expire_time)
        if output == "json":
            out.say(out.as_json(made))
            return
        out.say(made.key or "")  # no flag takes it, and it is shown this once
        click.echo(f"key {made.key_id}: shown this once, keep it", err=True)

    run(work, base_url, api_key, account)


@api_key.command(name="list")
@list_options('displayName="laptop"', "createTime desc")
@_whose
@shared
def list_keys(
    user_id: str | None, asked: ListOptions, output: str, base_url: str | None, api_key: str | None,
    account: str | None,
) -> None:  # fmt: skip
    """The keys of a user, by prefix."""

    async def work(client: Client) -> None:
        show(await client.api_keys.list(await whose(client, user_id), **asked), KEY_HEADER, _key_row, output)

    run(work, base_url, api_key, account)


@api_key.command(name="delete")
@names_argument("KEY_ID...")
@_whose
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete_key(
    names: tuple[str, ...],
    user_id: str | None,
    output: str,
    base_url: str | None,
    api_key: str | None,
    account: str | None,
) -> None:
    """Revoke a key, at once."""

    async def work(client: Client) -> None:
        user = await whose(client, user_id)
        await delete_each(names, functools.partial(client.api_keys.delete, user), output)

    run(work, base_url, api_key, account)


@click.command()
@shared
def whoami(output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Account, user and role of the key in use."""

    async def work(client: Client) -> None:
        found = await client.users.whoami()
        out.say(out.machine_form(found, output) or f"{found.user} ({found.role}) of account {found.account}")

    run(work, base_url, api_key, account)


async def whose(client: Client, given: str | None) -> str:
    """The user given, else the one whose key this client has."""
    return given or (await client.users.whoami()).user


def _user_row(u: User) -> Sequence[str]:
    kind = "service" if u.service_account else "person"
    return (u.id, u.role or "", kind, u.email or "-", u.display_name or "-", out.local_time(u.create_time))


def _key_row(k: ApiKey) -> Sequence[str]:
    created, expires = out.local_time(k.create_time), out.local_time(k.expire_time) or "never"
    return (k.key_id, k.display_name or "-", f"{k.prefix}…", created, expires)
