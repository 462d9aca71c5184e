"""No room for a replica: asked again with back-off, told as a condition, never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.types import Deployment, Model, Placement
from engine import declare
from engine.clock import FakeClock
from engine.control.backoff import doubling
from engine.control.reconcile import Stage
from engine.control.stockout import RETRY_FIRST_S, RETRY_MAX_S, retry_s
from engine.fleet import views
from engine.fleet.arrival import Arrival
from engine.fleet.conditions import capacity_limited
from engine.fleet.fleet import Fleet
from engine.fleet.replica import Replica
from engine.fleet.rooms import Rooms
from engine.fleet.scaling import shortage_of
from engine.fleet.settings import Settings
from engine.fleet.takeover import take_over
from engine.fleet.template import Template
from engine.library import Library
from engine.model_files import Nominal
from engine.models.dimensions import Dimensions
from engine.placement import fit
from engine.placement.port import Driver, Launch, Node, Placed, Stockout
from engine.store.store import ReplicaRecord, Statement, Store
from engine.telemetry.replica_figures import ReplicaFigures
from tests.processes import PATIENCE_S, SMOLLM2

TEMPLATE = Template("accounts/local/deployments/d", "m", 8, 2048, 1, "now")


def test_it_asks_after_5_10_20_40_and_then_60_seconds():
    assert [retry_s(n, 0.0) for n in range(1, 7)] == [5, 10, 20, 40, 60, 60]


def test_waits_double_from_the_first_attempt_to_the_most_however_many_there_were():
    assert [doubling(1.5, n, 60.0) for n in (0, 1, 2, 3, 7, 10**9)] == [0, 1.5, 3, 6, 60, 60]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_dice_shorten_by_a_quarter_at_most(attempts, dice):
    assert max(RETRY_FIRST_S, 0.75 * retry_s(attempts, 0.0)) <= retry_s(attempts, dice) <= RETRY_MAX_S


class Full:
    """A driver that has room only at the third time of asking."""

    simulated = True
    reads_files = False

    def __init__(self) -> None:
        self.asked = 0

    async def open(self) -> None:
        return

    def nodes(self) -> list[Node]:
        return [Node("n1", "CPU", 8 << 30, 1 << 20, 8, 8)]

    def node_of(self, placed: Placed) -> Node | None:
        return self.nodes()[0]

    def socket_of(self, replica: str) -> Path:
        return Path("/nowhere")

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        self.asked += 1
        if self.asked < 3:
            raise Stockout(f"{900 + self.asked} MiB of memory wanted, 1 MiB free")
        return Placed(launch.replica, Path("/nowhere"), 1)


class Empty(Full):
    """No room, ever."""

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        self.asked += 1
        raise Stockout("900 MiB of memory wanted, 1 MiB free")

    def strays(self, known: frozenset[Path]) -> list[Placed]:
        return []

    def forget(self, placed: Placed) -> None:
        return

    def close(self) -> None:
        return


class Reading(Empty):
    reads_files = True


class Notebook:
    def __init__(self) -> None:
        self.records: list[ReplicaRecord] = []

    async def transact(self, statements: list[Statement]) -> None:
        self.records += [ReplicaRecord(**row) for name, row in statements if name == "put_replica"]


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


def rooms_of(driver: Driver, clock: FakeClock) -> Rooms:
    library = Library(None, {"m": Nominal(Model(name="m"), Dimensions(weights_bytes=1 << 20))})
    return Rooms(driver, Notebook(), library, clock)


@pytest.fixture
def arrival(told) -> Callable[[Rooms], Arrival]:
    async def announce(kind: str, reason: str, message: str, replica: str | None = None) -> None:
        told.append((reason, message))

    return lambda rooms: Arrival(rooms, announce, lambda: None, lambda: 1)


async def turns() -> None:
    """Until everybody who was woken has done what it can at this instant."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0)


