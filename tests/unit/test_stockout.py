"""No room for a replica: asked again with back-off, told as a condition, never forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.types import Deployment
from engine import declare
from engine.clock import FakeClock
from engine.control.reconcile import Stage
from engine.control.stockout import RETRY_FIRST_S, RETRY_MAX_S, retry_s
from engine.fleet import views
from engine.fleet.fleet import Fleet
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet, Rooms
from engine.fleet.scaling import capacity_limited, shortage_of
from engine.fleet.settings import Settings
from engine.fleet.template import Template
from engine.library import Library
from engine.placement.port import Launch, Placed, Stockout
from engine.store.store import Store
from tests.processes import PATIENCE_S, SMOLLM2

TEMPLATE = Template("accounts/local/deployments/d", "m", 8, 2048, 1, "now")


def test_it_asks_after_5_10_20_40_and_then_60_seconds():
    assert [retry_s(n, 0.0) for n in range(1, 7)] == [5, 10, 20, 40, 60, 60]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_dice_shorten_by_a_quarter_at_most(attempts, dice):
    assert max(RETRY_FIRST_S, 0.75 * retry_s(attempts, 0.0)) <= retry_s(attempts, dice) <= RETRY_MAX_S


class Full:
    """A driver that has room only at the third time of asking."""

    simulated = True

    def __init__(self) -> None:
        self.asked = 0

    def socket_of(self, replica: str) -> Path:
        return Path("/nowhere")

    async def start(self, launch: Launch) -> Placed:
        self.asked += 1
        if self.asked < 3:
            raise Stockout(f"{900 + self.asked} MiB of memory wanted, 1 MiB free")
        return Placed(launch.replica, Path("/nowhere"), 1)


class Empty(Full):
    """No room, ever."""

    async def start(self, launch: Launch) -> Placed:
        self.asked += 1
        raise Stockout("900 MiB of memory wanted, 1 MiB free")

    def strays(self, known: frozenset[int]) -> list[Placed]:
        return []

    def forget(self, placed: Placed) -> None:
        return

    def close(self) -> None:
        return


class Notebook:
    async def put_replica(self, record: object) -> None:
        return


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def replicas(told, monkeypatch) -> ReplicaSet:
    slept: list[float] = []

    async def announce(kind: str, reason: str, message: str, replica: str | None = None) -> None:
        told.append((reason, message))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("engine.fleet.replica_set.asyncio.sleep", sleep)
    made = ReplicaSet(Rooms(Full(), Notebook(), None, FakeClock()), announce, lambda: None, lambda: 1)
    made.slept = slept  # type: ignore[attr-defined]
    return made


async def test_a_replica_waits_for_room_and_the_event_is_told_once(replicas, told):
    replica = Replica("d-1", "now", "key", FakeClock())
    placed = await replicas._place(replica, TEMPLATE, TEMPLATE.launch("d-1", "key", Path("/m"), None, cores=1))
    await replica.close()
    assert placed.pid == 1
    assert replica.stage == Stage.INITIALIZING
    assert len(replicas.slept) == 2  # type: ignore[attr-defined]
    assert 5 <= replicas.slept[0] <= replicas.slept[1] <= 10  # type: ignore[attr-defined]
    assert [reason for reason, _ in told] == ["Stockout"]


def test_the_condition_names_what_is_wanted_what_is_placed_and_since_when():
    clock = FakeClock()
    short, ready = Replica("d-1", "now", "key", clock), Replica("d-2", "now", "key", clock)
    ready.enter(Stage.READY)
    short.reason = "900 MiB of memory wanted, 1 MiB free"
    clock.advance(90)
    deployment = Deployment(
        name="accounts/local/deployments/d", desired_replica_count=2, accelerator_type="NVIDIA_L4_24GB"
    )
    condition = capacity_limited(deployment, shortage_of([short, ready]), clock)
    assert condition is not None
    assert condition.to_wire() | {"since": ""} == {
        "type": "CapacityLimited", "reason": "STOCKOUT", "message": short.reason, "wanted": 2, "placed": 1,
        "accelerator": "NVIDIA_L4_24GB", "since": "",
    }  # fmt: skip
    assert condition.since == clock.wall() - timedelta(seconds=90)


@pytest.mark.model
async def test_a_deployment_without_room_keeps_what_it_wants_and_shows_why(tmp_path):
    store, clock = await Store.open(tmp_path / "db"), FakeClock()
    fleet = Fleet(Rooms(Empty(), store, Library(store), clock), Settings(tmp_path))
    await fleet.open()
    try:
        spec = declare.read({"baseModel": SMOLLM2, "minReplicaCount": 2, "maxReplicaCount": 3})
        await fleet.create("local", spec, "big", by="tester")
        keeper = fleet.get("accounts/local/deployments/big")
        async with asyncio.timeout(PATIENCE_S):
            while keeper.deployment.status is None or keeper.deployment.status.code == "OK":
                await asyncio.sleep(0.05)
                keeper.wake()
        shown = views.status(fleet, keeper)
        assert shown.deployment.status.to_wire() == {
            "code": "RESOURCE_EXHAUSTED", "message": "no room for 2 more: 900 MiB of memory wanted, 1 MiB free",
        }  # fmt: skip
        assert shown.deployment.desired_replica_count == 2
        assert shown.deployment.replica_stats.pending_scheduling_replica_count == 2
        assert [(c.type, c.reason, c.wanted, c.placed) for c in shown.conditions] == [
            ("CapacityLimited", "STOCKOUT", 2, 0)
        ]
        clock.advance(120)
        await keeper.tick()
        assert "no room for 2 of 2 replicas (900 MiB" in keeper.decision.text
        assert shown.deployment.state == "CREATING"
    finally:
        await fleet.close()
        await store.close()


def test_a_replica_that_is_merely_being_placed_is_no_stockout():
    assert shortage_of([Replica("d-1", "now", "key", FakeClock())]).unplaced == 0
    assert capacity_limited(Deployment(), shortage_of([]), FakeClock()) is None
