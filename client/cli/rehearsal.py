"""What `--dry-run` prints: of a change the fields that differ, else all of what would be made or deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

from client import durations
from client.cli import flags
from client.cli import output as out
from client.cli.flags import Path, flat
from client.dry_run import PREPARED, Change, Fields
from client.types import UPDATING

_DRY_RUN, _SHOWN = "firedeck.dry_run", "firedeck.shown"  # in a context's `meta`
_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]+)?s")
_LENGTHS = ("window", "timeout", "wait", "ttl", "for", "over", "p95")  # how fields that are lengths of time end
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
_BRIEF = {"prepared": ("precision", "state")}  # lists of long messages, and what of each is told


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
    """That it is a dry run is said on standard error, because JSON has to stay JSON; `finish` prints that."""
    out.tell(f"dry run: nothing was changed; {change}{f' ({change.doubt})' if change.doubt else ''}", output)
    fields = (change.before if change.after is None else change.after) or {}
    if output == "json":
        click.get_current_context().meta.setdefault(_SHOWN, []).append(fields)
    elif told := _told_of(change, fields, output):
        out.say(told)


def finish() -> None:
    """JSON is one document: a list, where the command takes several names."""
    running = click.get_current_context(silent=True)
    shown = running.meta.pop(_SHOWN, None) if running else None
    if running and shown:
        several = any(one.nargs == -1 for one in running.command.params)
        out.say(json.dumps(shown if several else shown[0], indent=2))


def _told_of(change: Change, fields: Fields, output: str) -> str:
    """What the command itself would print then: quiet, no more than the name of what is made or changed, if it has one
    already."""
    if output == out.QUIET:
        named = change.after is not None and change.done != PREPARED and change.name.count("/") % 2
        whole = "/models/" in change.name
        return (change.name if whole else change.name.rpartition("/")[2]) if named else ""
    return flags.text(change.name, fields) if output == "flag" else text(change)


def text(change: Change) -> str:
    """`Max Replica Count: 1 -> 2` for each field that differs; of what is new or goes, `Max Replica Count: 1`."""
    if change.before is not None and change.after is not None:
        told = [*_differing(change, change.before, change.after), *_replicas(change, change.before, change.after)]
        return out.lines(told) if told else "all of it is so already"
    fields = (change.before if change.after is None else change.after) or {}
    return out.lines((_title(path), _value(path, value)) for path, value in flat(fields) if not FILLED_IN & set(path))


def _differing(change: Change, before: Fields, after: Fields) -> Iterator[tuple[str, str]]:
    old, new = dict(flat(before)), dict(flat(after))
    for path in {**old, **new}:
        drifts = change.done == "changed" and change.checked and FILLED_IN & set(path)  # two looks, the rest are one
        was, is_then = (None if fields.get(path) == "" else fields.get(path) for fields in (old, new))
        if was != is_then and not drifts:
            yield _title(path), f"{_value(path, was)} -> {_value(path, is_then)}"


def _replicas(change: Change, before: Fields, after: Fields) -> Iterator[tuple[str, str]]:
    """The engine shows a planned change of a deployment as UPDATING where its replicas would be replaced."""
    if "/deployments/" not in change.name or change.done != "changed":
        return
    count = before.get("replicaCount") or 0
    replaced = "to be replaced by new ones" if after.get("state") == UPDATING else "none is replaced"
    yield "Replicas", f"{count} running, {replaced}" if count else "0 running"


def _title(path: Path) -> str:
    """`Scale Up Window` of autoscalingPolicy.scaleUpWindow, `Load Targets default` of a key of the user's own."""
    *above, last = (name for name in path if name not in _GROUPS)
    if path[-2:-1] and path[-2] in ("loadTargets", "annotations", "filenameToSize"):
        return " ".join([*map(_words, above), last])
    return " ".join(map(_words, [*above, last]))


def _words(name: str, between: str = " ") -> str:
    return _CAPITAL.sub(between, name[:1].upper() + name[1:])


def _value(path: Path, value: Any) -> str:
    """A length of time as everywhere in text: `10m0s`."""
    if path[-1] in _BRIEF and isinstance(value, list):
        return _told([" ".join(str(one.get(name, "")) for name in _BRIEF[path[-1]]) for one in value])
    if isinstance(value, str) and _SECONDS.fullmatch(value) and path[-1].lower().endswith(_LENGTHS):
        return durations.to_go(durations.parse(value))
    return _told(value)


def _told(value: Any) -> str:
    """As on the wire: `true`, not `True`; a list of messages has `name=value` for each field."""
    if isinstance(value, list):
        return ", ".join(_told_message(one) if isinstance(one, dict) else _told(one) for one in value) or "none"
    return "unset" if value is None else value if isinstance(value, str) else _number(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _told_message(fields: Fields) -> str:
    return " ".join(f"{name}={_told(value)}" for name, value in fields.items())
