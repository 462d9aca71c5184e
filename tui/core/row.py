"""One deployment, as the fleet table shows it. Pure.

Thousands change in every picture and dozens are drawn: a row holds the status that it is of, and works each figure out
when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tui.core import states, units
from tui.core.placed import context_of
from tui.core.states import Look
from tui.core.why import why

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus

NOWHERE = "REGION_UNSPECIFIED"
Prices = Mapping[str, float]  # US dollars an hour of one accelerator, by the node that has it


@lru_cache(maxsize=1 << 14)  # the fleet's: they are asked for anew whenever a figure changes
def _named(name: str) -> tuple[str, str, str]:
    """Id, account and context of the deployment of this name."""
    parts = name.split("/")
    return parts[-1], parts[1] if len(parts) > 1 else "", context_of(name)


@lru_cache(maxsize=1 << 10)
def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _later(work_out: Callable[[Row], Any], *, drawn: bool = True) -> Any:
    """A field that is worked out when it is first asked for, and then kept; rows are equal if all that is drawn is."""
    return field(init=False, compare=drawn, metadata={"work_out": work_out})


@dataclass(frozen=True, slots=True)
class Row:
    """None means "no data yet", in what is `hidden` "not exposed". `untold`: the fields that its source never tells."""

    status: DeploymentStatus = field(repr=False, compare=False)
    untold: frozenset[str] = frozenset()
    prices: Prices = field(default_factory=dict, repr=False, compare=False)
    trend: tuple[float | None, ...] = ()  # of a row that is drawn: `Picture.trend` has it
    stale: str = ""  # how old all of it is, where its context is silent among others

    name: str = _later(lambda row: row.status.deployment.name)
    id: str = _later(lambda row: _named(row.name)[0])
    account: str = _later(lambda row: _named(row.name)[1])
    context: str = _later(lambda row: _named(row.name)[2])  # whose it is, where there are several
    model: str = _later(lambda row: _last(row.status.deployment.base_model or ""))
    state: str = _later(lambda row: row.status.deployment.state)
    look: Look = _later(lambda row: _look(row.status))  # noqa: RUF009
    ready: int | None = _later(lambda row: ready_count(row.status))
    desired: int | None = _later(lambda row: _desired(row.status))
    minimum: int | None = _later(lambda row: row.status.deployment.min_replica_count)
    maximum: int | None = _later(lambda row: row.status.deployment.max_replica_count)
    rps: float | None = _later(lambda row: row.status.stats.requests_per_second)
    queue: int | None = _later(lambda row: _count(row.status, "queue"))
    running: int | None = _later(lambda row: _count(row.status, "running"))
    error_rate: float | None = _later(lambda row: row.status.stats.error_rate)
    ttft_p50_ms: float | None = _later(lambda row: row.status.stats.ttft_p50_ms)
    ttft_p95_ms: float | None = _later(lambda row: row.status.stats.ttft_p95_ms)
    ttft_p99_ms: float | None = _later(lambda row: row.status.stats.ttft_p99_ms)
    tps: float | None = _later(lambda row: row.status.stats.tokens_per_second)
    why: str = _later(lambda row: why(row.status, explained="why" not in row.untold))
    conditions: tuple[str, ...] = _later(lambda row: tuple(one.type for one in row.status.conditions))  # that hold
    simulated: bool = _later(lambda row: row.status.simulated)
    kv_share: float | None = _later(lambda row: _kv_share(row.status))  # of the caches of all its replicas, 0 to 1
    cached_share: float | None = _later(lambda row: _cached_share(row.status))  # of prompt tokens the engine counted
    stages: tuple[int | None, ...] = _later(lambda row: _stages(row.status))  # replicas at each stage before READY
    region: str = _later(lambda row: " ".join(_regions(row.status)))
    shape: str = _later(lambda row: _shape(row.status))
    cost_per_hour: float | None = _later(lambda row: _cost(row.status, row.prices))  # US dollars
    acceptance: float | None = _later(lambda row: _acceptance(row.status))  # of drafted tokens the engine counted
    requests: int = _later(lambda row: row.status.stats.requests_total, drawn=False)  # since the engine counts
    hidden: frozenset[str] = _later(lambda row: row.untold.union(_unexposed(row.status, row.ready)))

    if not TYPE_CHECKING:  # else a slip in a name would pass for a figure

        def __getattr__(self, name: str) -> Any:
            """Called for a figure that has not been asked for yet."""
            if name not in _LATER:
                raise AttributeError(f"a row has no {name}")
            value = _LATER[name](self)
            object.__setattr__(self, name, value)
            return value

    @classmethod
    def summed(cls, **known: Any) -> Row:
        """A row of no deployment: all that it tells is `known`."""
        row = object.__new__(cls)
        for one in fields(cls):
            object.__setattr__(row, one.name, known.pop(one.name, None))
        if known:
            raise TypeError(f"a row has no {', '.join(known)}")
        return row

    def told(self, field: str, text: Callable[[Any], str]) -> str:
        """The figure of this name as `text` has it, or the sign for what is not exposed."""
        value = getattr(self, field)
        return units.NOT_EXPOSED if value is None and field in self.hidden else text(value)

    def same_one(self, other: Row) -> bool:
        """Both are of one deployment, and it is still there or still deleted."""
        mine, others = self.status.deployment, other.status.deployment
        return mine is others or (mine.name == others.name and self.deleted == other.deleted)

    def of_the_same(self, other: Row) -> bool:
        """Both tell the same, but for their trends."""
        alike = (self.untold, self.stale) == (other.untold, other.stale)
        return alike and self.status is other.status and self.prices is other.prices

    @property
    def deleted(self) -> bool:
        return self.status.deployment.state == "DELETED"


_LATER: dict[str, Callable[[Row], Any]] = {
    one.name: one.metadata["work_out"] for one in fields(Row) if "work_out" in one.metadata
}
_COUNTS = frozenset({"queue", "running"})


def _shape(status: DeploymentStatus) -> str:
    return (status.deployment.deployment_shape or "").partition("/versions/")[0].rpartition("/")[2]


def ready_count(status: DeploymentStatus) -> int | None:
    """Replicas that answer requests now: the server's counters, else the replicas it lists."""
    if status.deployment.replica_stats is not None:
        return status.deployment.replica_stats.ready_replica_count
    if status.replicas:
        return [replica.stage for replica in status.replicas].count("READY")
    return status.deployment.replica_count


