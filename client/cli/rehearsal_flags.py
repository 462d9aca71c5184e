"""`-o flag` of a dry run: what would be, by the flags of the commands that make or change such a thing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import click

from client.cli import output as out
from client.cli.deployment_settings import settings_of
from client.dry_run import HIDDEN, Fields
from client.types import Deployment

Path = tuple[str, ...]
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_VERBS = ("create", "update")  # of the same noun as the command that runs


def text(name: str, fields: Fields) -> str:
    """`--display-name=New`; of a deployment what `firedeck deployment get -o flag` has."""
    if "/deployments/" in name:
        flags = {flag for one in _options(_beside("create")) for flag in (*one.opts, *one.secondary_opts)}
        return out.as_flags(settings_of(Deployment.model_validate(fields)), only=flags)
    taken = _taken()
    return " ".join(flag for path, value in flat(fields) for flag in _flags(taken, path, value))


def flat(fields: Fields, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Settings below messages by their paths."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, (*above, name))
        else:
            yield (*above, name), value


def _taken() -> Mapping[str, tuple[str, click.Option]]:
    """The flags of those commands with their options, by what they set. `--name` is none: it is the resource's own."""
    running = click.get_current_context().command
    beside = [] if running.name in _VERBS else [*map(_beside, _VERBS)]
    options = [option for command in (*beside, running) for option in _options(command)]
    by_flag = {flag.lstrip("-").replace("-", "_"): (flag, one) for one in options for flag in one.opts}
    by_name = {str(one.name): (one.opts[0], one) for one in options}
    return {field: taken for field, taken in (by_name | by_flag).items() if field != "name"}


def _beside(verb: str) -> click.Command | None:
    """Of the same noun as the command that runs."""
    running = click.get_current_context()
    group = running.parent.command if running.parent else None
    return group.get_command(running, verb) if isinstance(group, click.Group) else None


def _options(command: click.Command | None) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)] if command else []


def _flags(taken: Mapping[str, tuple[str, click.Option]], path: Path, value: Any) -> Iterator[str]:
    """None of what no option sets, of what is unset or not to be shown."""
    words = [_CAPITAL.sub("_", name).lower() for name in path]
    flag, option = taken.get("_".join(words)) or taken.get(words[-1]) or ("", None)
    if option is None or value in (None, [], "", HIDDEN):
        return
    if isinstance(value, bool):
        yield from [flag] if value else option.secondary_opts[:1]
    elif option.multiple:
        yield from (f"{flag}={shlex.quote(_text(one))}" for one in value)
    else:
        yield f"{flag}={shlex.quote(_text(value))}"


def _text(value: Any) -> str:
    """A list has commas, a message of a list its values with `=` between them, as `DEPLOYMENT=WEIGHT`."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "=".join(map(_text, value.values())) if isinstance(value, dict) else str(value)
