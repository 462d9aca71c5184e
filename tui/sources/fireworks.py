"""A Fireworks account: deployments from the API, figures from the metrics endpoint, both within their limits.

There is no stream, no autoscaler's reasoning and no view of nodes there: what it lacks is told, never guessed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from client.access_types import ApiKey
from client.errors import NotFound, ResourceExhausted
from client.fleet_types import (
    AlertPage,
    DeploymentStats,
    DeploymentStatus,
    EngineInfo,
    Event,
    FleetSnapshot,
    History,
    NodeView,
)
from client.resources import Client
from client.types import Deployment, DeploymentSpec
from tui.core import account_metrics
from tui.core.facts import TAPE, Budget, Facts
from tui.sources.engine import EngineSource

EVERY_S = 10.0
METRICS_EVERY_S = 30.0  # they have new values each 30 s
METRICS_A_MINUTE = 6  # more are answered with 429
KEPT = 4320  # samples of each series: half a day
HIDDEN = frozenset({"acceptance", "queue", "tps", "kv_share", "cached_share", "cost_per_hour", "why", "replicas"})
# Of the metrics endpoint.
FIGURES = frozenset({"rps", "error_rate", "running", "ttft_p50_ms", "ttft_p95_ms", "ttft_p99_ms"})
_SERIES = {
    "ttft_p50_ms": "ttft_p50_ms", "ttft_p95_ms": "ttft_p95_ms", "ttft_p99_ms": "ttft_p99_ms",
    "requests_per_second": "requests_per_second", "concurrency": "running",
}  # fmt: skip
LACKS = {
    **dict.fromkeys(TAPE, "only a recording can be wound"),
    "nodes": "Fireworks does not show its machines",
    "conditions": "Fireworks tells no conditions of a deployment",
    "quarantine": "Fireworks has no quarantine",
    "alerts": "Fireworks has no alerts",
    "requests": "Fireworks keeps no record of single requests",
    "routers": "Fireworks has no routers",
    "shift": "Fireworks has no routers",
    "roll_back": "Fireworks has no routers",
    "costs": "Fireworks' API tells no costs",
}


class FireworksSource(EngineSource):
    """A `FleetSource` that asks every ten seconds. History is what this dashboard has seen since it was started."""

    def __init__(
        self,
        client: Client,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(client.context)
        self._client = client
        self._clock, self._sleep = clock, sleep
        self._budget = Budget(METRICS_A_MINUTE)
        self._figures: dict[str, DeploymentStats] = {}
        self._figures_at: datetime | None = None
        self._no_metrics = False
        self._since = clock()
        self._seen: deque[FleetSnapshot] = deque(maxlen=KEPT)
        self._events: deque[Event] = deque(maxlen=500)

    @property
    def facts(self) -> Facts:
        now = self._clock()
        return Facts(
            "Fireworks", LACKS, timedelta(seconds=EVERY_S), self._budget.used(now), self._budget.limit,
            self._budget.held_until, hidden=HIDDEN | (FIGURES if self._no_metrics else frozenset()),
        )  # fmt: skip

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        while True:
            yield await self.snapshot()
            await self._sleep(EVERY_S)

    async def snapshot(self) -> FleetSnapshot:
        with self._readable():
            deployments = await self._client.deployments.list(show_deleted=True)
        await self._ask_figures()
        info = EngineInfo(version="Fireworks", started_at=self._since, cores=0)
        found = FleetSnapshot(time=self._clock(), engine=info, deployments=[self._status(one) for one in deployments])
        self._note_changes(found)
        self._seen.append(found)
        return found

    async def _ask_figures(self) -> None:
        """The metrics, where they are due and may be asked for; a refusal is waited out, the last ones stay."""
        now = self._clock()
        due = self._figures_at is None or (now - self._figures_at).total_seconds() >= METRICS_EVERY_S
        if not due or not self._budget.may(now):
            return
        self._budget.spend(now)
        try:
            text = await self._client.transport.text(f"/v1/accounts/{self.context.account}/metrics")
        except ResourceExhausted as error:
            self._budget.refused(now, error.retry_after_s)
            return
        except NotFound:
            text, self._no_metrics = "", True  # the account has no such endpoint: everything in it is not exposed
        self._budget.answered()
        self._figures, self._figures_at = account_metrics.read(text), now

    def _status(self, deployment: Deployment) -> DeploymentStatus:
        stats = self._figures.get(deployment.name) or DeploymentStats(window_s=account_metrics.WINDOW_S)
        return DeploymentStatus(deployment=deployment, stats=stats)

    def _note_changes(self, found: FleetSnapshot) -> None:
        """Fireworks has no events: those of states and counts are what was seen to change."""
        before = {one.deployment.name: one.deployment for one in self._seen[-1].deployments} if self._seen else {}
        for status in found.deployments:
            now, then = status.deployment, before.get(status.deployment.name)
            if then is not None and then.state != now.state:
                self._note(found.time, now, "StateChanged", f"{then.state} -> {now.state}")
            if then is not None and then.desired_replica_count != now.desired_replica_count:
                told = f"{then.desired_replica_count} -> {now.desired_replica_count} replicas wanted"
                self._note(found.time, now, "Scaled", told)

    def _note(self, time: datetime, deployment: Deployment, reason: str, message: str) -> None:
        kind = "Warning" if deployment.state == "FAILED" else "Normal"
        seq = self._events[-1].seq + 1 if self._events else 1
        event = Event(seq=seq, time=time, deployment=deployment.name, kind=kind, reason=reason, message=message)
        self._events.append(event)

    async def history(self, deployment: str, seconds: int) -> History:
        """Only the series that the endpoint has: the others are not exposed."""
        first = self._clock() - timedelta(seconds=seconds)
        kept = [s for s in self._seen if s.time >= first]
        found = [next((one for one in s.deployments if one.deployment.name == deployment), None) for s in kept]
        exposed = {} if self._no_metrics else _SERIES
        series: dict[str, list[float | None]] = {
            name: [getattr(one.stats, field) if one and field in one.stats.model_fields_set else None for one in found]
            for name, field in exposed.items()
        }
        for name, count in (("ready", "replica_count"), ("desired", "desired_replica_count")):
            series[name] = [getattr(one.deployment, count) if one else None for one in found]
        return History(deployment=deployment, step_s=EVERY_S, times=[s.time.timestamp() for s in kept], series=series)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        return [event for event in self._events if deployment in (None, event.deployment)][-limit:]

    async def nodes(self) -> list[NodeView]:
        return []

    async def api_keys(self) -> list[tuple[str, ApiKey]]:
        """Those of every user that the key may see: whose it is, is not told."""
        with self._readable():
            found = []
            for user in await self._client.users.list():
                found += [(user.id, key) for key in await self._client.api_keys.list(user.id)]
            return found

    async def alerts(self) -> AlertPage:
        """No rules: charts have no limits to show."""
        return AlertPage()

    async def validate_update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        """Fireworks has no dry run of an update: what it would be is made here, the check comes when it is sent."""
        now = await self.get(deployment)
        return now.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})

    async def validate_delete(self, deployment: str, *, ignore_checks: bool = False) -> bool:
        return False
