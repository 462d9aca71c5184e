"""What is wrong with a deployment is seen by the watch, told as events, and over when it is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from client.errors import Unavailable
from client.fleet_types import FleetSnapshot
from client.types import Deployment
from engine.clock import FakeClock
from engine.control.ledger import Terms
from engine.control.price import Totals
from engine.control.reconcile import Stage
from engine.fleet import alarms, frames, views
from engine.fleet.accounting import Accounting
from engine.fleet.alarms import SLICE
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.fleet.monitor import Monitor
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.local import LocalDriver
from engine.store.store import Store
from engine.telemetry import metrics
from engine.telemetry.alert_figures import Beside
from engine.telemetry.ledger import Used
from engine.telemetry.meter import Usage
from engine.telemetry.readings import Readings
from tests.unit.test_frames import free

DAY_MS = 86_400_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Bill:
    """A ledger that knows the cost of each day (from now, 0 is the last one) of one deployment."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.usd: dict[int, float | None] = {}
        self.broken = False

    def now_ms(self) -> int:
        return 100 * DAY_MS

    async def usage(self, account: str, start_ms: int, end_ms: int) -> list[Used]:
        if self.broken:
            raise Unavailable("the disk is full")
        assert end_ms - start_ms == DAY_MS
        usd = self.usd.get((self.now_ms() - end_ms) // DAY_MS)
        totals = Totals()
        totals.add(3_600_000, accelerators=0, price=None if usd is None else round(usd * 1e6), simulated=False)
        return [Used(self.deployment, "CPU", totals)]


@dataclass
class Watched:
    fleet: Fleet
    keeper: Keeper
    monitor: Monitor
    clock: FakeClock
    bill: Bill

    async def minutes(self, count: float, *, failing: bool = False) -> None:
        """So many minutes of a request each half minute."""
        for _ in range(int(count * 2)):
            self.clock.advance(30.0)
            self.keeper.meter.began(synthetic=False)
            code = 502 if failing else 200
            self.keeper.meter.ended(code=code, failed=failing, seconds=0.1, usage=Usage(1, 0, 1))
            await self.monitor.look()

    def states(self) -> dict[str, str]:
        return {alert.name: alert.state for alert in views.alerts(self.fleet, "local")}

    async def told(self) -> list[tuple[str, str]]:
        events = await self.fleet.rooms.store.events_of(self.keeper.name, 0, 100)
        return [(event.kind, event.reason) for event in events if event.reason.startswith("Alert")]


@pytest.fixture
async def watched(tmp_path: Path, request) -> AsyncIterator[Watched]:
    store, driver = await Store.open(tmp_path / "state.db"), LocalDriver(tmp_path, orphan_timeout_s=60.0)
    name, clock = f"accounts/local/deployments/{request.node.originalname.replace('_', '-')[:60]}", FakeClock()
    fleet = Fleet(Rooms(driver, store, Library(store), clock), Settings(tmp_path))
    keeper, bill = fleet.keep(Deployment(name=name, base_model="m", state="READY")), Bill(name)
    yield Watched(fleet, keeper, Monitor(fleet, bill), clock, bill)  # type: ignore[arg-type]
    driver.close()
    await store.close()


async def test_errors_that_last_are_an_alert_and_an_event_and_their_end_is_one_too(watched: Watched):
    await watched.minutes(2)
    assert (watched.states(), await watched.told()) == ({}, [])
    await watched.minutes(2, failing=True)
    assert (watched.states(), await watched.told()) == ({"FiredeckErrors": "PENDING"}, [])
    await watched.minutes(5, failing=True)
    assert watched.states() == {"FiredeckErrors": "FIRING"}
    assert await watched.told() == [("Warning", "AlertFiring")]
    await watched.minutes(6)
    assert watched.states() == {}
    assert await watched.told() == [("Warning", "AlertFiring"), ("Normal", "AlertResolved")]


async def test_an_alert_is_in_the_snapshot_of_its_account_alone(watched: Watched):
    await watched.minutes(1)
    await watched.minutes(6, failing=True)
    seen = FleetSnapshot.model_validate(json.loads((await frames.seen(watched.fleet, free, BEGAN, "local")).snapshot()))
    [alert] = seen.alerts
    assert (alert.name, alert.state, alert.deployment) == ("FiredeckErrors", "FIRING", watched.keeper.name)
    assert alert.fired_at is not None
    assert (alert.fired_at - alert.since).total_seconds() == 300
    assert "above 0.1 %" in alert.text
    assert json.loads((await frames.seen(watched.fleet, free, BEGAN, "elsewhere")).snapshot())["alerts"] == []
    assert len(json.loads((await frames.seen(watched.fleet, free, BEGAN, None)).snapshot())["alerts"]) == 1


async def test_a_deleted_deployment_has_no_alerts(watched: Watched):
    await watched.minutes(1)
    await watched.minutes(6, failing=True)
    keeper = watched.keeper
    keeper.record.deployment = keeper.deployment.model_copy(update={"delete_time": watched.clock.wall()})
    await watched.monitor.look()
    assert watched.states() == {}


@pytest.mark.parametrize(
    ("today", "before", "states"),
    [
        (1.3, 1.0, {"FiredeckCostSpike": "FIRING"}), (1.1, 1.0, {}), (1.0, 0.0, {}), (1.0, None, {}), (None, 1.0, {}),
    ],
    ids=["a third more", "a tenth more", "free before", "no price before", "no price now"],
)  # fmt: skip
async def test_a_day_that_costs_a_fifth_more_than_a_week_before_is_told(watched: Watched, today, before, states):
    watched.bill.usd = {0: today, 7: before}
    await watched.minutes(70)
    assert watched.states() == states


async def test_a_ledger_that_cannot_be_read_takes_nothing_back(watched: Watched):
    watched.bill.usd = {0: 2.0, 7: 1.0}
    await watched.minutes(70)
    watched.bill.broken = True
    await watched.minutes(20)
    assert watched.states() == {"FiredeckCostSpike": "FIRING"}


async def test_what_ready_replicas_cost_is_counted_by_the_time_that_goes_by(watched: Watched):
    ledger, clock = SimpleNamespace(observe=lambda there: _done()), watched.clock
    accounting = Accounting(watched.fleet, ledger)  # type: ignore[arg-type]
    terms = Terms("n", "r", "H100", 1, 3_600_000, simulated=False)  # 3.60 USD an hour
    replica = SimpleNamespace(id="r1", stage=Stage.READY, stage_since=0.0, report=SimpleNamespace(at=0.0))
    watched.keeper.replicas.replicas["r1"] = replica  # type: ignore[assignment]
    accounting._terms_of = lambda replica: terms  # type: ignore[method-assign]
    await accounting.look()
    for _ in range(10):
        clock.advance(1.0)
        await accounting.look()
    assert cost(watched) == pytest.approx(0.01)
    replica.stage = Stage.DRAINING
    clock.advance(5.0)
    await accounting.look()
    assert cost(watched) == pytest.approx(0.01)
    watched.keeper.replicas.replicas.clear()


def cost(watched: Watched) -> float | None:
    return metrics.REGISTRY.get_sample_value("firedeck_cost_usd_total", {"deployment": watched.keeper.name})


async def _done() -> None:
    return None


async def test_everybody_else_has_turns_while_a_large_fleet_is_judged(watched: Watched, monkeypatch):
    for number in range(10 * SLICE):
        watched.fleet.keep(Deployment(name=f"{watched.keeper.name[:50]}-{number}", base_model="m", state="READY"))
    judged, seen = [], []

    def figures(read: Readings, beside: Beside) -> dict[str, float | None]:
        judged.append(read)
        return {}

    async def stream() -> None:
        while True:
            seen.append(len(judged))
            await asyncio.sleep(0)

    monkeypatch.setattr(alarms, "figures", figures)
    streaming = asyncio.create_task(stream())
    await watched.monitor.look()
    streaming.cancel()
    assert len(judged) == 10 * SLICE + 1
    assert max(later - before for before, later in pairwise([*seen, len(judged)])) <= SLICE
