"""The fleet as the screens need it: one frozen row a deployment, the link's health, the age of what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import compress
from operator import is_not
from typing import Any

from client.fleet_types import DeploymentStatus, FleetSnapshot
from tui.core import states, units
from tui.core.placed import context_of
from tui.core.states import Look
from tui.core.why import why

NOT_SUSPENDED = ("", "UNSUSPENDED", "SUSPEND_STATE_UNSPECIFIED")
NOWHERE = "REGION_UNSPECIFIED"
Prices = Mapping[str, float]  # US dollars an hour of one accelerator, by the node that has it
STALE_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Row:
    """One deployment, as the fleet table shows it. None means "no data yet", in what is `hidden` "not exposed"."""

    name: str
    id: str
    account: str
    model: str
    state: str
    look: Look
    ready: int | None
    desired: int | None
    minimum: int | None
    maximum: int | None
    rps: float | None
    queue: int | None
    running: int | None
    error_rate: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tps: float | None
    why: str
    conditions: tuple[str, ...] = ()  # the types of those that hold
    simulated: bool = False
    trend: tuple[float | None, ...] = ()  # of a row that is drawn: `Picture.trend` has it
    kv_share: float | None = None  # of the caches of all ready replicas, 0 to 1
    cached_share: float | None = None  # of all prompt tokens since the engine counts
    stages: tuple[int | None, ...] = ()  # replicas at each stage before READY
    region: str = ""
    shape: str = ""
    cost_per_hour: float | None = None  # US dollars, of the replicas that stand on nodes with a price
    ttft_p99_ms: float | None = None
    acceptance: float | None = None  # of all drafted tokens since the engine counts
    hidden: frozenset[str] = frozenset()  # the fields that its source does not tell
    context: str = ""  # whose it is, where there are several
    stale: str = ""  # how old all of it is, where its context is silent among others
    requests: int = field(default=0, compare=False)  # since the engine counts; nothing of it is drawn

    def told(self, field: str, text: Callable[[Any], str]) -> str:
        """The figure of this name as `text` has it, or the sign for what is not exposed."""
        value = getattr(self, field)
        return units.NOT_EXPOSED if value is None and field in self.hidden else text(value)

    @property
    def deleted(self) -> bool:
        return self.state == "DELETED"


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection to the source stands. `lost_at` is None while it lives; instants are local ones."""

    lost_at: datetime | None = None
    reason: str = ""
    attempt: int = 0
    retry_at: datetime | None = None


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
    suspended: str = ""
    stale_after: timedelta = STALE_AFTER
    hidden: frozenset[str] = frozenset()
    prices: Prices = field(default_factory=dict)
    repriced: bool = False  # since the rows were made
    samples: tuple[Mapping[str, float | None], ...] = ()  # tokens a second by name, the newest last
    sampled_at: datetime | None = None  # the newest one

    def seen(self, snapshot: FleetSnapshot, now: datetime, hidden: frozenset[str] = frozenset()) -> Picture:
        """This picture after `snapshot` arrived."""
        rows = self._renewed(snapshot, hidden)
        after = replace(
            self, snapshot=snapshot, received_at=now, link=Link(), rows=tuple(rows), hidden=hidden, repriced=False
        )
        return after if self.sampled_at is not None and now - self.sampled_at < TREND_EVERY else after._sampled(now)

    def _sampled(self, now: datetime) -> Picture:
        newest = {row.name: row.tps for row in self.rows}
        return replace(self, samples=(*self.samples, newest)[-TREND_SAMPLES:], sampled_at=now)

    def trend(self, name: str) -> tuple[float | None, ...]:
        """Tokens a second of this deployment, a sample a second since it was first seen. Asked of what is drawn
        alone: to have it in every row would make each of thousands anew at every sample."""
        return tuple(sample[name] for sample in self.samples if name in sample)

    def _renewed(self, snapshot: FleetSnapshot, hidden: frozenset[str]) -> list[Row]:
        """A source may hand on what has not changed as it is: its row is not made anew."""
        found, before = snapshot.deployments, self.snapshot.deployments if self.snapshot is not None else []
        if hidden != self.hidden or self.repriced:
            return [row_of(one, hidden, self.prices) for one in found]
        rows = list(self.rows)
        alike = len(found) == len(rows)
        moved = list(changed(before, found)) if alike else range(len(before))
        known = {id(before[n]): rows[n] for n in moved}
        if not alike:
            return [known.get(id(one)) or row_of(one, hidden, self.prices) for one in found]
        for n in moved:
            rows[n] = known.get(id(found[n])) or row_of(found[n], hidden, self.prices)
        return rows

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
        found = self.snapshot.deployments if self.snapshot else []
        return next((s for s in found if s.deployment.name == name), None)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

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


