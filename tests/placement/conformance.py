"""What every placement driver must do, as tests: subclass `Conformance` beside a fixture `place` for your driver.

`place` gives a `Place`: a driver that is open, a way to make another one on the same ground, and how to wait there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from client.errors import FailedPrecondition
from engine.placement.port import Driver, Launch, Need, Node, Placed, Stockout

TURNS = 6000  # how often something is looked at that should come; never a statement about speed
UNKNOWN_REGION = "AP_TOKYO_2"  # no driver under test has a node there


@dataclass
class Place:
    """`again` makes a driver as an engine that was started again would; `turn` lets a little time go by."""

    driver: Driver
    again: Callable[[], Awaitable[Driver]]
    turn: Callable[[], Awaitable[None]]
    model_file: Path
    need: Need

    def launch(self, **changes: object) -> Launch:
        launch = Launch(
            replica=f"d-{secrets.token_hex(4)}", deployment="accounts/local/deployments/d", model_file=self.model_file,
            key=secrets.token_hex(8), slots=2, context_tokens=512, cores=1, threads=1, need=self.need,
        )  # fmt: skip
        return replace(launch, **changes)  # type: ignore[arg-type]

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(TURNS):
            if condition():
                return
            await self.turn()
        raise AssertionError("waited in vain")

    async def end(self, placed: Placed, *, force: bool = True) -> None:
        self.driver.stop(placed, force=force)
        await self.until(lambda: not self.driver.alive(placed))
        self.driver.forget(placed)

    @contextlib.asynccontextmanager
    async def running(self, launch: Launch):
        placed = await self.driver.start(launch)
        try:
            yield placed
        finally:
            await self.end(placed)

    def client(self, launch: Launch, placed: Placed) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(placed.socket)), base_url="http://replica",
            headers={"Authorization": f"Bearer {launch.key}"}, timeout=60,
        )  # fmt: skip

    async def ready(self, client: httpx.AsyncClient) -> None:
        for _ in range(TURNS):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/health")).json()["status"] == "ready":
                    return
            await self.turn()
        raise AssertionError("it never became ready")


def node_with_room(driver: Driver) -> Node:
    return max(driver.nodes(), key=lambda node: (node.free_threads, node.name))


class Conformance:
    async def test_a_replica_answers_where_it_was_said_to_be_and_to_its_own_key_alone(self, place: Place):
        launch = place.launch()
        where = place.driver.socket_of(launch.replica)
        async with place.running(launch) as placed:
            assert placed.socket == where
            async with place.client(launch, placed) as client:
                await place.ready(client)
                asked = {"model": "m", "prompt": "Hello", "max_tokens": 2}
                answer = (await client.post("/v1/completions", json=asked)).json()
                assert answer["usage"]["completion_tokens"] == 2
                assert answer["choices"][0]["text"]
                wrong = {"Authorization": "Bearer another"}
                assert (await client.post("/v1/completions", json=asked, headers=wrong)).status_code == 401
                assert (await client.get("/stats")).json()["counters"]["generated_tokens_total"] >= 2

    async def test_a_stream_comes_in_pieces_and_ends_as_the_wire_says(self, place: Place):
        launch = place.launch()
        async with place.running(launch) as placed, place.client(launch, placed) as client:
            await place.ready(client)
            asked = {"model": "m", "prompt": "Hello", "max_tokens": 5, "stream": True, "ignore_eos": True}
            async with client.stream("POST", "/v1/completions", json=asked) as answer:
                lines = [line async for line in answer.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert sum(line.startswith("data: {") for line in lines) >= 5

    async def test_what_is_told_to_end_ends_and_is_nowhere_afterwards(self, place: Place):
        for force in (False, True):
            launch = place.launch()
            placed = await place.driver.start(launch)
            assert place.driver.alive(placed)
            assert place.driver.node_of(placed) is not None
            await place.end(placed, force=force)
            assert not place.driver.alive(placed)
            assert place.driver.node_of(placed) is None
            assert not placed.socket.exists()
            place.driver.stop(placed, force=force)
            place.driver.forget(placed)
            assert len(place.driver.last_words(launch.replica)) <= 2000

    async def test_what_would_be_free_without_a_replica_is_told_and_nothing_is_changed_by_that(self, place: Place):
        driver, before = place.driver, node_with_room(place.driver)
        assert driver.would_be("nowhere", [], []) is None
        async with place.running(place.launch()) as placed:
            there = driver.node_of(placed)
            assert there is not None
            without = driver.would_be(there.name, [placed], [])
            assert without is not None
            assert (without.name, without.free_threads) == (there.name, there.free_threads + place.need.threads)
            taken = driver.would_be(there.name, [placed], [place.need])
            assert taken is not None
            assert taken.free_threads == there.free_threads
            freed = sum(room > 0 for room in without.free_device_bytes) - sum(r > 0 for r in there.free_device_bytes)
            assert 0 <= freed <= place.need.accelerators
            after = driver.node_of(placed)
            assert after is not None
            assert after.free_threads == there.free_threads
        assert node_with_room(driver).free_threads == before.free_threads

    async def test_none_goes_to_a_node_that_is_kept_for_others(self, place: Place):
        every = [node.name for node in place.driver.nodes()]
        with pytest.raises(Stockout):
            await place.driver.start(place.launch(), every)
        assert place.driver.strays(frozenset()) == []

    async def test_how_a_replica_ended_is_told_once_it_has(self, place: Place):
        placed = await place.driver.start(place.launch())
        assert place.driver.ending(placed) == ""
        place.driver.stop(placed, force=True)
        await place.until(lambda: not place.driver.alive(placed))
        assert "killed by signal 9 (SIGKILL)" in place.driver.ending(placed)
        assert not place.driver.crashed(placed)
        place.driver.forget(placed)

    async def test_a_place_is_taken_neither_from_one_that_lives_nor_from_one_that_was_told_to_end(self, place: Place):
        async with place.running(place.launch()) as placed:
            assert place.driver.taken(placed) is None
            place.driver.stop(placed, force=True)
            await place.until(lambda: not place.driver.alive(placed))
            assert place.driver.taken(placed) is None

    async def test_one_that_is_told_to_end_when_it_serves_ends_with_exit_status_0(self, place: Place):
        launch = place.launch()
        placed = await place.driver.start(launch)
        async with place.client(launch, placed) as client:
            await place.ready(client)
        place.driver.stop(placed, force=False)
        await place.until(lambda: not place.driver.alive(placed))
        assert "ended with exit status 0" in place.driver.ending(placed)
        assert not place.driver.crashed(placed)
        place.driver.forget(placed)

    async def test_one_that_an_earlier_engine_started_and_that_is_gone_has_an_ending_too(self, place: Place):
        placed = await place.driver.start(place.launch())
        await place.until(placed.socket.exists)
        place.driver = later = await place.again()
        assert later.ending(placed) == ""
        later.stop(placed, force=True)
        await place.until(lambda: not later.alive(placed))
        assert later.ending(placed)
        later.forget(placed)

    async def test_another_process_under_the_same_name_is_not_it(self, place: Place):
        launch = place.launch()
        async with place.running(launch) as placed:
            assert not place.driver.alive(replace(placed, socket=placed.socket.with_name("other.sock")))
            assert not place.driver.alive(replace(placed, pid=placed.pid + 1))

    async def test_nodes_have_labels_and_no_more_free_than_there_is(self, place: Place):
        nodes = place.driver.nodes()
        assert nodes
        assert len({node.name for node in nodes}) == len(nodes)
        for node in nodes:
            assert node.device
            assert node.region
            assert 0 <= node.free_memory_bytes <= node.memory_bytes
            assert 0 < node.free_threads <= node.threads
            assert len(node.free_device_bytes) == node.accelerators
            assert all(0 <= free <= node.accelerator_bytes for free in node.free_device_bytes)

    async def test_a_replica_takes_its_room_at_once_and_gives_it_back(self, place: Place):
        before = {node.name: node for node in place.driver.nodes()}
        launch = place.launch(need=replace(place.need, threads=2))
        placed = await place.driver.start(launch)
        node = place.driver.node_of(placed)
        assert node is not None
        assert node.free_threads == before[node.name].free_threads - 2
        await place.end(placed)
        after = {node.name: node.free_threads for node in place.driver.nodes()}
        assert after == {name: node.free_threads for name, node in before.items()}

    async def test_a_full_node_is_a_stockout_until_somebody_leaves(self, place: Place):
        room = node_with_room(place.driver)
        everything = replace(place.need, threads=room.free_threads)
        holders = []
        while any(node.free_threads >= everything.threads for node in place.driver.nodes()):
            holders.append(await place.driver.start(place.launch(need=everything)))
        with pytest.raises(Stockout, match="threads: "):
            await place.driver.start(place.launch(need=everything))
        assert all(place.driver.alive(placed) for placed in holders)
        await place.end(holders.pop())
        holders.append(await place.driver.start(place.launch(need=everything)))
        for placed in holders:
            await place.end(placed)

    async def test_starts_at_the_same_time_share_what_there_is(self, place: Place):
        room = node_with_room(place.driver)
        big = replace(place.need, threads=max(1, room.threads // 2))
        fitting = sum(node.free_threads // big.threads for node in place.driver.nodes())
        tries = (place.driver.start(place.launch(need=big)) for _ in range(fitting + 3))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        placed = [one for one in outcomes if isinstance(one, Placed)]
        for one in placed:
            await place.end(one)
        assert len(placed) == fitting
        assert sum(isinstance(one, Stockout) for one in outcomes) == 3

    @pytest.mark.parametrize(
        "wish",
        [
            {"regions": frozenset({UNKNOWN_REGION})}, {"accelerator_type": "AMD_MI350X_288GB"},
            {"accelerators": 1025}, {"model_bytes": 1 << 60}, {"threads": 1 << 20},
        ],
        ids=["region", "type", "count", "memory", "threads"],
    )  # fmt: skip
    async def test_what_no_node_could_ever_hold_is_refused_with_what_there_is(self, place: Place, wish):
        with pytest.raises(FailedPrecondition) as refused:
            await place.driver.start(place.launch(need=replace(place.need, **wish)))
        assert refused.value.field
        assert "what there is" in (refused.value.hint or "")

    async def test_after_a_restart_a_replica_is_where_it_was_with_its_room_and_its_key(self, place: Place):
        launch, other = place.launch(), place.launch()
        first, second = await place.driver.start(launch), await place.driver.start(other)
        # For a moment after its start the system does not show what a process is.
        await place.until(lambda: first.socket.exists() and second.socket.exists())
        nodes = [place.driver.node_of(placed) for placed in (first, second)]
        free = {node.name: node.free_threads for node in place.driver.nodes()}
        place.driver = later = await place.again()
        assert {node.name: node.free_threads for node in later.nodes()} == free
        for known, started, node in zip((first, second), (launch, other), nodes, strict=True):
            found = later.node_of(known)
            assert node is not None
            assert found is not None
            assert (found.name, found.price_per_hour) == (node.name, node.price_per_hour)
            async with place.client(started, known) as client:
                await place.ready(client)
        assert [stray.socket for stray in later.strays(frozenset({first.socket}))] == [second.socket]
        for one in (first, second):
            await place.end(one)
        assert later.strays(frozenset()) == []

    async def test_what_had_ended_before_a_restart_stays_so(self, place: Place):
        launch = place.launch()
        async with place.running(launch) as placed:
            assert placed
        place.driver = later = await place.again()
        assert not later.alive(placed)
        assert later.node_of(placed) is None
        assert later.strays(frozenset()) == []
