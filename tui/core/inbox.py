"""The alert inbox: what is wrong now, since when, who has seen it, and what has just ended. Pure.

An alert is a rule's, as the engine evaluates it, or a condition or failure of a deployment. It is acknowledged for as
long as it lasts: when it ends and begins again it is new. It is snoozed until an instant: if it holds then, it is
told of again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from tui.core.placed import context_of
from tui.core.snapshot import changed
from tui.core.states import Look

if TYPE_CHECKING:
    from client.fleet_types import AlertView, DeploymentStatus, FleetSnapshot

SNOOZE = timedelta(hours=1)
KEPT = timedelta(hours=1)  # what has ended is told of for so long
SAME = timedelta(seconds=10)  # an engine counts back from its clock: the beginning of one alert trembles
Standing = Literal["FIRING", "PENDING", "SNOOZED", "SEEN", "ENDED"]
Key = tuple[str, str]  # rule or reason, deployment

LOOKS: dict[Standing, Look] = {
    "FIRING": Look("▲", "FIRING", "attention", 0), "PENDING": Look("◐", "PENDING", "working", 1),
    "SNOOZED": Look("◌", "SNOOZED", "idle", 2), "SEEN": Look("✔", "SEEN", "neutral", 3),
    "ENDED": Look("●", "ENDED", "healthy", 4),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """`since`: when its condition began to hold; None where the engine does not say. `rule` is empty of conditions."""

    name: str
    deployment: str
    severity: str
    text: str
    action: str
    since: datetime | None
    pending: bool = False
    rule: AlertView | None = None

    @property
    def key(self) -> Key:
        return self.name, self.deployment


@dataclass(frozen=True, slots=True)
class Read:
    """What is wrong with the deployments of a picture, by their places; of most it is nothing."""

    deployments: Sequence[DeploymentStatus] = ()
    troubles: Mapping[int, tuple[Alert, ...]] = field(default_factory=dict)

    def again(self, found: Sequence[DeploymentStatus]) -> Read:
        """Of the next picture; what was handed on unchanged is not looked into."""
        alike = len(self.deployments) == len(found)
        renewed = changed(self.deployments, found) if alike else range(len(found))
        troubles = dict(self.troubles) if alike else {}
        for n in renewed:
            status = found[n]
            if status.conditions or status.deployment.state == "FAILED":
                troubles[n] = tuple(_of_deployment(status))
            else:
                troubles.pop(n, None)
        return Read(found, troubles)

    def alerts(self) -> Iterator[Alert]:
        for n in sorted(self.troubles):
            yield from self.troubles[n]


@dataclass(frozen=True, slots=True)
class Inbox:
    """`seen`: when the alerts that were acknowledged began, so that a later one of the same name is new again."""

    alerts: Mapping[Key, Alert] = field(default_factory=dict)
    seen: Mapping[Key, datetime | None] = field(default_factory=dict)
    snoozed: Mapping[Key, datetime] = field(default_factory=dict)
    ended: tuple[tuple[Alert, datetime], ...] = ()
    told: frozenset[Key] = frozenset()
    read: Mapping[str, Read] = field(default_factory=dict, compare=False)  # by the contexts' names

    def standing(self, alert: Alert, now: datetime) -> Standing:
        if alert.key in self.seen:
            return "SEEN"
        if (until := self.snoozed.get(alert.key)) is not None and until > now:
            return "SNOOZED"
        return "PENDING" if alert.pending else "FIRING"

    def new(self, now: datetime) -> tuple[Alert, ...]:
        """Those that nobody has dealt with, the longest-lasting first."""
        firing = [alert for alert in self.alerts.values() if self.standing(alert, now) == "FIRING"]
        return tuple(sorted(firing, key=lambda alert: (alert.since is None, alert.since or now, alert.key)))

    def taken(self, snapshot: FleetSnapshot, now: datetime, context: str = "") -> tuple[Inbox, tuple[Alert, ...]]:
        """The inbox after this picture, and the alerts of which nobody was told yet. `context`: of several contexts the
        one that the picture is of; what is known of the others stays."""
        others = {key: alert for key, alert in self.alerts.items() if context_of(key[1]) != context}
        read = self.read.get(context, Read()).again(snapshot.deployments)
        alerts = others | {alert.key: alert for alert in (*_of_rules(snapshot), *read.alerts())}
        gone = [alert for key, alert in self.alerts.items() if key not in alerts and not alert.pending]
        kept = [(alert, at) for alert, at in self.ended if now - at < KEPT and alert.key not in alerts]
        seen = {
            key: began
            for key, began in self.seen.items()
            if context_of(key[1]) != context or (key in alerts and _same(alerts[key].since, began))
        }
        snoozed = {key: until for key, until in self.snoozed.items() if until > now}
        ended = (*kept, *((alert, now) for alert in gone))
        after = replace(self, alerts=alerts, seen=seen, snoozed=snoozed, ended=ended, read={**self.read, context: read})
        loud = after.new(now)
        unheard = tuple(alert for alert in loud if alert.key not in self.told)
        return replace(after, told=frozenset(alert.key for alert in loud)), unheard

    def acknowledged(self, key: Key) -> Inbox:
        """Seen, or, when it was seen already, not seen any more."""
        if key not in self.alerts:
            return self
        if key in self.seen:
            return replace(self, seen={k: began for k, began in self.seen.items() if k != key})
        return replace(self, seen={**self.seen, key: self.alerts[key].since})

    def snooze(self, key: Key, now: datetime) -> Inbox:
        """Quiet for an hour; of one that sleeps already: awake."""
        if key not in self.alerts:
            return self
        others = {k: until for k, until in self.snoozed.items() if k != key}
        return replace(self, snoozed=others if key in self.snoozed else {**others, key: now + SNOOZE})


def _same(since: datetime | None, began: datetime | None) -> bool:
    return since is None or began is None or abs(since - began) < SAME


def _of_rules(snapshot: FleetSnapshot) -> Iterator[Alert]:
    for one in snapshot.alerts:
        yield Alert(
            one.name, one.deployment, one.severity, f"{one.summary}: {one.text}", one.action, one.since,
            one.state != "FIRING", one,
        )  # fmt: skip


def _of_deployment(status: DeploymentStatus) -> Iterator[Alert]:
    name, problem = status.deployment.name, status.deployment.status
    if status.deployment.state == "FAILED":
        told = problem.message if problem else ""
        yield Alert("FAILED", name, "critical", told or "it cannot serve", "see its events; mend it", None)
    for held in status.conditions:
        room = f"{held.placed} of {held.wanted} replicas placed; " if held.wanted is not None else ""
        yield Alert(held.reason, name, "warning", room + held.message, "see why on its page", held.since)