TREND_SAMPLES = 24
TREND_EVERY = timedelta(seconds=0.9)  # a sample: pictures that come more often draw no finer trend


def row_of(status: DeploymentStatus, hidden: frozenset[str] = frozenset(), prices: Prices | None = None) -> Row:
    """`hidden`: what its source never tells. A count that was not sent is not told either: its default is none."""
    deployment, stats, scaler, drafts = status.deployment, status.stats, status.autoscaler, status.speculation
    ready, desired = ready_count(status), deployment.desired_replica_count
    if desired is None and scaler is not None:
        desired = scaler.desired
    identity, account, context = _named(deployment.name)
    kv_share, region = _placed(status)
    unsent = _COUNTS - stats.model_fields_set
    unexposed = (*unsent, *_unexposed(status, ready))
    return Row(
        name=deployment.name,
        id=identity,
        account=account,
        model=_last(deployment.base_model or ""),
        state=deployment.state,
        look=states.phase(deployment.state, ready, desired, held_up=bool(status.conditions)),
        ready=ready,
        desired=desired,
        minimum=deployment.min_replica_count,
        maximum=deployment.max_replica_count,
        rps=stats.requests_per_second,
        queue=None if "queue" in unsent else stats.queue,
        running=None if "running" in unsent else stats.running,
        error_rate=stats.error_rate,
        ttft_p50_ms=stats.ttft_p50_ms,
        ttft_p95_ms=stats.ttft_p95_ms,
        tps=stats.tokens_per_second,
        why=why(status, explained="why" not in hidden),
        conditions=tuple([one.type for one in status.conditions]) if status.conditions else (),
        simulated=status.simulated,
        kv_share=kv_share,
        cached_share=stats.cached_tokens_total / stats.prompt_tokens_total if stats.prompt_tokens_total else None,
        stages=_stages(status),
        region=region,
        ttft_p99_ms=stats.ttft_p99_ms,
        acceptance=drafts.accepted / drafts.drafted if drafts is not None and drafts.drafted else None,
        shape=(deployment.deployment_shape or "").partition("/versions/")[0].rpartition("/")[2],
        cost_per_hour=_cost(status, prices or {}),
        hidden=hidden.union(unexposed) if unexposed else hidden,
        context=context,
        requests=stats.requests_total,
    )


_COUNTS = frozenset({"queue", "running"})


@lru_cache(maxsize=1 << 14)  # the fleet's: they are asked for anew whenever a figure changes
def _named(name: str) -> tuple[str, str, str]:
    """Id, account and context of the deployment of this name."""
    parts = name.split("/")
    return parts[-1], parts[1] if len(parts) > 1 else "", context_of(name)


@lru_cache(maxsize=1 << 10)
def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _placed(status: DeploymentStatus) -> tuple[float | None, str]:
    """How full the caches of its replicas are, and where they stand; where it may stand while there are none.

    One pass: a fleet has tens of thousands of replicas."""
    used, capacity, regions = None, 0, set()
    for one in status.replicas:
        if one.kv_capacity_tokens and one.kv_used_tokens is not None:
            used, capacity = (used or 0) + one.kv_used_tokens, capacity + one.kv_capacity_tokens
        if one.region and one.region != NOWHERE:
            regions.add(one.region)
    place = status.deployment.placement
    wanted = [place.region, *(place.regions or [])] if place is not None and not regions else []
    found = sorted(regions) or [region for region in wanted if region]
    return None if used is None else used / capacity, " ".join(found)


def _cost(status: DeploymentStatus, prices: Prices) -> float | None:
    """0 without replicas; not known where any of them stands on a node without a price."""
    standing = [prices.get(one.node) for one in status.replicas if one.node] if prices else [None]
    known = [price for price in standing if price is not None]
    return sum(known) * (status.deployment.accelerator_count or 1) if len(known) == len(standing) else None


def _unexposed(status: DeploymentStatus, ready: int | None) -> Iterator[str]:
    """Who tells one percentile knows the other, and a replica that serves knows what it drafts: if they may say so."""
    stats = status.stats
    if stats.ttft_p95_ms is not None and stats.ttft_p99_ms is None:
        yield "ttft_p99_ms"
    if ready and status.speculation is None:
        yield "acceptance"


def _stages(status: DeploymentStatus) -> tuple[int | None, ...]:
    counters = status.deployment.replica_stats
    if counters is None:
        return ()
    return (
        counters.pending_scheduling_replica_count, counters.downloading_model_replica_count,
        counters.initializing_replica_count,
    )  # fmt: skip


def ready_count(status: DeploymentStatus) -> int | None:
    """Replicas that answer requests now: the server's counters, else the replicas it lists."""
    if status.deployment.replica_stats is not None:
        return status.deployment.replica_stats.ready_replica_count
    if status.replicas:
        return [replica.stage for replica in status.replicas].count("READY")
    return status.deployment.replica_count
