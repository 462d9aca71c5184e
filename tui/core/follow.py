"""After a change: has the fleet got there? One sentence once it has, or once it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from client.conditions import ROLLOUT_STOPPED
from tui.core import units
from tui.core.placed import short
from tui.core.row import Row

if TYPE_CHECKING:
    from tui.core.plan import Verb

SETTLING = timedelta(seconds=2)  # the first pictures after a change may still show the state before it
UNSEEN = timedelta(seconds=30)  # so long a new one may take to show: pictures of a remote fleet are seldom


@dataclass(frozen=True, slots=True)
class News:
    text: str
    severity: Literal["information", "error"] = "information"


def news(row: Row | None, verb: Verb, after: timedelta) -> News | None:
    """What to say `after` the change was sent, or None while it is under way (the fleet's page shows the stages).

    A stopped roll-out is the failure of an update alone: all else is done with the former settings."""
    if after < SETTLING or (row is None and after < UNSEEN):
        return None
    if row is None or row.deleted:
        return News("it is not there any more")
    if row.state == "FAILED" or (verb == "update" and ROLLOUT_STOPPED in row.conditions):
        return News(f"failed: {row.why}", "error")
    if row.state == "READY" and row.ready is not None and row.ready == row.desired:
        return News(f"{row.ready} of {row.desired} replicas ready, {units.age(after.total_seconds())} after the change")
    return None


def progress(row: Row | None, name: str, verb: Verb, after: timedelta) -> str:
    """`chat scale: 1 of 3 replicas ready, 12s`, while a change is under way."""
    counts = f"{units.count(row.ready)} of {units.count(row.desired)} replicas ready" if row else "not seen yet"
    return f"{short(name)} {verb}: {counts}, {units.age(after.total_seconds())}"
