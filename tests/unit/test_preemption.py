"""Preemption: who gives way, for whom, and that it is never for nothing, never more than needed, never a wrong one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.types import Deployment
from engine.clock import FakeClock
from engine.control.reconcile import Stage
from engine.fleet.line import Line
from engine.fleet.template import template_of
from engine.placement import fit
from engine.placement.port import Launch, Need, Node, Placed
from engine.placement.preemption import Cost, Lodger, leavers

GIB = 1 << 30


# Who is chosen, as a function of what there is

sizes = st.tuples(st.integers(0, 4), st.integers(0, 4))  # threads, memory
places = st.lists(st.tuples(st.integers(0, 2), sizes, st.booleans(), st.integers(0, 3)), max_size=7)


@settings(deadline=None)
@given(places, st.lists(sizes, min_size=3, max_size=3), st.tuples(st.integers(0, 8), st.integers(0, 8)))
def test_those_that_leave_make_room_on_one_node_and_no_part_of_them_does(there, free, wanted):
    taken = {str(n): (node, size) for n, (node, size, *_cost) in enumerate(there)}
    lodgers = [Lodger(str(n), str(node), Cost(ready, busy)) for n, (node, _size, ready, busy) in enumerate(there)]

    def makes_room(replicas: Collection[str]) -> bool:
        [node] = {taken[replica][0] for replica in replicas}
        return all(
            free[node][kind] + sum(taken[replica][1][kind] for replica in replicas) >= wanted[kind] for kind in (0, 1)
        )

    found = leavers(lodgers, makes_room)
    if found:
        assert makes_room(found)
        assert not any(makes_room(part) for size in range(1, len(found)) for part in combinations(found, size))
    by_node = [[lodger.replica for lodger in lodgers if lodger.node == node] for node in "012"]
    assert bool(found) == any(some and makes_room(some) for some in by_node)


def test_what_costs_the_least_goes_first():
    cheap, busy, old = Cost(), Cost(True, 3, 5.0), Cost(True, 0, 99.0)
    lodgers = [Lodger("busy", "n", busy), Lodger("starting", "n", cheap), Lodger("old", "n", old)]
    assert leavers(lodgers, lambda some: len(some) >= 1) == ("starting",)
    assert set(leavers(lodgers, lambda some: len(some) >= 2)) == {"starting", "old"}
    assert leavers([*lodgers, Lodger("only", "m", busy)], lambda some: "only" in some or len(some) == 2) == ("only",)


# A line with those that give way


@dataclass
class Quay:
    """Nodes with threads to give away, and who has which."""

    sizes: dict[str, int]
    there: dict[str, tuple[str, Need]] = field(default_factory=dict)
    simulated = True

    def nodes(self) -> list[Node]:
        return [self._node(name, self.there) for name in self.sizes]

    def without(self, placed: Collection[Placed]) -> list[Node]:
        gone = {one.replica for one in placed}
        left = {replica: place for replica, place in self.there.items() if replica not in gone}
        return [self._node(name, left) for name in self.sizes if any(self.there[one][0] == name for one in gone)]

    async def start(self, launch: Launch) -> Placed:
        self.there[launch.replica] = (fit.choose(self.nodes(), launch.need).name, launch.need)
        return Placed(launch.replica, Path("/nowhere"), 1)

    def _node(self, name: str, there: dict[str, tuple[str, Need]]) -> Node:
        size = self.sizes[name]
        used = sum(need.threads for where, need in there.values() if where == name)
        return Node(name, "CPU", 8 * GIB, 8 * GIB, size, size - used)


class Harbour:
    """A quay and its line. One that is told to give way does so when `let_go` is called."""

    def __init__(self, **sizes: int) -> None:
        self.clock, self.quay = FakeClock(), Quay(sizes)
        self.line = Line(self.quay, self.clock)  # type: ignore[arg-type]
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.told: list[str] = []  # to give way, in order
        self.why: dict[str, str] = {}  # the last refusal of each
        self.known = asyncio.Event()  # whether those that give way are known as soon as they stand
        self.known.set()

    async def come(self, replica: str, threads: int, *, preemptible: bool = False) -> None:
        need = Need(threads=threads, preemptible=preemptible)
        launch = Launch(replica, "d", Path("m"), "key", 1, 512, 1, need=need)
        self.tasks[replica] = asyncio.create_task(self._arrive(launch))
        await self.settle()

    async def _arrive(self, launch: Launch) -> None:
        async def held_up(why: str, retry_at: float) -> None:
            self.why[launch.replica] = why

        placed, _ = await self.line.place(launch, held_up)
        if launch.need.preemptible:
            node = SimpleNamespace(name=self.quay.there[launch.replica][0])
            stands = SimpleNamespace(
                id=launch.replica, placed=placed, node=node, stage=Stage.READY, in_flight=0, started_at=0.0
            )
            await self.known.wait()
            self.line.lodge(stands, lambda: self.told.append(launch.replica))  # type: ignore[arg-type]

    async def leave(self, replica: str) -> None:
        del self.quay.there[replica]
        self.line.lodgers.gone(replica)
        self.line.freed()
        await self.settle()

    async def let_go(self) -> None:
        """Those that were told to go are gone, one after the other; each comes back for another place."""
        for replica in [one for one in self.told if one in self.quay.there]:
            threads = self.quay.there[replica][1].threads
            await self.leave(replica)
            await self.come(replica + "'", threads, preemptible=True)

    def standing(self) -> set[str]:
        return set(self.quay.there)

    async def settle(self) -> None:
        for _ in range(20 + 5 * len(self.tasks)):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert len(self.line) == 0


@pytest.fixture
async def harbour():
    made = Harbour(a=4)
    yield made
    await made.close()


async def test_a_preemptible_replica_gives_its_place_and_comes_back_when_there_is_room(harbour):
    await harbour.come("spot", 3, preemptible=True)
    await harbour.come("own", 2)
    assert harbour.told == ["spot"]
    assert harbour.why["own"].endswith("; a preemptible replica ends to make room")
    await harbour.let_go()
    assert harbour.standing() == {"own"}
    await harbour.leave("own")
    assert harbour.standing() == {"spot'"}


async def test_one_that_stood_before_it_was_known_is_told_to_go_as_soon_as_it_is(harbour):
    harbour.known.clear()
    await harbour.come("spot", 4, preemptible=True)
    await harbour.come("own", 4)
    assert (harbour.standing(), harbour.told) == ({"spot"}, [])
    harbour.known.set()
    await harbour.settle()
    assert harbour.told == ["spot"], "long before the next try"


async def test_nobody_who_gives_way_takes_the_room_that_is_being_made(harbour):
    for name in ("s1", "s2"):
        await harbour.come(name, 2, preemptible=True)
    await harbour.come("own", 4)
    assert sorted(harbour.told) == ["s1", "s2"]
    await harbour.leave("s1")
    await harbour.come("s3", 1, preemptible=True)
    assert harbour.standing() == {"s2"}
    assert "not preemptible" in harbour.why["s3"]
    await harbour.leave("s2")
    assert harbour.standing() == {"own"}
    await harbour.leave("own")
    assert harbour.standing() == {"s3"}


async def test_an_older_one_that_gives_way_is_called_after_the_others(harbour):
    await harbour.come("full", 4)
    await harbour.come("spot", 4, preemptible=True)
    await harbour.come("own", 4)
    await harbour.leave("full")
    assert (harbour.standing(), harbour.told) == ({"own"}, [])


async def test_none_ends_for_one_that_would_have_no_room_all_the_same(harbour):
    await harbour.come("own", 2)
    await harbour.come("spot", 2, preemptible=True)
    await harbour.come("large", 4)
    await harbour.come("spot too", 2, preemptible=True)
    assert harbour.told == []
    assert "not preemptible" not in harbour.why["spot too"]


async def test_a_download_begins_where_room_could_be_made_and_none_ends_for_it_yet(harbour):
    async def held_up(why: str, retry_at: float) -> None:
        raise AssertionError(why)

    await harbour.come("spot", 4, preemptible=True)
    await harbour.line.room(Need(threads=4), held_up)
    assert harbour.told == []


async def test_one_that_gives_up_lets_those_that_held_back_go_on(harbour):
    await harbour.come("spot", 3, preemptible=True)
    await harbour.come("own", 4)
    await harbour.come("small", 1, preemptible=True)
    assert harbour.standing() == {"spot"}
    harbour.tasks["own"].cancel()
    await harbour.settle()
    assert harbour.standing() == {"spot", "small"}


arrivals = st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.booleans()), min_size=1, max_size=14)


@settings(deadline=None, max_examples=80)
@given(arrivals)
def test_whatever_comes_and_goes_each_end_makes_room_for_somebody_who_takes_it(coming):
    async def run() -> None:
        harbour = Harbour(a=4, b=6)
        for number, (preemptible, threads, then_let_go) in enumerate(coming):
            told, before = len(harbour.told), harbour.quay.nodes()
            await harbour.come(f"{'spot' if preemptible else 'own'}{number}", threads, preemptible=preemptible)
            fresh = harbour.told[told:]
            assert all(name.startswith("spot") for name in fresh)
            assert not (preemptible and fresh)
            if fresh:
                need = Need(threads=threads)
                assert all(fit.short_now(node, need) for node in before)
                leaving = [one for one in harbour.told if one in harbour.quay.there]
                gone = [Placed(one, Path("/nowhere"), 1) for one in leaving]
                assert any(not fit.short_now(node, need) for node in harbour.quay.without(gone))
                for spared in fresh:  # no more than it takes
                    fewer = [one for one in gone if one.replica != spared]
                    assert all(fit.short_now(node, need) for node in harbour.quay.without(fewer))
            if then_let_go:
                await harbour.let_go()
        while [one for one in harbour.told if one in harbour.standing()]:
            await harbour.let_go()
        own = [name for name in harbour.tasks if name.startswith("own")]
        waiting = [name for name in own if name not in harbour.standing()]
        held = [name for name in harbour.standing() if name.startswith("own")]
        for name in waiting:  # not even all that give way would make room for it
            need = Need(threads=coming[int(name.removeprefix("own"))][1])
            spots = [Placed(one, Path("/nowhere"), 1) for one in harbour.standing() - set(held)]
            assert all(fit.short_now(node, need) for node in (*harbour.quay.nodes(), *harbour.quay.without(spots)))
        await harbour.close()

    asyncio.run(run())


@pytest.mark.parametrize("said", [{"preemptible": True}, {"spot": True}])
def test_a_deployment_says_so_once_and_for_all_and_its_replicas_stay_what_they_were(said):
    plain = template_of(Deployment(name="accounts/local/deployments/d", base_model="m"))
    other = template_of(Deployment(name="accounts/local/deployments/d", base_model="m", **said))
    assert other == replace(plain, preemptible=True)
