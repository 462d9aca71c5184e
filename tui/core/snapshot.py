"""The fleet as the screens need it: a row a deployment, the link's health, the age of what is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.row import Prices, Row

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, FleetSnapshot

NOT_SUSPENDED = ("", "UNSUSPENDED", "SUSPEND_STATE_UNSPECIFIED")
STALE_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection to the source stands. `lost_at` is None while it lives; instants are local ones."""

    lost_at: datetime | None = None
    reason: str = ""
    attempt: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Tokens a second of all deployments, by their places: most samples share one mapping."""

    places: Mapping[str, int]
    tps: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """One immutable moment: the last snapshot (None before the first), when it came here, and the link.

    `suspended` is why the account's requests are refused, as the wire has it; empty while they are not. `hidden`: the
    figures that the source does not tell. `prices` are those of the nodes, as far as they have been asked about.
    """

    snapshot: FleetSnapshot | None = None
    received_at: datetime | None = None
    link: Link = field(default_factory=Link)
    rows: tuple[Row, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)  # in `rows`, by name
    suspended: str = ""
    stale_after: timedelta = STALE_AFTER
    hidden: frozenset[str] = frozenset()
    prices: Prices = field(default_factory=dict)
    repriced: bool = False  # since the rows were made
    samples: tuple[Sample, ...] = ()  # the newest last
    sampled_at: datetime | None = None  # the newest one

    def seen(self, snapshot: FleetSnapshot, now: datetime, hidden: frozenset[str] = frozenset()) -> Picture:
        """This picture after `snapshot` arrived."""
        rows = tuple(self._renewed(snapshot, hidden))
        after = replace(
            self, snapshot=snapshot, received_at=now, link=Link(), rows=rows, places=self._placed(rows), hidden=hidden,
            repriced=False,
        )  # fmt: skip
        return after if self.sampled_at is not None and now - self.sampled_at < TREND_EVERY else after._sampled(now)

    def _sampled(self, now: datetime) -> Picture:
        newest = Sample(self.places, [row.status.stats.tokens_per_second for row in self.rows])
        return replace(self, samples=(*self.samples, newest)[-TREND_SAMPLES:], sampled_at=now)

    def trend(self, name: str) -> tuple[float | None, ...]:
        """Tokens a second of this deployment, a sample a second since it was first seen. Asked of what is drawn
        alone: to have it in every row would make each of thousands anew at every sample."""
        return tuple(one.tps[one.places[name]] for one in self.samples if name in one.places)

    def _renewed(self, snapshot: FleetSnapshot, hidden: frozenset[str]) -> list[Row]:
        """A source may hand on what has not changed as it is: its row is not made anew."""
        found, before = snapshot.deployments, self.snapshot.deployments if self.snapshot is not None else []
        if hidden != self.hidden or self.repriced:
            return [Row(one, hidden, self.prices) for one in found]
        rows = list(self.rows)
        alike = len(found) == len(rows)
        moved = list(changed(before, found)) if alike else range(len(before))
        known = {id(before[n]): rows[n] for n in moved}
        if not alike:
            return [known.get(id(one)) or Row(one, hidden, self.prices) for one in found]
        for n in moved:
            rows[n] = known.get(id(found[n])) or Row(found[n], hidden, self.prices)
        return rows

    def _placed(self, rows: Sequence[Row]) -> Mapping[str, int]:
        """Those of before while the same deployments are there."""
        before = self.rows
        alike = len(before) == len(rows)
        if alike and all(before[n].same_one(rows[n]) for n in changed(before, rows)):
            return self.places
        return placed(rows)

    def lost(self, reason: str, now: datetime, retry_at: datetime, attempt: int) -> Picture:
        """This picture, kept, after the link broke; a loss that goes on keeps its first instant."""
        first = self.link.lost_at or now
        return replace(self, link=Link(first, reason, attempt, retry_at))

    def account(self, suspend_state: str) -> Picture:
        """This picture after the account was asked about."""
        return replace(self, suspended="" if suspend_state in NOT_SUSPENDED else suspend_state)

    def priced(self, prices: Prices) -> Picture:
        """This picture after the nodes were asked about; the costs of rows follow with the next snapshot."""
        return replace(self, prices=prices, repriced=self.repriced or prices != self.prices)

    def status(self, name: str) -> DeploymentStatus | None:
        """The deployment of this very name, or None if it is not there (any more)."""
        row = self.row(name)
        return row.status if row is not None else None

    def row(self, name: str) -> Row | None:
        at = self.places.get(name)
        return self.rows[at] if at is not None else None

    def age(self, now: datetime) -> timedelta | None:
        """How old the data is, by the local clock alone (the engine's may differ)."""
        return None if self.received_at is None else max(now - self.received_at, timedelta(0))

    def stale(self, now: datetime) -> bool:
        age = self.age(now)
        return self.link.lost_at is not None or (age is not None and age > self.stale_after)

    def stale_age(self, now: datetime) -> str:
        """Empty while the data is live; else `42s`, to be shown beside whatever could be taken for now."""
        age = self.age(now)
        return units.age(age.total_seconds()) if age is not None and self.stale(now) else ""

    def engine_now(self, now: datetime) -> datetime:
        """The engine's clock at the local instant `now`: countdowns stay right when the two clocks differ.

        It stands still at the last snapshot while the data is stale: nobody knows what has happened since.
        """
        if self.snapshot is None or self.received_at is None:
            return now
        return self.snapshot.time if self.stale(now) else self.snapshot.time + (now - self.received_at)


def changed(before: Sequence[object], after: Sequence[object]) -> Iterable[int]:
    """Where two sequences of one length hold other objects; none of them is looked into: there are thousands."""
    return compress(range(len(after)), map(is_not, before, after))


def placed(rows: Iterable[Row]) -> Mapping[str, int]:
    """Where each stands, by its name."""
    return {row.name: n for n, row in enumerate(rows)}


TREND_SAMPLES = 24
TREND_EVERY = timedelta(seconds=0.9)  # a sample: pictures that come more often draw no finer trend
