"""`firedeck secret ...`, with firectl's flags."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from client.access_types import Secret
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.errors import InvalidArgument
from client.listing import ListOptions
from client.resources import Client

SECRET_HEADER = ("ID", "KEY NAME")


@click.group(cls=Noun)
def secret() -> None:
    """Secrets: values that go in and are never shown."""


def _value_options(command: click.decorators.FC) -> click.decorators.FC:
    value = click.option("--value", help="The value; other users of this machine may see it: better --from-file.")
    return click.option("--from-file", help="A file that holds the value; - is standard input.")(value(command))


@secret.command()
@click.option("--name", required=True, help="e.g. MY_SECRET")
@_value_options
@dry_run_option
@quiet_option("The new secret's id alone.")
@shared
def create(
    name: str, value: str | None, from_file: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Keep a secret."""

    async def work(client: Client) -> None:
        given = _value(value, from_file)
        if given is None:
            raise InvalidArgument("a value is needed", hint="--from-file FILE, or --from-file - for standard input")
        out.show(await client.secrets.create(name, given), SECRET_HEADER, _secret_row, output)

    run(work, base_url, api_key, account)


@secret.command(name="list")
@list_options('keyName="HF_*"')
@shared
def list_secrets(
    asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """The names of all secrets."""

    async def work(client: Client) -> None:
        show(await client.secrets.list(**asked), SECRET_HEADER, _secret_row, output)

    run(work, base_url, api_key, account)


@secret.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One secret, without its value."""

    async def work(client: Client) -> None:
        out.show(await client.secrets.get(name), SECRET_HEADER, _secret_row, output)

    run(work, base_url, api_key, account)


@secret.command()
@click.argument("name")
@click.option("--key-name", help="Another name for it.")
@_value_options
@dry_run_option
@shared
def update(
    name: str, key_name: str | None, value: str | None, from_file: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Give a secret another value."""
    check_given((key_name, value, from_file))

    async def work(client: Client) -> None:
        out.show(
            await client.secrets.update(name, key_name=key_name, value=_value(value, from_file)),
            SECRET_HEADER,
            _secret_row,
            output,
        )

    run(work, base_url, api_key, account)


@secret.command()
@names_argument()
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Forget a secret."""

    async def work(client: Client) -> None:
        await delete_each(names, client.secrets.delete, output)

    run(work, base_url, api_key, account)


def _value(value: str | None, from_file: str | None) -> str | None:
    if value is not None and from_file is not None:
        raise InvalidArgument("--value and --from-file exclude each other")
    if from_file is None:
        return value
    try:
        return sys.stdin.read() if from_file == "-" else Path(from_file).read_text()
    except OSError as error:
        raise InvalidArgument(f"{from_file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{from_file} is not a text file") from None


def _secret_row(s: Secret) -> Sequence[str]:
    return (s.id, s.key_name or "")
