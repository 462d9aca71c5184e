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
from collections.abc import AsyncIterator
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
from client.types import Account, Deployment
from tui.app import Deck
from tui.core import columns
from tui.core.facts import Facts
from tui.core.journal import Journal
from tui.core.snapshot import row_of
from tui.messages import FleetSeen
from tui.web.child import end_with

DEPLOYMENTS, REPLICAS_EACH = 5000, 10
CHANGED = DEPLOYMENTS // 10
EVERY_S = 0.1
DAY_S = 86_400
START = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("READY",) * 18 + ("CREATING", "FAILED")


def status(number: int, turn: int) -> DeploymentStatus:
    """Of the deployment of this number when it changed for the `turn`-th time."""
    name, busy = f"accounts/acme/deployments/d{number:04}", (number * 7 + turn * 13) % 97
    made = Deployment(
        name=name, base_model=f"accounts/fireworks/models/model-{number % 12}", state=STATES[number % 20],
        min_replica_count=1, max_replica_count=16, replica_count=REPLICAS_EACH, desired_replica_count=REPLICAS_EACH,
        create_time=START,
    )  # fmt: skip
    stats = DeploymentStats(
        window_s=60, queue=busy % 5, running=busy, requests_per_second=busy / 3, tokens_per_second=busy * 11.0,
        ttft_p50_ms=80.0 + busy, ttft_p95_ms=180.0 + 2 * busy, ttft_p99_ms=300.0 + 3 * busy, error_rate=0.0,
        requests_total=turn, prompt_tokens_total=100, cached_tokens_total=busy,
    )  # fmt: skip
    reasons = [Reason(code="HELD", text=f"{busy} concurrent requests, target 8 a replica: {REPLICAS_EACH} wanted")]
    replicas = [
        ReplicaView(id=f"d{number:04}-{n}", stage="READY", node="n1", running=busy % 8, slots=8, kv_used_tokens=busy,
                    kv_capacity_tokens=8192, started_at=START)
        for n in range(REPLICAS_EACH)
    ]  # fmt: skip
    scaler = AutoscalerView(current=REPLICAS_EACH, desired=REPLICAS_EACH, reasons=reasons)
    return DeploymentStatus(deployment=made, stats=stats, autoscaler=scaler, replicas=replicas, simulated=True)


class Fleet:
    """A `FleetSource`, as far as the first page asks it."""

    def __init__(self) -> None:
        self.context = Context(base_url="bench:", account="acme", name="bench")
        self.facts = Facts("simulated")
        self._found = [status(number, 0) for number in range(DEPLOYMENTS)]
        self._turn = 0

    def step(self) -> list[int]:
        """The numbers of those that changed."""
        self._turn += 1
        changed = [(self._turn + n * 10) % DEPLOYMENTS for n in range(CHANGED)]
        for number in changed:
            self._found[number] = status(number, self._turn)
        return changed

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
    took_ms: list[float]
    cpu_ms: list[float]

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
        self._fleet = fleet
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self._columns = [one for one in columns.FLEET if not one.optional]

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for column in self._columns:
            table.add_column(column.title, key=column.key, width=max(8, column.least))
        for one in self._fleet._found:
            row = row_of(one)
            table.add_row(*columns.cells(self._columns, row), key=row.name)
        table.focus()
        self.set_interval(EVERY_S, self._tick)

    def _tick(self) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        table = self.query_one(DataTable)
        for number in self._fleet.step():
            row = row_of(self._fleet._found[number])
            for column, cell in zip(self._columns, columns.cells(self._columns, row), strict=True):
                if table.get_cell(row.name, column.key) != cell:
                    table.update_cell(row.name, column.key, cell)
        self.screen.call_after_refresh(self._painted, began, cpu)

    def _painted(self, began: float, cpu: float) -> None:
        self.took_ms.append(1000 * (time.perf_counter() - began))
        self.cpu_ms.append(1000 * (time.thread_time() - cpu))


def main(which: str, file: Path) -> None:
    end_with(os.getppid())
    app: Timed | Stock
    if which == "ours":
        app = Timed(Fleet(), journal=Journal(None))  # type: ignore[arg-type]
        app.took_ms, app.cpu_ms = [], []
    else:
        app = Stock(Fleet())
    app.run()
    file.write_text(json.dumps({"took_ms": app.took_ms, "cpu_ms": app.cpu_ms}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
