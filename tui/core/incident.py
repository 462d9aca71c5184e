"""The timeline of an incident: what happened to a deployment, what was done from here, which limits were crossed.

All on one axis of time, newest first, and as Markdown for the report of the next morning. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from tui.core import units
from tui.core.columns import Column
from tui.core.inbox import Inbox
from tui.core.journal import Entry as Done
from tui.core.lists import Entry, Listing
from tui.core.series import ALL_CHARTS, SLOW, Mark
from tui.core.states import Look, Tone

if TYPE_CHECKING:
    from client.fleet_types import Event, History

Tell = Callable[[float], str]
Kind = Literal["warning", "event", "action", "alert", "limit"]
LOOKS: dict[Kind, Look] = {
    "warning": Look("⚠", "warning", "attention", 0), "alert": Look("▲", "alert", "attention", 1),
    "limit": Look("◆", "limit", "attention", 2), "action": Look("✔", "action", "working", 3),
    "event": Look("·", "event", "idle", 4),
}  # fmt: skip
ROUTINE = ("ReplicaStarted", "ReplicaReady", "ReplicaStopped", "ReplicaDraining")  # no marks on the axis


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened at `time`."""

    time: datetime
    kind: Kind
    what: str
    text: str

    @property
    def look(self) -> Look:
        return LOOKS[self.kind]


def moments(
    name: str, events: Iterable[Event], done: Iterable[Done], inbox: Inbox, history: History | None,
    rules: Mapping[str, float],
) -> tuple[Moment, ...]:  # fmt: skip
    """Everything that is known of the deployment of this name, newest first."""
    found = [*_events(name, events), *_actions(name, done), *_alerts(name, inbox), *crossings(history, rules)]
    return tuple(sorted(found, key=lambda one: (one.time, one.kind, one.what), reverse=True))


def _events(name: str, events: Iterable[Event]) -> Iterator[Moment]:
    for event in events:
        if event.deployment == name:
            yield Moment(event.time, "warning" if event.kind == "Warning" else "event", event.reason, event.message)


def _actions(name: str, done: Iterable[Done]) -> Iterator[Moment]:
    for one in done:
        if one.target == name:
            changes = ", ".join(f"{field} {one.before.get(field) or '–'} → {to}" for field, to in one.after.items())
            ended = "" if one.outcome == "ok" else f"; {one.outcome}"
            yield Moment(one.time, "action", one.verb, f"by {one.user} from here: {changes or 'no field'}{ended}")


def _alerts(name: str, inbox: Inbox) -> Iterator[Moment]:
    for alert in inbox.alerts.values():
        if alert.deployment == name and alert.since is not None:
            yield Moment(alert.since, "alert", alert.name, f"begins to hold: {alert.text}")
    for alert, at in inbox.ended:
        if alert.deployment == name:
            if alert.since is not None:
                yield Moment(alert.since, "alert", alert.name, f"began to hold: {alert.text}")
            yield Moment(at, "alert", alert.name, "ended")


def crossings(history: History | None, rules: Mapping[str, float]) -> Iterator[Moment]:
    """When the TTFT went above the rule's limit and came back, by p99 (by p95 where there is no such series); when
    requests began and ceased to wait."""
    if history is None:
        return
    if SLOW in rules:
        limit = rules[SLOW] * 1000
        p = "p99" if any(value is not None for value in history.series.get("ttft_p99_ms", ())) else "p95"
        yield from _crossed(history, f"ttft_{p}_ms", limit, f"TTFT {p}", units.milliseconds)
    yield from _crossed(history, "queue", 0.0, "queue", lambda value: f"{value:.0f}")


def _crossed(history: History, series: str, limit: float, label: str, tell: Tell) -> Iterator[Moment]:
    known = [(t, v) for t, v in zip(history.times, history.series.get(series, []), strict=False) if v is not None]
    for (_, before), (at, value) in pairwise(known):
        if (value > limit) != (before > limit):
            side = "above" if value > limit else "back to"
            moment = datetime.fromtimestamp(at, UTC)
            yield Moment(moment, "limit", label, f"{tell(value)}, {side} {tell(limit)}")


def marks(found: Iterable[Moment]) -> tuple[Mark, ...]:
    """Where the axis gets a sign: what is not routine."""
    return tuple(
        Mark(one.time.timestamp(), one.look.tone)
        for one in found
        if one.kind != "limit" and not (one.kind == "event" and one.what in ROUTINE)
    )


# The page.


def rows(found: Iterable[Moment]) -> tuple[Entry[Moment], ...]:
    return tuple(Entry(f"{one.time.isoformat()} {one.kind} {one.what} {n}", one) for n, one in enumerate(found))


def _tone(row: Entry[Moment]) -> Tone | None:
    return row.what.look.tone


TIMELINE: Listing[Moment] = Listing(
    "timeline", "timeline",
    (
        Column("time", "TIME", lambda r: units.clock(r.what.time), 0, 8, align="left",
               value=lambda r: r.what.time.timestamp()),
        Column("kind", "KIND", lambda r: r.what.look.text, 0, 9, 9, "left", _tone, lambda r: r.what.look.rank),
        Column("what", "WHAT", lambda r: r.what.what, 0, 12, 24, "left", _tone),
        Column("text", "", lambda r: r.what.text, 1, 20, 400, "left"),
    ),
    "nothing is known to have happened", lambda r, now: (f"{units.day(r.what.time)}  {r.what.what}", r.what.text), 2.0,
)  # fmt: skip


# The report.


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is made of. `facts` are lines for people; `simulated` says that no machine was concerned."""

    name: str
    start: datetime
    end: datetime
    facts: Sequence[str]
    found: Sequence[Moment]
    simulated: bool = False


def markdown(report: Report) -> str:
    """The report, with the charts as `KEY.svg` beside it."""
    short = report.name.rpartition("/")[2]
    inside = [one for one in reversed(report.found) if report.start <= one.time <= report.end]
    span = f"{_utc(report.start)} to {_utc(report.end)} UTC"
    lines = [f"# {short}: {span}", "", f"Deployment `{report.name}`.", ""]
    lines += ["**SIMULATED**: no machine was concerned.", ""] if report.simulated else []
    lines += [f"- {fact}" for fact in report.facts]
    lines += ["", "## Timeline", "", "| UTC | kind | what | |", "|---|---|---|---|"]
    lines += [f"| {_utc(one.time)} | {one.kind} | {_cell(one.what)} | {_cell(one.text)} |" for one in inside]
    lines += [] if inside else ["| – | – | nothing is known to have happened | |"]
    lines += ["", "## Charts", ""]
    lines += [f"![{kind.title}]({kind.key}.svg)" for kind in ALL_CHARTS]
    return "\n".join([*lines, ""])


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
