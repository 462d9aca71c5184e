"""`-o flag`: settings as the flags that the commands of a noun take them by, for a shell.

verbs  of       one thing that is there: what `create` and `update` of its noun take, of a deployment what makes
                another one like it; every field where the noun has neither
       text     the same of a dry run: what would be
       as_flags a message's fields, each as a flag of its name
       flat     settings below messages by their paths
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Iterator, Mapping
from datetime import timedelta
from typing import Any

import click

from client import durations
from client.cli.deployment_settings import settings_of
from client.cli.durations import Length
from client.dry_run import HIDDEN, Fields
from client.types import Deployment
from client.wire import Wire

Path = tuple[str, ...]
Taken = Mapping[str, tuple[str, click.Option]]  # a flag and its option, by what it sets
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLACES = {"multi-region": "region", "regions": "region"}  # one flag for the three forms of a placement
_VERBS = ("create", "update")  # of the same noun as the command that runs
_SHARED = frozenset({"account", "api_key", "base_url", "dry_run", "name", "output", "profile", "quiet", "wait"})
_DATE = frozenset({"year", "month", "day"})


def of(found: Wire) -> str:
    taken = _taken()
    if isinstance(found, Deployment) and taken:
        return as_flags(settings_of(found), only=_names(_beside("create")))
    return _told(taken, found.to_wire()) if taken else as_flags(found)


def are_settings() -> bool:
    """Whether the noun of the command that runs has commands that take flags for what it shows."""
    return bool(_taken())


def text(name: str, fields: Fields) -> str:
    """`--display-name=New`; of a deployment what `firedeck deployment get -o flag` has."""
    if "/deployments/" in name:
        return as_flags(settings_of(Deployment.model_validate(fields)), only=_names(_beside("create")))
    return _told(_taken(), fields)


def as_flags(found: Wire, only: Container[str] | None = None) -> str:
    """`--display-name=chat --max-replica-count=2`; lengths of time as text shows them.

    `only`: no other flags than these; what is off is then `--no-...` where there is such a flag."""
    told = []
    settings: dict[str, str] = {}
    for flag, value in _fields(found):
        settings.setdefault(flag, value)  # a placement comes before the region that it led to
    for flag, value in settings.items():
        off = flag.replace("--", "--no-", 1)
        if value == "false" and only is not None and off in only:
            told.append(off)
        elif only is None or flag in only:
            told.append(flag if value == "true" else f"{flag}={shlex.quote(value)}")
    return " ".join(told)


def flat(fields: Fields, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, (*above, name))
        else:
            yield (*above, name), value


def _fields(found: Wire) -> Iterator[tuple[str, str]]:
    """What lies below a message has its own name; a list of messages is no flag."""
    wire = found.to_wire()
    for name, field in type(found).model_fields.items():
        value = getattr(found, name)
        if isinstance(value, Wire):
            yield from _fields(value)
        elif isinstance(value, timedelta):
            yield _flag(name), durations.to_go(value)
        elif told := _as_text(wire.get(field.alias or name)):
            yield _flag(name), told


def _as_text(value: Any) -> str:
    """Lists have commas, maps `key=value` between them; "" for what is unset, or no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ",".join(f"{key}={_as_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "" if any(isinstance(one, dict | list) for one in value) else ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value if value is not None else "")


def _flag(name: str) -> str:
    plain = name.replace("_", "-")
    return f"--{_PLACES.get(plain, plain)}"


def _told(taken: Taken, fields: Fields) -> str:
    return " ".join(flag for path, value in flat(_dated(fields)) for flag in _flags(taken, path, value))


def _dated(fields: Fields) -> Fields:
    """A date is one value: `2027-12-31`."""
    return {
        name: f"{value['year']}-{value.get('month', 1):02}-{value.get('day', 1):02}"
        if isinstance(value, dict) and "year" in value and value.keys() <= _DATE
        else value
        for name, value in fields.items()
    }


def _taken() -> Taken:
    """Of `create` and `update` beside the command that runs, and of that one where it changes something; nothing where
    there is no such command."""
    running = click.get_current_context(silent=True)
    if running is None:
        return {}
    changing = any(one.name == "dry_run" for one in running.command.params)
    commands = [*map(_beside, _VERBS), running.command if changing else None]
    options = [option for command in commands for option in _options(command) if option.name not in _SHARED]
    by_flag = {flag.lstrip("-").replace("-", "_"): (flag, one) for one in options for flag in one.opts}
    by_name = {str(one.name): (one.opts[0], one) for one in options}
    return {field: taken for field, taken in (by_name | by_flag).items() if field not in _SHARED}


def _beside(verb: str) -> click.Command | None:
    """Of the same noun as the command that runs."""
    running = click.get_current_context()
    group = running.parent.command if running.parent else None
    return group.get_command(running, verb) if isinstance(group, click.Group) else None


def _options(command: click.Command | None) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)] if command else []


def _names(command: click.Command | None) -> frozenset[str]:
    return frozenset(flag for one in _options(command) for flag in (*one.opts, *one.secondary_opts))


def _flags(taken: Taken, path: Path, value: Any) -> Iterator[str]:
    """None of what no option sets, of what is unset or not to be shown."""
    words = [_CAPITAL.sub("_", name).lower() for name in path]
    flag, option = taken.get("_".join(words)) or taken.get(words[-1]) or ("", None)
    if option is None or value in (None, [], "", HIDDEN):
        return
    if isinstance(value, bool):
        yield from [flag] if value else option.secondary_opts[:1]
    elif option.multiple:
        yield from (f"{flag}={shlex.quote(_one_text(one))}" for one in value)
    elif isinstance(option.type, Length) and isinstance(value, str):
        yield f"{flag}={durations.to_go(durations.parse(value))}"
    else:
        yield f"{flag}={shlex.quote(_one_text(value))}"


def _one_text(value: Any) -> str:
    """A list has commas, a message of a list its values with `=` between them, as `DEPLOYMENT=WEIGHT`."""
    if isinstance(value, list):
        return ",".join(map(_one_text, value))
    if isinstance(value, dict):
        return "=".join(map(_one_text, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)