async def test_a_replica_waits_for_room_and_the_event_is_told_once(arrival, told):
    clock = FakeClock()
    replica = Replica("d-1", "now", "key", clock, ReplicaFigures())
    arriving, seen = asyncio.create_task(arrival(rooms_of(Full(), clock)).of(replica, TEMPLATE)), []
    while not arriving.done():
        await turns()
        if (short := shortage_of([replica])) is not None:
            seen.append((short.reason[:3], short.since, short.retry_at))
            clock.advance(1)
    await replica.close()
    await arriving
    assert replica.placed is not None
    assert replica.placed.pid == 1
    assert replica.stage == Stage.INITIALIZING
    assert shortage_of([replica]) is None
    assert {since for _, since, _ in seen} == {0.0}
    assert [reason for reason, _, _ in seen] == ["901"] * 5 + ["902"] * (len(seen) - 5)
    assert 10 <= seen[-1][2] <= 15
    assert [reason for reason, _ in told] == ["Stockout", "ReplicaStarted"]


async def test_a_stockout_is_as_old_as_it_is_across_engines(arrival):
    clock = FakeClock()
    rooms = rooms_of(Empty(), clock)
    arriving = arrival(rooms)
    clock.advance(1000)
    waiting = ReplicaRecord("d-0", TEMPLATE.deployment, "now", "/nowhere", "key", None, clock.wall().timestamp() - 100)
    await take_over(rooms, {TEMPLATE.deployment: SimpleNamespace(replicas=arriving, deleted=False)}, [waiting])
    stead, other = (Replica(name, "now", "key", clock, ReplicaFigures()) for name in ("d-1", "d-2"))
    for replica in (stead, other):
        placing = asyncio.create_task(arriving.of(replica, TEMPLATE))
        async with asyncio.timeout(PATIENCE_S):
            while replica.short_since is None and not placing.done():
                await asyncio.sleep(0.001)
        placing.cancel()
    assert [clock.monotonic() - r.short_since for r in (stead, other)] == [100, 0]
    assert rooms.store.records[0].created_at == waiting.created_at  # should this engine end too


class Abroad(Full):
    """The cheap region is out of stock at first, as long as both are."""

    def nodes(self) -> list[Node]:
        home = Node("h", "CPU", 8 << 30, 8 << 30, 8, 8, region="US_IOWA_1", price_per_hour=1.0, closed="out of stock")
        closed = "out of stock" if self.asked < 1 else ""
        return [home, Node("p", "CPU", 8 << 30, 8 << 30, 8, 8, region="EU_PARIS_1", price_per_hour=2.0, closed=closed)]

    def node_of(self, placed: Placed) -> Node | None:
        return self.nodes()[1]

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        try:
            fit.choose(self.nodes(), launch.need)
        finally:
            self.asked += 1
        return Placed(launch.replica, Path("/nowhere"), 1)


async def test_replicas_that_wait_for_the_same_are_told_of_once_until_the_last_has_its_place(arrival, told):
    clock = FakeClock()
    coming = arrival(rooms_of(Empty(), clock))
    replicas = [Replica(f"d-{n}", "now", "key", clock, ReplicaFigures()) for n in range(3)]
    arriving = [asyncio.create_task(coming.of(replica, TEMPLATE)) for replica in replicas]
    await until(lambda: all(replica.reason for replica in replicas))
    assert [replica.stage for replica in replicas] == [Stage.PENDING_SCHEDULING] * 3
    assert [reason for reason, _ in told] == ["Stockout"]
    for one in arriving:
        one.cancel()
    await asyncio.gather(*arriving, return_exceptions=True)
    anew = Replica("d-9", "now", "key", clock, ReplicaFigures())
    again = asyncio.create_task(coming.of(anew, TEMPLATE))
    await until(lambda: bool(anew.reason))
    again.cancel()
    assert [reason for reason, _ in told] == ["Stockout"] * 2, "it is short anew"


