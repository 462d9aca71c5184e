"""The alerts page as data: one row an alert, what to do about it, and what happened just before it began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.columns import Column
from tui.core.inbox import LOOKS, Alert, Inbox, Standing
from tui.core.lists import Entry, Listing
from tui.core.placed import short
from tui.core.states import Look, Tone

if TYPE_CHECKING:
    from client.fleet_types import Event

BEFORE = timedelta(minutes=15)  # a cause lies at most so long before its alert began
CAUSES = 2


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as its row shows it. `lasting` is in whole minutes, once it is so long: rows must not flicker."""

    alert: Alert
    standing: Standing
    lasting: str
    lasting_s: float | None
    until: datetime | None = None  # snoozed

    @property
    def look(self) -> Look:
        return LOOKS[self.standing]


def rows(inbox: Inbox, now: datetime) -> tuple[Entry[Told], ...]:
    """Those that nobody has dealt with first, then pending, snoozed, seen and ended ones; the oldest first."""
    found = sorted(_told(inbox, now), key=lambda one: (one.look.rank, -(one.lasting_s or 0.0), one.alert.key))
    return tuple(Entry(_name(one), one, one.alert.deployment) for one in found)


def _name(one: Told) -> str:
    """One alert may have ended several times."""
    ended = f" {one.until.isoformat()}" if one.standing == "ENDED" and one.until else ""
    return " ".join(one.alert.key) + ended


def _told(inbox: Inbox, now: datetime) -> Iterator[Told]:
    for alert in inbox.alerts.values():
        lasting_s = None if alert.since is None else max(0.0, (now - alert.since).total_seconds())
        until = inbox.snoozed.get(alert.key)
        yield Told(alert, inbox.standing(alert, now), _lasting(lasting_s), lasting_s, until)
    for alert, at in inbox.ended:
        lasted_s = None if alert.since is None else max(0.0, (at - alert.since).total_seconds())
        yield Told(alert, "ENDED", _lasting(lasted_s), lasted_s, at)


def _lasting(seconds: float | None) -> str:
    if seconds is None or seconds < 60:
        return units.age(seconds)
    return units.age(seconds) if seconds >= 3600 else f"{int(seconds // 60)}m"


def _tone(row: Entry[Told]) -> Tone | None:
    return row.what.look.tone


ALERTS: Listing[Told] = Listing(
    "alerts", "alerts",
    (
        Column("state", "STATE", lambda r: r.what.look.text, 0, 9, 9, "left", _tone, lambda r: r.what.look.rank),
        Column("for", "FOR", lambda r: r.what.lasting, 0, 5, value=lambda r: r.what.lasting_s, unit="s"),
        Column("deployment", "DEPLOYMENT", lambda r: short(r.deployment), 0, 10, 24, "left"),
        Column("alert", "ALERT", lambda r: r.what.alert.name.removeprefix("Firedeck"), 0, 10, 30, "left", _tone),
        Column("severity", "SEVERITY", lambda r: r.what.alert.severity, 3, 8, 10, "left"),
        Column("text", "WHAT IS WRONG", lambda r: r.what.alert.text, 1, 20, 400, "left"),
    ),
    "nothing is wrong: no rule holds and nothing is held back", lambda r, now: detail(r, now, ()), 3.0,
)  # fmt: skip


def detail(row: Entry[Told], now: datetime, events: Iterable[Event]) -> tuple[str, ...]:
    """What it is, what to do, and what the deployment went through just before: where to look for the cause."""
    told, alert = row.what, row.what.alert
    since = f"since {units.clock(alert.since)}" if alert.since else "since when is not known"
    note = ""
    if told.standing == "SNOOZED":
        note = f" · snoozed for {units.countdown(told.until, now)}"
    elif told.standing == "ENDED":
        note = f" · ended {units.since(told.until, now)} ago"
    head = f"{alert.name} on {short(row.deployment)}, {since}{note}: {alert.text}"
    return (head, f"→ {alert.action}", *causes(alert, events))


def causes(alert: Alert, events: Iterable[Event]) -> tuple[str, ...]:
    """The newest events of its deployment before it began, warnings before all else."""
    if alert.since is None:
        before = [event for event in events if event.deployment == alert.deployment]
    else:
        first, last = alert.since - BEFORE, alert.since + timedelta(seconds=1)
        before = [e for e in events if e.deployment == alert.deployment and first <= e.time <= last]
    before.sort(key=lambda event: (event.kind == "Warning", event.seq), reverse=True)
    shown = sorted(before[:CAUSES], key=lambda event: event.seq, reverse=True)
    return tuple(f"before it: {units.clock(e.time)} {e.reason} {e.message}" for e in shown)
