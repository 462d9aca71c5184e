"""Which engine a command asks: `--base-url`, `--api-key`, `--account-id` and `--profile`, made a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from client import profiles
from client.config import Context, default_data_dir
from client.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])
_PROFILE = "firedeck.profile"  # in a context's `meta`


def profile_option(command: F) -> F:
    """firectl's `--profile`: commands need not pass it on, `context_of` knows it."""

    def keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        ctx.meta[_PROFILE] = value

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in profiles.read(default_data_dir()) if name.startswith(incomplete)]

    text = "An engine and a key that firedeck signin keeps.  [env: FIREDECK_PROFILE; default: default]"
    return click.option(
        "-p", "--profile", expose_value=False, callback=keep, metavar="NAME", help=text, shell_complete=complete
    )(command)


def profile_named() -> str | None:
    """By the option, of the command that runs."""
    running = click.get_current_context(silent=True)
    return running.meta.get(_PROFILE) if running else None


def context_of(base_url: str | None, api_key: str | None, account: str | None) -> Context:
    """Of the command that runs; raises as `Context.resolve` does, and InvalidArgument for a key that is empty."""
    if api_key == "":  # a variable that was not set, in a script
        raise InvalidArgument(
            "no API key was given: --api-key is empty", hint="give a key, or leave --api-key out for the usual one"
        )
    return Context.resolve(base_url, api_key, account, profile_named())
