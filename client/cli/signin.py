"""`firedeck signin`, `firedeck signout` and `firedeck version`, as firectl has them."""

from __future__ import annotations

import importlib.metadata

import click

from client.cli import output as out
from client.cli.options import run
from client.config import Context, SignIn
from client.resources import Client


@click.command()
@click.option("--base-url", help="Engine.  [default: the local one]")
@click.option("--api-key", help="Key.  [default: it is asked for]")
def signin(base_url: str | None, api_key: str | None) -> None:
    """Keep an engine and a key for all commands that are given no others; the key is tried first."""
    url = Context.resolve(base_url, "").base_url
    key: str = api_key or click.prompt(f"API key of {url}", hide_input=True, err=True)

    async def work(client: Client) -> None:
        found = await client.users.whoami()
        file = SignIn(url, key, found.account).write()
        out.say(f"signed in to {url} as {found.user} ({found.role}) of account {found.account}")
        click.echo(f"kept in {file}", err=True)

    run(work, url, key, None)


@click.command()
def signout() -> None:
    """Forget what `signin` kept; the key itself stays good until it is deleted."""
    out.say("signed out" if SignIn.forget() else "nobody was signed in")


@click.command()
def version() -> None:
    """Which version of firedeck this is."""
    out.say(f"firedeck {importlib.metadata.version('firedeck')}")
