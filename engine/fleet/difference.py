"""What events say of a declaration: its counts, and what an update changed. Pure."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from client import durations
from client.types import Deployment, Wire

_SETTINGS = ("autoscalingPolicy", "loadTargets", "firedeck", "autoTune")  # numbers, switches, durations: no long text


def counted(count: int | None) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{count} replica{'' if count == 1 else 's'}"


def counts(deployment: Deployment) -> str:
    """The bounds of its count: `0 to 1 replica`."""
    return f"{deployment.min_replica_count} to {counted(deployment.max_replica_count)}"


def difference(former: Deployment, new: Deployment) -> str:
    """The changed fields by name, short ones with their values: an event is no place for long texts or secrets."""
    before, after = _flat(_wire(former)), _flat(_wire(new))
    changed = [n for n in {**before, **after} if before.get(n) != after.get(n) and n != "updateTime"]
    return ", ".join(_change(n, before.get(n), after.get(n)) for n in changed) or "nothing changed"


def _wire(message: Wire) -> dict[str, Any]:
    """As on the wire, but lengths of time as they are written and shown: `1m30s`, not `90s`."""
    wire = message.to_wire()
    for name, field in type(message).model_fields.items():
        value, key = getattr(message, name), field.alias or name
        if isinstance(value, timedelta):
            wire[key] = durations.to_go(value)
        elif isinstance(value, Wire):
            wire[key] = _wire(value)
    return wire


def _flat(wire: dict[str, Any]) -> dict[str, Any]:
    """Settings below messages by their paths."""
    found: dict[str, Any] = {}
    for name, value in wire.items():
        below = _flat(value) if isinstance(value, dict) and name in _SETTINGS else None
        found |= {name: value} if below is None else {f"{name}.{n}": v for n, v in below.items()}
    return found


def _change(name: str, before: Any, after: Any) -> str:
    shown = "." in name or any(isinstance(value, int | float) for value in (before, after))
    return f"{name} {_told(before)} -> {_told(after)}" if shown else name


def _told(value: Any) -> str:
    """As on the wire: `true`, not `True`."""
    return "unset" if value is None else value if isinstance(value, str) else json.dumps(value)
