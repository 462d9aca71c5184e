"""What an update would change, as `update --dry-run` prints it: fields that differ, and what becomes of replicas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from client.cli.output import lines
from client.types import UPDATING, Deployment, DeploymentSpec

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def text(before: Deployment, after: Deployment) -> str:
    """`Max Replica Count: 1 -> 2` for each declared field that differs, and whether replicas are replaced."""
    return lines((*_changes(before, after), ("Replicas", _replicas(before, after))))


def _changes(before: Deployment, after: Deployment) -> Iterator[tuple[str, str]]:
    old, new = _declared(before), _declared(after)
    for path in {**old, **new}:
        if old.get(path) != new.get(path):
            yield _title(path), f"{_told(old.get(path))} -> {_told(new.get(path))}"


def _replicas(before: Deployment, after: Deployment) -> str:
    """The engine shows a planned change as UPDATING where replicas would be replaced."""
    running = f"{before.replica_count or 0} running"
    if not before.replica_count:
        return running
    return f"{running}, to be replaced by new ones" if after.state == UPDATING else f"{running}, none is replaced"


def _declared(deployment: Deployment) -> dict[str, Any]:
    wire = deployment.model_dump(
        mode="json", by_alias=True, exclude_none=True, include=set(DeploymentSpec.model_fields)
    )  # fmt: skip
    return dict(_flat(wire))


def _flat(wire: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings below messages by their paths."""
    for name, value in wire.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _title(path: str) -> str:
    """`Scale Up Window` of `autoscalingPolicy.scaleUpWindow`, `Load Targets default` of a key of the user's own."""
    *above, last = path.split(".")
    if above and above[-1] in ("loadTargets", "annotations"):
        return f"{_words(above[-1])} {last}"
    return _words(last)


def _words(name: str) -> str:
    return _CAPITAL.sub(" ", name[:1].upper() + name[1:])


def _told(value: Any) -> str:
    """As on the wire: `true`, not `True`."""
    return "unset" if value is None else value if isinstance(value, str) else json.dumps(value)
