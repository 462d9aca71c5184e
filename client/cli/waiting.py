"""firectl's `--wait` and `--wait-timeout`: a command that returns when what it asked for has come about."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from client.cli.durations import DURATION

Command = Callable[..., None]


def wait_options(event: str, default: str = "1h") -> Callable[[Command], Command]:
    """The command gets them as one argument, `patience`: for how long to wait, None for not at all."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*, wait: bool, wait_timeout: timedelta, **rest: Any) -> None:
            command(patience=wait_timeout if wait else None, **rest)

        limit = click.option("--wait-timeout", default=default, show_default=True, type=DURATION)
        wrapped: Command = click.option("--wait", is_flag=True, help=f"Return {event}.")(limit(gathered))
        return wrapped

    return decorate


def teller(*, quiet: bool = False) -> Callable[[str], None]:
    """What is told each new stage, for people: on standard error, unless they want it quiet."""
    return (lambda stage: None) if quiet else functools.partial(click.echo, err=True)
