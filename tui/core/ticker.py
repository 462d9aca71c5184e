"""`firedeck --watch`: what changed, one line a change, for scripts, logs and screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.placed import short
from tui.core.row import Row

if TYPE_CHECKING:
    from client.fleet_types import FleetSnapshot


def changes(before: FleetSnapshot | None, after: FleetSnapshot) -> Iterator[str]:
    """A line for each deployment that came, went, or has another state, count or trouble; all of them at first."""
    old = {row.name: row for row in _rows(before)} if before is not None else {}
    new = {row.name: row for row in _rows(after)}
    for name, row in new.items():
        if name not in old or _telling(old[name]) != _telling(row):
            yield f"{_clock(after.time)} {_told(row)}"
    for name, row in old.items():
        if name not in new:
            yield f"{_clock(after.time)} {short(row.name)} is gone"


def _rows(snapshot: FleetSnapshot) -> list[Row]:
    return [Row(status) for status in snapshot.deployments]


def _telling(row: Row) -> tuple[object, ...]:
    return row.look.word, row.ready, row.desired, row.conditions, bool(row.queue)


def _told(row: Row) -> str:
    counts = f"{units.count(row.ready)} of {units.count(row.desired)} replicas ready, queue {units.count(row.queue)}"
    return f"{short(row.name)} {row.look.word.replace('→', ' to ')}: {counts}; {row.why}"


def _clock(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="seconds")