def _desired(status: DeploymentStatus) -> int | None:
    desired, scaler = status.deployment.desired_replica_count, status.autoscaler
    return scaler.desired if desired is None and scaler is not None else desired


def _look(status: DeploymentStatus) -> Look:
    ready, desired = ready_count(status), _desired(status)
    return states.phase(status.deployment.state, ready, desired, held_up=bool(status.conditions))


def _count(status: DeploymentStatus, name: str) -> int | None:
    """A count that was not sent is not told: its default is none."""
    return getattr(status.stats, name) if name in status.stats.model_fields_set else None


def _kv_share(status: DeploymentStatus) -> float | None:
    known = [one for one in status.replicas if one.kv_capacity_tokens and one.kv_used_tokens is not None]
    used = sum(one.kv_used_tokens or 0 for one in known)
    return used / sum(one.kv_capacity_tokens or 0 for one in known) if known else None


def _cached_share(status: DeploymentStatus) -> float | None:
    stats = status.stats
    return stats.cached_tokens_total / stats.prompt_tokens_total if stats.prompt_tokens_total else None


def _acceptance(status: DeploymentStatus) -> float | None:
    drafts = status.speculation
    return drafts.accepted / drafts.drafted if drafts is not None and drafts.drafted else None


def _regions(status: DeploymentStatus) -> list[str]:
    """Where its replicas stand; where they may stand while there are none."""
    found = {one.region for one in status.replicas if one.region and one.region != NOWHERE}
    place = status.deployment.placement
    wanted = [place.region, *(place.regions or [])] if place is not None else []
    return sorted(found) or [region for region in wanted if region]


def _cost(status: DeploymentStatus, prices: Prices) -> float | None:
    """0 without replicas; not known where any of them stands on a node without a price."""
    standing = [prices.get(one.node) for one in status.replicas if one.node] if prices else [None]
    known = [price for price in standing if price is not None]
    return sum(known) * (status.deployment.accelerator_count or 1) if len(known) == len(standing) else None


def _unexposed(status: DeploymentStatus, ready: int | None) -> Iterator[str]:
    """Who tells one percentile knows the other, and a replica that serves knows what it drafts: if they may say so."""
    stats = status.stats
    yield from _COUNTS - stats.model_fields_set
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
