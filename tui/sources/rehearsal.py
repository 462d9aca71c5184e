"""A fleet to rehearse with: no engine, no network, an injected clock. Always labelled SIMULATED.

Shipped for users (`firedeck dashboard --rehearse`), tests and documentation. It keeps the product's rules: ids are
checked, deletion is soft, `validate_*` makes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from client.access_types import ApiKey, AuditLogEntry, Quota, User
from client.config import Context
from client.errors import AlreadyExists, FailedPrecondition, FiredeckError, InvalidArgument, NotFound
from client.fleet_types import (
    HISTORY_SERIES,
    AlertPage,
    AlertRule,
    AlertView,
    EngineInfo,
    Event,
    FleetSnapshot,
    History,
    NodeView,
)
from client.listing import Listed
from client.names import LIBRARY_ACCOUNT, check_id, random_id
from client.types import Account, AutoscalingPolicy, ColdOptions, Deployment, DeploymentSpec, Status
from tui.core.facts import Facts
from tui.sources import rehearsal_models, simulation
from tui.sources.records import RehearsalRecords
from tui.sources.rehearsal_models import MODELS, RehearsalModels
from tui.sources.simulation import SimDeployment

Clock = Callable[[], datetime]
Pace = Callable[[], Awaitable[None]]
KEPT_SECONDS = 3600
MOST_REPLICAS = 8
CHANGES = ("create", "scale", "update", "delete", "undelete", "load_adapter", "unload_adapter")


def wall_clock() -> datetime:
    return datetime.now(UTC)


async def each_second() -> None:
    await asyncio.sleep(1.0)


class RehearsalSource(RehearsalRecords, RehearsalModels):
    """A `FleetSource` in memory. `warm_s` seconds have already passed when it starts, so that charts are not empty.

    `fault`, while set, is raised by every call, as a broken connection would.
    """

    def __init__(
        self, clock: Clock = wall_clock, pace: Pace = each_second, warm_s: int = 130, context: Context | None = None
    ) -> None:
        self.context = context or Context(base_url="rehearsal:", name="rehearsal")
        self.fault: FiredeckError | None = None
        self.guards_use = False  # a delete is refused while there is traffic, as a real engine does
        self.alert_views: list[AlertView] = []  # as an engine that evaluates its rules would send them
        self.rules: list[AlertRule] = []
        self.calls: list[str] = []
        self.facts = Facts("rehearsal")
        self._clock, self._pace = clock, pace
        self._origin = clock() - timedelta(seconds=warm_s)
        self._second = -1
        self._events: deque[Event] = deque(maxlen=500)
        self._history: dict[str, deque[dict[str, float | None]]] = {}
        self.fleet: dict[str, SimDeployment] = {}
        for deployment in example_fleet(self.context.account, self._moment(0)):
            self.add(deployment)
        self.loaded = rehearsal_models.loaded(self.context.account, self._moment(0))
        self._catch_up()

    def add(self, deployment: SimDeployment) -> None:
        self.fleet[deployment.name] = deployment

    def _moment(self, second: int) -> datetime:
        return self._origin + timedelta(seconds=second)

    def _catch_up(self) -> None:
        """Live through every second that the clock has passed since the last call."""
        now = int((self._clock() - self._origin).total_seconds())
        while self._second < now:
            self._second += 1
            for deployment in self.fleet.values():
                deployment.step(self._second, self._note)
                self._record(deployment)

    def _record(self, deployment: SimDeployment) -> None:
        kept = self._history.setdefault(deployment.name, deque(maxlen=KEPT_SECONDS))
        kept.append(deployment.sample(self._second, self._moment))

    def _note(self, deployment: str, kind: str, reason: str, message: str, replica: str | None) -> None:
        seq = self._events[-1].seq + 1 if self._events else 1
        self._events.append(
            Event(
                seq=seq, time=self._moment(self._second), deployment=deployment, kind=kind, reason=reason,
                message=message, replica=replica,
            )
        )  # fmt: skip

    def _begin(self, call: str) -> None:
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault
        self._catch_up()

    async def snapshot(self) -> FleetSnapshot:
        self._begin("snapshot")
        info = EngineInfo(
            version="0.1.0", started_at=self._origin, pid=4100, data_dir="(memory)", cores=2,
            synthetic_traffic=True, simulated=True, rehearsal=True,
        )  # fmt: skip
        shown = [d.status(self._second, self._moment) for d in self.fleet.values()]
        return FleetSnapshot(time=self._clock(), engine=info, deployments=shown, alerts=list(self.alert_views))

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        while True:
            yield await self.snapshot()
            await self._pace()

    async def history(self, deployment: str, seconds: int) -> History:
        self._begin("history")
        kept = list(self._history.get(deployment, ()))[-seconds:]
        first = self._moment(self._second - len(kept) + 1).timestamp()
        series = {name: [sample[name] for sample in kept] for name in HISTORY_SERIES}
        return History(deployment=deployment, step_s=1, times=[first + k for k in range(len(kept))], series=series)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        self._begin("events")
        return [e for e in self._events if deployment in (None, e.deployment)][-limit:]

    async def nodes(self) -> list[NodeView]:
        self._begin("nodes")
        return simulation.nodes()

    async def users(self) -> list[User]:
        self._begin("users")
        return simulation.users(self.context.account, self._origin)

    async def api_keys(self) -> list[tuple[str, ApiKey]]:
        self._begin("api_keys")
        return [(user.id, simulation.key_of(user)) for user in simulation.users(self.context.account, self._origin)]

    async def quotas(self) -> list[Quota]:
        self._begin("quotas")
        name = f"accounts/{self.context.account}/quotas/deployment-count"
        return [Quota(name=name, value="20", max_value="100", usage=float(len(self.fleet)))]

    async def account(self) -> Account:
        return Account(name=f"accounts/{self.context.account}")

    async def audit_logs(self, limit: int, *, reads: bool = True) -> Listed[AuditLogEntry]:
        """What was asked of this source, as an engine would have it on record."""
        self._begin("audit_logs")
        done = [
            AuditLogEntry(id=str(n), timestamp=self._origin, principal="ada", message=call, status=Status(code="OK"))
            for n, call in enumerate(self.calls)
            if reads or call in CHANGES
        ]
        found = Listed(done[::-1][:limit])
        found.total_size = len(done)
        return found

    async def alerts(self) -> AlertPage:
        self._begin("alerts")
        return AlertPage(alerts=list(self.alert_views), rules=list(self.rules))

    async def get(self, deployment: str) -> Deployment:
        self._begin("get")
        return self._of(deployment).status(self._second, self._moment).deployment

    def _of(self, deployment: str) -> SimDeployment:
        if deployment not in self.fleet:
            raise NotFound(f"{deployment} does not exist")
        return self.fleet[deployment]

    async def validate_create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        self._begin("validate_create")
        return self._made(spec, deployment_id or random_id())

    def _made(self, spec: DeploymentSpec, deployment_id: str) -> Deployment:
        name = f"accounts/{self.context.account}/deployments/{check_id(deployment_id, 'deploymentId')}"
        if name in self.fleet:
            raise AlreadyExists(f"{deployment_id} exists already", field="deploymentId")
        if (spec.base_model or "").rpartition("/")[2] not in MODELS:
            raise InvalidArgument(f"model {spec.base_model} is not known", field="baseModel")
        least = spec.min_replica_count or 0
        _check_room(spec)
        rehearsal_models.check_precision(spec)
        given = spec.model_dump(exclude_none=True)
        return Deployment.model_validate(
            {"autoscaling_policy": windows(), "min_replica_count": least, "max_replica_count": least or 1, **given}
            | {"name": name, "state": "CREATING", "create_time": self._clock()}
        )

    async def validate_update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        self._begin("validate_update")
        _check_room(changes)
        return self._of(deployment).deployment.model_copy(update=_given(changes))

    async def validate_delete(self, deployment: str, *, ignore_checks: bool = False) -> bool:
        self._begin("validate_delete")
        self._refuse_use(self._of(deployment), ignore_checks)
        return True

    def _refuse_use(self, found: SimDeployment, ignore_checks: bool) -> None:
        if self.guards_use and found.rps and not ignore_checks:
            raise FailedPrecondition(f"deployment {found.name!r} is in use", hint="ignoreChecks=true deletes it anyway")

    async def create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        self._begin("create")
        made = self._made(spec, deployment_id or random_id())
        self.add(SimDeployment(made, desired=max(1, made.min_replica_count or 0)))
        self._note(made.name, "Normal", "Created", f"deployment {made.id} was created", None)
        return made

    async def update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        self._begin("update")
        found = self._of(deployment)
        found.deployment = found.deployment.model_copy(update=_given(changes))
        self._note(deployment, "Normal", "Updated", f"deployment {found.deployment.id} was changed", None)
        return found.deployment

    async def scale(self, deployment: str, replica_count: int) -> None:
        self._begin("scale")
        found = self._of(deployment)
        if found.deployment.state == "DELETED":
            raise FailedPrecondition(f"{found.deployment.id} is deleted", hint="undelete it first")
        self._note(deployment, "Normal", "Scaled", f"{found.desired} -> {replica_count} replicas, as asked", None)
        found.desired, found.pressed = replica_count, 0

    async def delete(self, deployment: str, *, ignore_checks: bool = False) -> None:
        self._begin("delete")
        found = self._of(deployment)
        self._refuse_use(found, ignore_checks)
        found.deployment = found.deployment.model_copy(update={"state": "DELETED", "delete_time": self._clock()})
        found.desired, found.replicas, found.rps, found.queue = 0, [], 0.0, 0.0
        self._note(deployment, "Normal", "Deleted", f"deployment {found.deployment.id} was deleted", None)

    async def undelete(self, deployment: str) -> Deployment:
        self._begin("undelete")
        found = self._of(deployment)
        if found.deployment.state != "DELETED":
            raise FailedPrecondition(f"{found.deployment.id} is not deleted")
        found.deployment = found.deployment.model_copy(update={"state": "READY", "delete_time": None})
        self._note(deployment, "Normal", "Undeleted", f"deployment {found.deployment.id} was brought back", None)
        return found.deployment

    async def close(self) -> None:
        self.fault = None


def _check_room(spec: DeploymentSpec) -> None:
    if spec.max_replica_count is not None and spec.max_replica_count > MOST_REPLICAS:
        raise InvalidArgument(f"at most {MOST_REPLICAS} replicas fit on this machine", field="maxReplicaCount")


def windows() -> AutoscalingPolicy:
    return AutoscalingPolicy(
        scale_up_window=timedelta(seconds=30), scale_down_window=timedelta(minutes=10),
        scale_to_zero_window=timedelta(hours=1), load_targets={"default": 0.8},
    )  # fmt: skip


def _given(changes: DeploymentSpec) -> dict[str, object]:
    return {name: getattr(changes, name) for name in changes.model_fields_set}


NGRAMS: dict[str, Any] = {"ngram_speculation_length": 3, "draft_token_count": 4}


def example_fleet(account: str, created: datetime) -> list[SimDeployment]:
    """One of each kind: waves from zero to two, steady, scaled to zero, failed, deleted."""

    def make(
        name: str, model: str, least: int, most: int, state: str = "READY", error: str = "", **more: object
    ) -> Deployment:  # fmt: skip
        return Deployment(
            name=f"accounts/{account}/deployments/{name}", base_model=f"accounts/{LIBRARY_ACCOUNT}/models/{model}",
            min_replica_count=least, max_replica_count=most, state=state, create_time=created,
            status=Status(code="INTERNAL", message=error) if error else None,
            autoscaling_policy=windows(), firedeck=ColdOptions(cold_policy="hold"),
        ).model_copy(update=more)  # fmt: skip

    lost = "the model file is not where it was registered: /data/models/judge.gguf"
    return [
        SimDeployment(make("chat", MODELS[0], 0, 2, enable_addons=True), simulation.waves),
        SimDeployment(make("summarise", MODELS[2], 1, 3, **NGRAMS), simulation.steady, desired=1),
        SimDeployment(make("base", MODELS[1], 0, 1)),
        SimDeployment(make("judge", MODELS[2], 1, 1, "FAILED", lost)),
        SimDeployment(make("old-chat", MODELS[0], 0, 1, "DELETED")),
    ]
