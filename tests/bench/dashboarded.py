"""A dashboard on a simulated fleet of 5,000 deployments and 50,000 replicas, for `tests.bench.dashboard` to measure.

    python -m tests.bench.dashboarded ours|stock FILE     in a terminal; what it took goes to FILE as JSON when it ends

Ten pictures a second, a tenth of the deployments changed in each. `stock` shows the same cells in Textual's own
DataTable, each changed one by `update_cell`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widgets import DataTable

import tui
from client.config import Context
from client.fleet_types import (
    HISTORY_SERIES,
    AlertPage,
    AutoscalerView,
    DeploymentStats,
    DeploymentStatus,
    EngineInfo,
    Event,
    FleetSnapshot,
    History,
    NodeView,
    Reason,
    ReplicaView,
)
from client.types import Account, Deployment, ReplicaStats
from tui.app import Deck
from tui.core import columns
from tui.core.facts import Facts
from tui.core.journal import Journal
from tui.core.row import Row
from tui.messages import FleetSeen
from tui.web.child import end_with

DEPLOYMENTS, REPLICAS_EACH = 5000, 10
CHANGED = DEPLOYMENTS // 10
EVERY_S = 0.1
DAY_S = 86_400
KINDS = 97  # of figures: a deployment has others each time
START = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("READY",) * 18 + ("CREATING", "FAILED")


def busy(number: int, turn: int) -> int:
    """Requests under way at the deployment of this number when it changed for the `turn`-th time."""
    return (number * 7 + turn * 13) % KINDS


def figures(running: int) -> tuple[DeploymentStats, AutoscalerView]:
    stats = DeploymentStats(
        window_s=60, queue=running % 5, running=running, requests_per_second=running / 3, error_rate=0.0,
        tokens_per_second=running * 11.0, ttft_p50_ms=80.0 + running, ttft_p95_ms=180.0 + 2 * running,
        ttft_p99_ms=300.0 + 3 * running, requests_total=0, prompt_tokens_total=100, cached_tokens_total=running,
    )  # fmt: skip
    reasons = [Reason(code="HELD", text=f"{running} concurrent requests, target 8 a replica: {REPLICAS_EACH} wanted")]
    return stats, AutoscalerView(current=REPLICAS_EACH, desired=REPLICAS_EACH, reasons=reasons)


def status(number: int, stats: DeploymentStats, scaler: AutoscalerView) -> DeploymentStatus:
    made = Deployment(
        name=f"accounts/acme/deployments/d{number:04}", base_model=f"accounts/fireworks/models/model-{number % 12}",
        state=STATES[number % 20], min_replica_count=1, max_replica_count=16, replica_count=REPLICAS_EACH,
        desired_replica_count=REPLICAS_EACH, create_time=START,
        replica_stats=ReplicaStats(ready_replica_count=REPLICAS_EACH),
    )  # fmt: skip
    running = stats.running
    replicas = [
        ReplicaView(id=f"d{number:04}-{n}", stage="READY", node="n1", running=running % 8, slots=8,
                    kv_used_tokens=running, kv_capacity_tokens=8192, started_at=START)
        for n in range(REPLICAS_EACH)
    ]  # fmt: skip
    return DeploymentStatus(deployment=made, stats=stats, autoscaler=scaler, replicas=replicas, simulated=True)


class Fleet:
    """A `FleetSource`, as far as the first page asks it. What making it and its turns costs is noted: that is not the
    dashboard's work."""

    def __init__(self) -> None:
        self.context = Context(base_url="bench:", account="acme", name="bench")
        self.facts = Facts("simulated")
        began = time.perf_counter()
        self._figures = [figures(running) for running in range(KINDS)]
        self._found = [status(number, *self._figures[busy(number, 0)]) for number in range(DEPLOYMENTS)]
        self.made_s, self.turned_s = time.perf_counter() - began, 0.0
        self._turn = 0

    @property
    def load_share(self) -> float:
        """Of a core, what its turns take at ten a second."""
        return self.turned_s / (self._turn * EVERY_S) if self._turn else 0.0

    def step(self) -> list[int]:
        """The numbers of those that changed."""
        began = time.thread_time()
        self._turn += 1
        changed = [(self._turn + n * 10) % DEPLOYMENTS for n in range(CHANGED)]
        for number in changed:
            self._found[number] = self._renewed(number, self._found[number])
        self.turned_s += time.thread_time() - began
        return changed

    def _renewed(self, number: int, before: DeploymentStatus) -> DeploymentStatus:
        """All its figures, and one of its replicas."""
        running = busy(number, self._turn)
        stats, scaler = self._figures[running]
        replicas = list(before.replicas)
        at = self._turn // 10 % REPLICAS_EACH
        replicas[at] = replace(replicas[at], running=running % 8, kv_used_tokens=80 * running)
        counted = stats.model_copy(update={"requests_total": self._turn})
        return before.model_copy(update={"stats": counted, "autoscaler": scaler, "replicas": replicas})

    async def snapshot(self) -> FleetSnapshot:
        engine = EngineInfo(version="0", started_at=START, cores=1, simulated=True)
        shown = {"deployments": list(self._found)}  # already checked: as a stream that renews what changed hands on
        return FleetSnapshot(time=datetime.now(UTC), engine=engine, deployments=[]).model_copy(update=shown)

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        due = time.monotonic()
        while True:
            yield await self.snapshot()
            due += EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.step()

    async def history(self, deployment: str, seconds: int) -> History:
        samples = min(seconds, DAY_S) // 10
        times = [START.timestamp() + 10.0 * n for n in range(samples)]
        curve: list[float | None] = [float(n % 300) for n in range(samples)]
        return History(deployment=deployment, step_s=10, times=times, series=dict.fromkeys(HISTORY_SERIES, curve))

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        return []

    async def nodes(self) -> list[NodeView]:
        return []

    async def alerts(self) -> AlertPage:
        return AlertPage()

    async def account(self) -> Account:
        return Account(name="accounts/acme")

    async def close(self) -> None:
        """Nothing is open."""