async def test_a_replica_that_waits_takes_the_next_region_with_room_and_says_why(arrival, told):
    clock = FakeClock()
    replica = Replica("d-1", "now", "key", clock, ReplicaFigures())
    arriving = asyncio.create_task(arrival(rooms_of(Abroad(), clock)).of(replica, TEMPLATE))
    while not arriving.done():
        await asyncio.sleep(0)
        clock.advance(1)
    await arriving
    await replica.close()
    assert replica.node is not None
    assert replica.node.region == "EU_PARIS_1"
    assert told == [
        ("Stockout", "no room for a replica: US_IOWA_1 (h: out of stock), EU_PARIS_1 (p: out of stock)"),
        ("PlacedElsewhere", "in EU_PARIS_1; no room in US_IOWA_1 (h: out of stock)"),
        ("ReplicaStarted", "loading the model on p"),
    ]


def test_the_condition_names_what_is_wanted_what_is_placed_since_when_and_the_next_try():
    clock = FakeClock()
    names = ("new-1", "new-2", "old-1")
    short, ready, old = (Replica(name, name[:3], "key", clock, ReplicaFigures()) for name in names)
    for standing in (ready, old):
        standing.placed = Placed(standing.id, Path("/nowhere"), 1)
        standing.enter(Stage.READY)
    short.reason, short.short_since, short.retry_at = "900 MiB of memory wanted, 1 MiB free", 0.0, 100.0
    clock.advance(90)
    deployment = Deployment(
        name="accounts/local/deployments/d", desired_replica_count=2, accelerator_type="NVIDIA_L4_24GB",
        placement=Placement(region="EU_PARIS_1"),
    )  # fmt: skip
    condition = capacity_limited(deployment, shortage_of([short, ready, old]), clock)
    assert condition is not None
    assert condition.to_wire() | {"since": "", "retryAt": ""} == {
        "type": "CapacityLimited", "reason": "STOCKOUT", "wanted": 2, "placed": 2,
        "message": "the roll-out waits for room, 1 of 2 replicas that are placed have the new settings: "
        "900 MiB of memory wanted, 1 MiB free",
        "acceleratorType": "NVIDIA_L4_24GB", "placement": {"region": "EU_PARIS_1"}, "since": "", "retryAt": "",
    }  # fmt: skip
    assert condition.since == clock.wall() - timedelta(seconds=90)
    assert condition.retry_at == clock.wall() + timedelta(seconds=10)
    alone = capacity_limited(deployment, shortage_of([short, ready]), clock)
    assert alone is not None
    assert (alone.message, alone.placed) == (short.reason, 1)


@pytest.mark.model
async def test_a_deployment_without_room_keeps_what_it_wants_and_shows_why(tmp_path):
    store, clock = await Store.open(tmp_path / "db"), FakeClock()
    fleet = Fleet(Rooms(Reading(), store, Library(store), clock), Settings(tmp_path))
    await fleet.open()
    try:
        spec = declare.read({"baseModel": SMOLLM2, "minReplicaCount": 2, "maxReplicaCount": 3})
        await fleet.create("local", spec, "big", by="tester")
        keeper = fleet.get("accounts/local/deployments/big")

        def held_up() -> int:
            shown = keeper.deployment
            told = shown.status is not None and shown.status.code != "OK" and shown.replica_stats is not None
            return (shown.replica_stats.pending_scheduling_replica_count or 0) if told else 0

        async with asyncio.timeout(PATIENCE_S):
            while held_up() < 2:  # one after the other is
                await asyncio.sleep(0.05)
                keeper.look_soon()
        shown = views.status(fleet, keeper, lambda deployment: [])
        assert shown.deployment.status.to_wire() == {
            "code": "RESOURCE_EXHAUSTED",
            "message": "STOCKOUT: 0 of 2 replicas placed; 900 MiB of memory wanted, 1 MiB free",
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
    assert shortage_of([Replica("d-1", "now", "key", FakeClock(), ReplicaFigures())]) is None
    assert capacity_limited(Deployment(), shortage_of([]), FakeClock()) is None
