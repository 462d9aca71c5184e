"""One deployment on a clock that tests turn: its replicas are handles without a process, the store is a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.fleet_types import Condition
from client.types import AutoscalingPolicy, Deployment
from engine.clock import FakeClock
from engine.control.reconcile import Stage
from engine.fleet.conditions import conditions
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rooms import Rooms
from engine.fleet.template import Template, template_of
from engine.library import Library
from engine.placement.port import Launch, Node, Placed, Stockout, Taken
from engine.store.store import Store

NAME = "accounts/local/deployments/d"
POLICY = AutoscalingPolicy(
    scale_up_window=timedelta(seconds=30), scale_down_window=timedelta(minutes=10),
    scale_to_zero_window=timedelta(hours=1), load_targets={"default": 0.8},
)  # fmt: skip


class JumpingClock(FakeClock):
    """A wall clock that somebody sets; the monotonic one goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.offset


class Still:
    """A driver whose processes live until they are killed, with room for so many that it started."""

    simulated = True

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.took: dict[str, Taken] = {}
        self.room, self.started = 0, set[str]()

    def nodes(self) -> list[Node]:
        return []

    def node_of(self, placed: Placed) -> None:
        return

    def socket_of(self, replica: str) -> Path:
        return Path("/nowhere")

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        if len(self.started) >= self.room:
            raise Stockout("no L4 is free")
        self.started.add(launch.replica)
        return Placed(launch.replica, Path("/nowhere"), 1)

    def alive(self, placed: Placed) -> bool:
        return placed.replica not in self.dead

    def stop(self, placed: Placed, *, force: bool) -> None:
        self.dead.add(placed.replica)

    def forget(self, placed: Placed) -> None:
        self.started.discard(placed.replica)

    def ending(self, placed: Placed) -> str:
        return "ended with exit status 3"

    def crashed(self, placed: Placed) -> bool:
        return True

    def taken(self, placed: Placed) -> Taken | None:
        return self.took.get(placed.replica)

    def last_words(self, replica: str) -> str:
        return "it broke"


@dataclass
class House:
    keeper: Keeper
    clock: JumpingClock
    driver: Still
    store: Store

    async def look(self, after_s: float = 0.5) -> None:
        """One tick, with all replicas heard just before."""
        self.clock.advance(after_s)
        for replica in self.keeper.replicas:
            self.hear(replica)
        await self.keeper.tick()

    def hear(self, replica: Replica) -> None:
        replica.vitals.take({"running": 0, "waiting": 0}, self.clock.monotonic())
        replica.report.at = self.clock.monotonic()

    def add(self, name: str, generation: str, stage: Stage = Stage.READY) -> Replica:
        replica = Replica(name, generation, "key", self.clock, self.keeper.figures)
        replica.placed = Placed(name, Path("/nowhere"), 1)
        for step in (Stage.INITIALIZING, stage):
            replica.enter(step)
        self.keeper.replicas.replicas[name] = replica
        self.hear(replica)
        return replica

    def generation(self) -> str:
        return template_of(self.keeper.deployment).generation

    async def reasons(self) -> list[str]:
        return [event.reason for event in await self.store.events_of(NAME, 0, 100)]

    async def change(self, **fields: object) -> None:
        await self.keeper.declare(lambda d: d.model_copy(update=fields))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock, driver, store = JumpingClock(), Still(), await Store.open(tmp_path / "state.db")
    made = Deployment(
        name=NAME, base_model="m", state="CREATING", create_time=datetime.now(UTC), min_replica_count=1,
        max_replica_count=1, max_batch_size=4, max_context_length=512, autoscaling_policy=POLICY,
    )  # fmt: skip
    await store.put_deployment(made)
    keeper = Keeper(made, Rooms(driver, store, Library(store), clock), lambda: 1)
    keeper.begin(1)
    yield House(keeper, clock, driver, store)
    await keeper.stop()
    await store.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """What replicas were started with, instead of starting them."""
    templates: list[Template] = []
    monkeypatch.setattr(ReplicaSet, "_start", lambda self, template: templates.append(template))
    return templates


def holding_up(house: House) -> list[Condition]:
    return conditions(house.keeper, house.clock, lambda deployment: [])
