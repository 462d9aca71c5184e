"""How far a deployment or a router's shift is, as one sentence: for who waits for it, and for lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from client.fleet_types import Condition, DeploymentStatus
from client.router_types import COMPLETED, SHIFTING, RouterShift
from client.types import Deployment

KNOWN_BY_CHARS = 200  # of a message's beginning: the status is cut and has words of its own before it
_UNTOLD = "-"


def progress(status: DeploymentStatus) -> str:
    """`CREATING: 1 of 2 replicas ready, 1 loading the model`, with what holds it up and until when."""
    d = status.deployment
    ready = counts(d)[0]
    others = "".join(f", {number} {stage}" for number, stage in stages(d) if number and stage != "ready")
    told = f"{known(d.state)}: {ready} of {d.desired_replica_count or 0} replicas ready{others}"
    return "; ".join(filter(None, (told, holding_up(status.conditions))))


def holding_up(conditions: Sequence[Condition], said: str = "") -> str:
    """`STOCKOUT (no H100 free), next try at 2026-11-20T12:00:05Z`, for each; nothing when all is as declared.

    Messages that `said` has already, be it cut, are left out."""
    return "; ".join(
        one.reason
        + (f" ({one.message})" if one.message and one.message[:KNOWN_BY_CHARS] not in said else "")
        + (f", next try at {local_time(one.retry_at)}" if one.retry_at else "")
        for one in conditions
    )


def is_short(d: Deployment) -> bool:
    """A replica of it was refused a place."""
    return d.status is not None and d.status.code == "RESOURCE_EXHAUSTED"


def stages(d: Deployment) -> tuple[tuple[int, str], ...]:
    """How many replicas are at each stage. One without a place waits for room only where room was refused: just asked
    for, it is about to start."""
    stats = d.replica_stats
    if stats is None:
        return ()
    return (
        (stats.ready_replica_count, "ready"),
        (stats.initializing_replica_count, "loading the model"),
        (stats.downloading_model_replica_count, "downloading the model"),
        (stats.pending_scheduling_replica_count, "waiting for room" if is_short(d) else "to be started"),
    )


def counts(d: Deployment) -> tuple[int, int, int]:
    """Replicas that are ready, that start (download or load), and that have no place yet."""
    stats = d.replica_stats
    if stats is None:
        return 0, 0, 0
    starting = stats.downloading_model_replica_count + stats.initializing_replica_count
    return stats.ready_replica_count, starting, stats.pending_scheduling_replica_count


def shift_stage(shift: RouterShift) -> str:
    """How far it is, or what came of it: `SHIFTING to next at 20 %, step 2 of 10`, `ROLLED_BACK from next at step 2 of
    10: it has 0 % again`."""
    to, step = short(shift.to), f"step {shift.step_number} of {shift.steps}"
    if shift.state == SHIFTING:
        return f"{shift.state} to {to} at {percent(shift.share)}, {step}"
    if shift.state == COMPLETED:
        return f"{shift.state}: {to} has all of the traffic"
    return f"{shift.state} from {to} at {step}: it has {percent(shift.share)} again"


def percent(share: float | None) -> str:
    return _UNTOLD if share is None else f"{round(share * 100, 2):g} %"


def short(deployment: str) -> str:
    return deployment.rpartition("/")[2]


def known(name: str | None) -> str:
    """An enum's name; nothing for the value that says that there is none."""
    return "" if name is None or name.endswith("_UNSPECIFIED") else name


def local_time(value: datetime | None) -> str:
    """`2026-11-20T12:00:05-05:00`: this machine's time with its offset, in one word, as options take it back."""
    return value.astimezone().isoformat(timespec="seconds").replace("+00:00", "Z") if value else ""
