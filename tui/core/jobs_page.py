"""The page of what is under way: precisions being prepared, uploads, models and adapters on their way to replicas.

An engine has no list of its jobs: each is told by what it is of, and gathered here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tui.core import states, units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.model_page import look, short
from tui.core.precisions import asked_for
from tui.core.snapshot import Picture
from tui.core.states import Look, Tone

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.fleet_types import DeploymentStatus, ReplicaView
    from client.model_types import Model, PreparedPrecision

KEPT = timedelta(days=1)  # what is ready, or has failed, is told of for so long
BAR_CELLS = 10
_LOADING = ("DOWNLOADING_MODEL", "INITIALIZING")
_UNDER_WAY = ("DEPLOYING", "UPDATING", "UNDEPLOYING")
_PREPARED = {
    "PREPARING": Look("◐", "PREPARING", "working", 10), "READY": Look("●", "READY", "healthy", 30),
    "FAILED": Look("✖", "FAILED", "failed", 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """`progress` from 0 to 1, None where nobody says how far it is; `since` None where nobody says when it began."""

    kind: str
    of: str
    look: Look
    doing: str
    progress: float | None = None
    since: datetime | None = None


def rows(models: Iterable[Model], loaded: Iterable[DeployedModel], picture: Picture) -> tuple[Entry[Job], ...]:
    """What failed first, then what is under way, then what is ready since a day at most."""
    snapshot = picture.snapshot
    if snapshot is None:
        return ()
    found = [*_of_models(models, snapshot.time), *_of_adapters(loaded), *_of_replicas(snapshot.deployments)]
    return tuple(sorted(found, key=lambda row: (row.what.look.rank, row.name)))


def _of_models(models: Iterable[Model], now: datetime) -> Iterator[Entry[Job]]:
    for model in models:
        if model.state == "UPLOADING":
            upload = Job("upload", model.id, look(model.state), "its files", None, model.create_time)
            yield Entry(f"upload {model.name}", upload)
        for one in asked_for(model):
            ended = one.update_time if one.state != "PREPARING" else None
            if ended is None or now - ended < KEPT:
                yield Entry(f"prepare {model.name} {one.precision}", _prepare(model, one))


def _prepare(model: Model, one: PreparedPrecision) -> Job:
    why = one.status.message if one.status else ""
    doing = why or one.stage or ("it waits its turn" if one.state == "PREPARING" else one.quantization)
    known = _PREPARED.get(one.state) or Look("?", one.state, "neutral", 60)
    return Job("prepare", f"{model.id} in {one.precision}", known, doing, None, one.create_time)


def _of_adapters(loaded: Iterable[DeployedModel]) -> Iterator[Entry[Job]]:
    for one in loaded:
        if one.state in _UNDER_WAY or one.state == "FAILED":
            doing = (one.status.message if one.status else "") or "onto every replica"
            of = f"{short(one.model)} on {short(one.deployment)}"
            job = Job("adapter", of, look(one.state), doing, None, one.create_time)
            yield Entry(f"adapter {one.name}", job, one.deployment or "")


def _of_replicas(statuses: Iterable[DeploymentStatus]) -> Iterator[Entry[Job]]:
    for status in statuses:
        for replica in status.replicas:
            if replica.stage in _LOADING:
                name = status.deployment.name
                yield Entry(f"load {name} {replica.id}", _load(status, replica), name)


def _load(status: DeploymentStatus, replica: ReplicaView) -> Job:
    doing = f"{short(status.deployment.base_model)} of {status.deployment.id}"
    return Job("load", replica.id, states.stage(replica.stage), doing, replica.progress, replica.started_at)


def _tone(row: Entry[Job]) -> Tone | None:
    return row.what.look.tone


def _progress(row: Entry[Job]) -> str:
    part = row.what.progress
    return units.UNKNOWN if part is None else f"{units.bar(part, BAR_CELLS)} {units.percent(part):>4}"


def _since(row: Entry[Job]) -> float | None:
    return row.what.since.timestamp() if row.what.since else None


JOBS: Listing[Job] = Listing(
    "jobs", "jobs",
    (
        Column("state", "STATE", lambda r: r.what.look.text, 0, 11, 13, "left", _tone, lambda r: r.what.look.rank),
        Column("kind", "JOB", lambda r: r.what.kind, 0, 7, align="left"),
        Column("of", "OF", lambda r: r.what.of, 0, 14, 44, "left"),
        Column("progress", "PROGRESS", _progress, 1, 15, align="left", value=lambda r: r.what.progress, unit="share"),
        Column("since", "SINCE", lambda r: units.clock(r.what.since) if r.what.since else units.UNKNOWN, 2, 8,
               value=_since),
        Column("doing", "WHAT IS DONE", lambda r: r.what.doing, 1, 16, 200, "left"),
    ),
    "nothing is being prepared, uploaded or loaded",
    lambda r, now: (f"{r.what.kind} {r.what.of}, for {units.since(r.what.since, now)}", r.what.doing), 2.0,
)  # fmt: skip
