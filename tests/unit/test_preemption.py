"""Preemption: who gives way, for whom, and that it is never for nothing, never more than needed, never a wrong one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from operator import and_
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

    def would_be(self, node: str, gone: Collection[Placed], come: Collection[Need]) -> Node:
        ended = {one.replica for one in gone}
        left = {replica: place for replica, place in self.there.items() if replica not in ended}
        return self._node(node, left | {f"come {number}": (node, need) for number, need in enumerate(come)})

    def without(self, gone: Collection[str], owed: Mapping[str, Collection[Need]] | None = None) -> list[Node]:
        ended = [Placed(one, Path("/nowhere"), 1) for one in gone]
        return [self.would_be(name, ended, owed[name] if owed else ()) for name in self.sizes]

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        self.there[launch.replica] = (fit.choose(fit.without(self.nodes(), kept), launch.need).name, launch.need)
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
        self.stages: dict[str, SimpleNamespace] = {}
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
            self.stages[launch.replica] = stands
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

    def claiming(self) -> set[str]:
        """Those that wait and were told that room is being made."""
        return {name for name, why in self.why.items() if why.endswith(" room")} - self.standing()

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
    assert harbour.why["own"].endswith("; a preemptible replica ends and makes room")
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
    assert fit.KEPT in harbour.why["s3"]
    await harbour.leave("s2")
    assert harbour.standing() == {"own"}
    await harbour.leave("own")
    assert harbour.standing() == {"s3"}


async def test_several_that_wait_at_once_have_room_made_at_once_and_no_more_than_they_take(harbour):
    for name in ("s1", "s2", "s3", "s4"):
        await harbour.come(name, 1, preemptible=True)
    await harbour.come("own1", 1)
    await harbour.come("own2", 2)
    assert len(harbour.told) == 3
    assert harbour.why["own2"].endswith("; 3 preemptible replicas end and make room")
    await harbour.let_go()
    assert {"own1", "own2"} < harbour.standing()
    assert len(harbour.told) == 3


async def test_those_that_waited_before_any_gave_way_have_room_made_as_soon_as_some_do(harbour):
    harbour.known.clear()
    for name in ("s1", "s2"):
        await harbour.come(name, 2, preemptible=True)
    for name in ("own1", "own2"):
        await harbour.come(name, 2)
    assert harbour.told == []
    harbour.known.set()
    await harbour.settle()
    assert sorted(harbour.told) == ["s1", "s2"]


async def test_what_is_being_freed_for_one_is_taken_by_nobody_who_asks_later(harbour):
    for name in ("s1", "s2"):
        await harbour.come(name, 2, preemptible=True)
    await harbour.come("own", 4)
    await harbour.leave(harbour.told[0])
    await harbour.come("small", 2)
    assert len(harbour.standing()) == 1
    assert fit.KEPT in harbour.why["small"]
    await harbour.leave(harbour.told[1])
    assert harbour.standing() == {"own"}


async def test_what_is_free_beside_the_room_that_is_being_made_is_for_everybody():
    harbour = Harbour(a=4, b=1)
    await harbour.come("spot", 3, preemptible=True)
    await harbour.come("own", 3)
    assert harbour.told == ["spot"]
    await harbour.come("small", 1, preemptible=True)
    await harbour.come("other", 1)
    assert harbour.standing() == {"spot", "small", "other"}
    await harbour.let_go()
    assert harbour.standing() == {"own", "small", "other"}
    await harbour.close()


async def test_one_that_ends_anyway_makes_the_room_before_one_that_would_stay(harbour):
    for name in ("stays", "drains"):
        await harbour.come(name, 2, preemptible=True)
    harbour.stages["stays"].stage, harbour.stages["drains"].stage = Stage.INITIALIZING, Stage.DRAINING
    await harbour.come("own", 2)
    assert harbour.told == ["drains"]


async def test_one_that_finds_another_place_leaves_what_was_being_freed_for_it_to_others():
    harbour = Harbour(a=2, b=2)
    await harbour.come("old", 2)
    await harbour.come("spot", 2, preemptible=True)
    await harbour.come("own", 2)
    assert harbour.told == ["spot"]
    await harbour.leave("old")
    assert harbour.standing() == {"spot", "own"}
    await harbour.come("next", 2)
    assert harbour.told == ["spot"], "it ends already"
    await harbour.let_go()
    assert harbour.standing() == {"own", "next"}
    await harbour.close()


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
    assert fit.KEPT not in harbour.why["spot too"]


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
            leaving = [one for one in harbour.told if one in harbour.standing()]
            owed = {name: harbour.line.lodgers.claims.before(None, name) for name in harbour.quay.sizes}
            await harbour.come(f"{'spot' if preemptible else 'own'}{number}", threads, preemptible=preemptible)
            fresh = harbour.told[told:]
            assert all(name.startswith("spot") for name in fresh)
            assert not (preemptible and fresh)
            if fresh:
                need = Need(threads=threads)
                then = [not fit.short_now(node, need) for node in harbour.quay.without(leaving, owed)]
                now = [not fit.short_now(node, need) for node in before]
                assert not any(map(and_, now, then)), "what is free is for others"
                gone = [one for one in harbour.told if one in harbour.standing()]
                assert any(not fit.short_now(node, need) for node in harbour.quay.without(gone, owed))
                for spared in fresh:  # no more than it takes beside what others were promised
                    fewer = [one for one in gone if one != spared]
                    assert all(fit.short_now(node, need) for node in harbour.quay.without(fewer, owed))
            if then_let_go:
                claiming, count = harbour.claiming(), len(harbour.told)
                await harbour.let_go()
                assert claiming <= harbour.standing(), "all at once"
                assert len(harbour.told) == count
        while [one for one in harbour.told if one in harbour.standing()]:
            await harbour.let_go()
        own = [name for name in harbour.tasks if name.startswith("own")]
        waiting = [name for name in own if name not in harbour.standing()]
        held = [name for name in harbour.standing() if name.startswith("own")]
        for name in waiting:  # not even all that give way would make room for it
            need = Need(threads=coming[int(name.removeprefix("own"))][1])
            spots = harbour.standing() - set(held)
            assert all(fit.short_now(node, need) for node in (*harbour.quay.nodes(), *harbour.quay.without(spots)))
        await harbour.close()

    asyncio.run(run())


@pytest.mark.parametrize("said", [{"preemptible": True}, {"spot": True}])
def test_a_deployment_says_so_once_and_for_all_and_its_replicas_stay_what_they_were(said):
    plain = template_of(Deployment(name="accounts/local/deployments/d", base_model="m"))
    other = template_of(Deployment(name="accounts/local/deployments/d", base_model="m", **said))
    assert other == replace(plain, preemptible=True)
