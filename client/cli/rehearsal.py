"""What `--dry-run` prints: of a change the fields that differ, else all of what would be made or deleted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click

from client.cli import output as out
from client.dry_run import Change, Fields
from client.types import UPDATING

Path = tuple[str, ...]
_DRY_RUN = "firedeck.dry_run"  # in a context's `meta`
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# What the engine fills in, and changes by itself between two looks.
FILLED_IN = frozenset(
    {
        "state", "status", "createTime", "createdBy", "updateTime", "replicaCount", "desiredReplicaCount",
        "replicaStats", "usage", "shares", "measuredSince", "events", "refusedKeys", "deployedModelRefs", "region",
    }
)  # fmt: skip
# Messages whose fields are told without their name: they group what is declared, and mean nothing by themselves.
_GROUPS = frozenset(
    {
        "autoscalingPolicy", "autoTune", "baseModelDetails", "complexity", "firedeck", "peftDetails", "placement",
        "weighted",
    }
)  # fmt: skip


def dry_run_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """firectl's `--dry-run`, the same for every command that changes something: `run` sees to the rest."""

    def keep(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        ctx.meta[_DRY_RUN] = value

    text = "Show what would change; change nothing."
    return click.option("--dry-run", is_flag=True, expose_value=False, callback=keep, help=text)(command)


def is_wanted() -> bool:
    """Whether the command that runs was given `--dry-run`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_DRY_RUN))


def show(change: Change, output: str) -> None:
    """That it is a dry run is said on standard error, because JSON has to stay JSON."""
    doubt = "" if change.checked else " (worked out here: the engine may still refuse it)"
    out.tell(f"dry run: nothing was changed; {change}{doubt}", output)
    fields = (change.before if change.after is None else change.after) or {}
    if output == out.QUIET:
        out.say(change.name.rpartition("/")[2])
    elif output == "json":
        out.say(json.dumps(fields, indent=2))
    elif output == "flag":
        out.say(" ".join(_flag(path[-1], value) for path, value in _flat(fields)))
    else:
        out.say(text(change))


def text(change: Change) -> str:
    """`Max Replica Count: 1 -> 2` for each field that differs; of what is new or goes, `Max Replica Count: 1`."""
    if change.before is not None and change.after is not None:
        told = [*_differing(change, change.before, change.after), *_replicas(change, change.before, change.after)]
        return out.lines(told) if told else "all of it is so already"
    fields = (change.before if change.after is None else change.after) or {}
    return out.lines((_title(path), _told(value)) for path, value in _flat(fields) if not FILLED_IN & set(path))


def _differing(change: Change, before: Fields, after: Fields) -> Iterator[tuple[str, str]]:
    old, new = dict(_flat(before)), dict(_flat(after))
    for path in {**old, **new}:
        drifts = change.done == "changed" and change.checked and FILLED_IN & set(path)  # two looks, the rest are one
        if old.get(path) != new.get(path) and not drifts:
            yield _title(path), f"{_told(old.get(path))} -> {_told(new.get(path))}"


def _replicas(change: Change, before: Fields, after: Fields) -> Iterator[tuple[str, str]]:
    """The engine shows a planned change of a deployment as UPDATING where its replicas would be replaced."""
    if "/deployments/" not in change.name or change.done != "changed":
        return
    count = before.get("replicaCount") or 0
    replaced = "to be replaced by new ones" if after.get("state") == UPDATING else "none is replaced"
    yield "Replicas", f"{count} running, {replaced}" if count else "0 running"


def _flat(fields: Fields, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Settings below messages by their paths."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, (*above, name))
        else:
            yield (*above, name), value


def _flag(name: str, value: Any) -> str:
    return f"--{_words(name, '-').lower()}={shlex.quote(_told(value))}"


def _title(path: Path) -> str:
    """`Scale Up Window` of autoscalingPolicy.scaleUpWindow, `Load Targets default` of a key of the user's own."""
    *above, last = (name for name in path if name not in _GROUPS)
    if path[-2:-1] and path[-2] in ("loadTargets", "annotations", "filenameToSize"):
        return " ".join([*map(_words, above), last])
    return " ".join(map(_words, [*above, last]))


def _words(name: str, between: str = " ") -> str:
    return _CAPITAL.sub(between, name[:1].upper() + name[1:])


def _told(value: Any) -> str:
    """As on the wire: `true`, not `True`; a list of messages has `name=value` for each field."""
    if isinstance(value, list):
        return ", ".join(_told_message(one) if isinstance(one, dict) else _told(one) for one in value) or "none"
    return "unset" if value is None else value if isinstance(value, str) else json.dumps(value)


def _told_message(fields: Fields) -> str:
    return " ".join(f"{name}={_told(value)}" for name, value in fields.items())
