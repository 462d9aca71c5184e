"""`firedeck signin`, `signout`, `profile list` and `version`, as firectl has them."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import click

from client import profiles
from client.cli import exits
from client.cli import output as out
from client.cli.nouns import Noun
from client.cli.options import run
from client.config import PROFILE_VARIABLE, Context, default_data_dir
from client.errors import FiredeckError, InvalidArgument
from client.profiles import Profile
from client.resources import Client

HEADER = ("NAME", "BASE URL", "ACCOUNT", "KEY", "USED")


def _name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return profiles.check_name(value)
    except InvalidArgument as error:
        raise click.BadParameter(error.text) from None


named = click.option(
    "-p", "--profile", envvar=PROFILE_VARIABLE, default=profiles.DEFAULT, show_default=True, metavar="NAME",
    show_envvar=True, callback=_name, help="Under which name it is kept.",
)  # fmt: skip


@click.command()
@named
@click.option(
    "--base-url",
    help="Engine.  [default: the profile's, FIREWORKS_BASE_URL, or that of the profile default, or the local one]",
)
@click.option("--api-key", help="Key.  [default: it is asked for]")
def signin(profile: str, base_url: str | None, api_key: str | None) -> None:
    """Keep an engine and a key for all commands that are given no others; the key is tried first.

    Kept under a name, they are those of `--profile NAME` (or FIREDECK_PROFILE=NAME) of every command and the dashboard.
    `default` needs no naming: it holds where neither options nor variables say which engine and which key.
    """
    kept = profiles.read(default_data_dir()).get(profile)
    url = Context.resolve(base_url or (kept.base_url if kept else None), "", profile=profiles.DEFAULT).base_url
    key = api_key or _typed(url)

    async def work(client: Client) -> None:
        found = await client.users.whoami()
        file = profiles.write(default_data_dir(), Profile(profile, url, key, found.account))
        out.say(f"signed in to {url} as {found.user} ({found.role}) of account {found.account}")
        click.echo(f"kept in {file} as the profile {profile}", err=True)

    run(work, url, key, None)


def _typed(url: str) -> str:
    try:
        key: str = click.prompt(f"API key of {url}", hide_input=True, err=True)
    except click.Abort as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise
        click.echo("error: no key was typed (give it with --api-key where nobody can type it)", err=True)
        sys.exit(exits.FAILED)
    return key


@click.command()
@named
def signout(profile: str) -> None:
    """Forget what `signin` kept; the key itself stays good until it is deleted."""
    try:
        was = profiles.forget(default_data_dir(), profile)
    except FiredeckError as error:
        click.echo(f"error: {error.text}", err=True)
        sys.exit(exits.status_of(error))
    out.say(f"signed out of {profile}" if was else f"nobody was signed in as {profile}")


@click.group(cls=Noun)
def profile() -> None:
    """Engines and keys that signin keeps under a name."""


@profile.command(name="list")
def list_profiles() -> None:
    """What is kept; of a key no more than that there is one."""
    used = os.environ.get(PROFILE_VARIABLE) or profiles.DEFAULT
    rows = [
        (one.name, one.base_url, one.account or "-", "yes" if one.api_key else "no", "*" if one.name == used else "")
        for one in sorted(profiles.read(default_data_dir()).values(), key=lambda one: one.name)
    ]
    out.say(out.listing(HEADER, rows, page=""))


@click.command()
def version() -> None:
    """Which version of firedeck this is."""
    out.say(f"firedeck {importlib.metadata.version('firedeck')}")
