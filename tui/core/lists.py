"""The rows of the side pages: nodes, events, conditions, quarantine, users, keys, quotas, audit log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tui.core import capacity, explain, query
from tui.core import journal as journals
from tui.core.columns import Column
from tui.core.query import View
from tui.core.snapshot import Picture

if TYPE_CHECKING:
    from client.access_types import ApiKey, AuditLogEntry, Quota, User
    from client.fleet_types import Condition, DeploymentStatus, Event, NodeView, QuarantinedRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One row: `name` tells it from all others; `deployment` is the one that it is about, if any."""

    name: str
    what: T
    deployment: str = ""
    replicas: int = 0  # of nodes: how many stand there
    note: str = ""  # of nodes: what would fit on all of them


@dataclass(frozen=True, slots=True)
class Answer:
    """The last one that a page has had, for when it is opened again and nobody answers. `total`: how many rows the
    source has, where it says so; `besides`: what a page knows beside its rows."""

    entries: tuple[Entry[Any], ...]
    at: datetime
    total: int | None = None
    besides: Any = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps a deployment from being as declared: a condition, or its failure."""

    reason: str
    message: str
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A page. `every_s`: how often its source is asked; 0 for what the picture has. `empty`: said of no rows."""

    id: str
    title: str
    columns: tuple[Column[Entry[T]], ...]
    empty: str
    detail: Callable[[Entry[T], datetime], tuple[str, ...]]
    every_s: float = 0.0


def words(row: Entry[T], listing: Listing[T]) -> str:
    """What a filter's word without a column looks at."""
    return " ".join(column.cell(row) for column in listing.columns).lower()


def select(rows: Iterable[Entry[T]], listing: Listing[T], view: View) -> tuple[Entry[T], ...]:
    """The rows that the view's filter leaves, in its order; without one, in that in which they came."""
    return query.select(rows, listing.columns, view, lambda row: words(row, listing))


def nodes(found: list[NodeView], picture: Picture) -> tuple[Entry[NodeView], ...]:
    """Every node, with the replicas that the picture has on it."""
    statuses = picture.snapshot.deployments if picture.snapshot else []
    stand = Counter(replica.node for status in statuses for replica in status.replicas)
    fits = capacity.told(statuses, found)
    return tuple(Entry(node.name, node, replicas=stand[node.name], note=fits) for node in found)


def events(found: list[Event]) -> tuple[Entry[Event], ...]:
    """Newest first."""
    return tuple(Entry(str(event.seq), event, event.deployment) for event in reversed(found))


def conditions(picture: Picture, account: str) -> tuple[Entry[Trouble], ...]:
    """The account's own trouble first: it concerns every deployment."""
    found: list[Entry[Trouble]] = []
    if picture.suspended:
        found.append(Entry(f"account {account}", Trouble("SUSPENDED", explain.suspension(picture.suspended))))
    for status in _statuses(picture):
        name, problem = status.deployment.name, status.deployment.status
        if status.deployment.state == "FAILED":
            found.append(Entry(f"{name} FAILED", Trouble("FAILED", problem.message if problem else ""), name))
        found += [
            Entry(f"{name} {one.reason}", Trouble(one.reason, one.message, one), name) for one in status.conditions
        ]
    return tuple(found)


def quarantine(picture: Picture) -> tuple[Entry[QuarantinedRequest], ...]:
    return tuple(
        Entry(f"{status.deployment.name} {one.digest}", one, status.deployment.name)
        for status in _statuses(picture)
        for one in status.quarantined
    )


def users(found: list[User]) -> tuple[Entry[User], ...]:
    return tuple(Entry(user.name, user) for user in found)


def keys(found: list[tuple[str, ApiKey]]) -> tuple[Entry[tuple[str, ApiKey]], ...]:
    return tuple(Entry(f"{user} {key.key_id}", (user, key)) for user, key in found)


def quotas(found: list[Quota]) -> tuple[Entry[Quota], ...]:
    return tuple(Entry(quota.name, quota) for quota in found)


def audit(found: list[AuditLogEntry]) -> tuple[Entry[AuditLogEntry], ...]:
    return tuple(Entry(one.id, one) for one in found)


def journal(found: Sequence[journals.Entry], held: Sequence[str]) -> tuple[Entry[journals.Entry], ...]:
    """What was changed from dashboards of this user, newest first. `held`: what each target is called here, empty for
    that of a context which is not shown."""
    names = [f"{len(found) - n} {one.time.isoformat()}" for n, one in enumerate(found)]
    return tuple(Entry(name, one, target) for name, one, target in zip(names, found, held, strict=True))


def _statuses(picture: Picture) -> list[DeploymentStatus]:
    return picture.snapshot.deployments if picture.snapshot else []