class Timed(Deck):
    """Notes how long each picture takes from its coming to the last of its painting."""

    CSS_PATH = [str(Path(tui.__file__).parent / path) for path in Deck.CSS_PATH]

    def __init__(self, fleet: Fleet, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(fleet, journal=Journal(None), clock=clock)  # type: ignore[arg-type]  # of its first page alone
        self.fleet = fleet
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def on_fleet_seen(self, message: FleetSeen) -> None:
        """Before the one of the class above, which Textual calls itself."""
        self.screen.call_after_refresh(self._painted, time.perf_counter(), time.thread_time())

    def _painted(self, began: float, cpu: float) -> None:
        self.took_ms.append(1000 * (time.perf_counter() - began))
        self.cpu_ms.append(1000 * (time.thread_time() - cpu))


class Stock(App[None]):
    """What a dashboard on DataTable does for the same pictures."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.fleet = fleet
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self._columns = [one for one in columns.FLEET if not one.optional]

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for column in self._columns:
            table.add_column(column.title, key=column.key, width=max(8, column.least))
        for one in self.fleet._found:
            row = Row(one)
            table.add_row(*columns.cells(self._columns, row), key=row.name)
        table.focus()
        self.set_interval(EVERY_S, self._tick)

    def _tick(self) -> None:
        table, changed = self.query_one(DataTable), self.fleet.step()
        began, cpu = time.perf_counter(), time.thread_time()
        for number in changed:
            row = Row(self.fleet._found[number])
            for column, cell in zip(self._columns, columns.cells(self._columns, row), strict=True):
                if table.get_cell(row.name, column.key) != cell:
                    table.update_cell(row.name, column.key, cell)
        self.screen.call_after_refresh(self._painted, began, cpu)

    def _painted(self, began: float, cpu: float) -> None:
        self.took_ms.append(1000 * (time.perf_counter() - began))
        self.cpu_ms.append(1000 * (time.thread_time() - cpu))


def main(which: str, file: Path) -> None:
    end_with(os.getppid())
    app = Timed(Fleet()) if which == "ours" else Stock(Fleet())
    app.run()
    fleet, took = app.fleet, {"took_ms": app.took_ms, "cpu_ms": app.cpu_ms}
    file.write_text(json.dumps(took | {"made_s": fleet.made_s, "load_share": fleet.load_share}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
