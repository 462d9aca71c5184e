"""Who is to blame for a dead replica: tried one at a time on each, cleared by an answer, refused after two deaths."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from client.errors import FailedPrecondition, Unavailable
from engine.clock import FakeClock
from engine.control.pace import KNOWN_AFTER
from engine.control.quarantine import KEPT_S, digest_of
from engine.control.reconcile import Stage
from engine.fleet import suspects as suspects_room
from engine.fleet.lobby import Lobby
from engine.fleet.replica import Replica
from engine.fleet.suspects import Suspects
from engine.telemetry.replica_figures import ReplicaFigures
from tests.unit.places import counted

A, B = digest_of(b"a"), digest_of(b"b")


@pytest.fixture
def house():
    clock, told, alive, killed = FakeClock(), [], set(), set()

    async def announce(kind: str, reason: str, message: str) -> None:
        told.append((kind, reason, message))

    serving = [counted("s1", 4)]
    lobby = Lobby(lambda: serving, lambda: None, clock)
    processes = SimpleNamespace(
        alive=lambda replica: replica.id in alive, crashed=lambda replica: replica.id not in alive | killed
    )
    suspects = Suspects("d", clock, processes, announce, lobby.serve)
    return SimpleNamespace(
        clock=clock, told=told, alive=alive, killed=killed, suspects=suspects, serving=serving, lobby=lobby
    )


def dead(house, name: str, stage: Stage = Stage.READY) -> Replica:
    replica = Replica(name, "g", "key", house.clock, ReplicaFigures())
    for step in (Stage.INITIALIZING, stage):
        replica.enter(step)
    return replica


async def test_a_request_that_ended_two_replicas_is_refused_with_the_reason_until_its_time_is_over(house):
    for name in ("r1", "r2"):
        house.suspects.refuse_quarantined(A)
        await house.suspects.autopsy(dead(house, name), A)
    with pytest.raises(FailedPrecondition, match=r"ended 2 replicas \(r1, r2\)") as caught:
        house.suspects.refuse_quarantined(A)
    assert (caught.value.status, A[:16] in caught.value.text) == (400, True)
    house.suspects.refuse_quarantined(B)
    [shown] = house.suspects.quarantined()
    assert (shown.digest, shown.replicas) == (A, ["r1", "r2"])
    assert [reason for _, reason, _ in house.told] == ["RequestQuarantined"]
    house.clock.advance(KEPT_S)
    house.suspects.refuse_quarantined(A)
    assert house.suspects.quarantined() == []


async def test_nobody_is_blamed_for_a_replica_that_lives_or_was_told_to_end(house, monkeypatch):
    monkeypatch.setattr(suspects_room, "AUTOPSY_S", 0.04)
    living = dead(house, "living")
    house.alive.add("living")
    for replica in (living, dead(house, "told", Stage.STOPPING), dead(house, "told too", Stage.STOPPING)):
        await house.suspects.autopsy(replica, A)
    house.suspects.refuse_quarantined(A)
    assert (await order_of(house, A, B)) == ["A", "B"]


async def test_kills_from_outside_prove_nothing_against_the_requests_that_were_there(house):
    for name in ("r1", "r2", "r3"):
        house.killed.add(name)
        await house.suspects.autopsy(dead(house, name), A)
        left_behind = living(house, f"{name}-left")
        leave(house, left_behind)
        house.killed.add(left_behind.id)
        house.alive.discard(left_behind.id)
        await house.suspects.judge()
    house.suspects.refuse_quarantined(A)
    assert house.suspects.quarantined() == house.told == []
    assert (await order_of(house, A, B)) == ["A", "B"], "nor is it a suspect"


async def test_a_crash_among_kills_from_outside_still_needs_a_second_crash(house):
    for name in ("r1", "crash 1", "r2"):
        if name.startswith("r"):
            house.killed.add(name)
        await house.suspects.autopsy(dead(house, name), A)
    assert house.suspects.quarantined() == []
    await house.suspects.autopsy(dead(house, "crash 2"), A)
    assert [mark.replicas for mark in house.suspects.quarantined()] == [["crash 1", "crash 2"]]


async def test_a_replica_that_was_ended_because_it_was_wedged_counts(house):
    for name in ("r1", "r2"):
        wedged = dead(house, name, Stage.STOPPING)
        wedged.wedged = True
        await house.suspects.autopsy(wedged, A)
    assert len(house.suspects.quarantined()) == 1


def living(house, name: str) -> Replica:
    house.alive.add(name)
    return dead(house, name)


def leave(house, replica: Replica) -> None:
    """The client of A does, while it is there."""
    with house.suspects.trial(A) as trial:
        trial.begin(replica.id)
        house.suspects.left(replica, A, trial)


def hear(house, replica: Replica, **body: float) -> None:
    """One answer to a look at it, a while later."""
    house.clock.advance(suspects_room.GONE_ON_AFTER_S + 0.1)
    replica.vitals.take(body, house.clock.monotonic())


async def test_a_request_whose_client_left_before_its_replica_died_is_blamed_all_the_same(house):
    for name in ("r1", "r2"):
        house.suspects.refuse_quarantined(A)
        replica = living(house, name)
        leave(house, replica)
        await house.suspects.judge()
        assert house.suspects.quarantined() == []
        hear(house, replica, running=1, last_progress_age_s=2.0)
        house.alive.discard(name)
        await house.suspects.judge()
    with pytest.raises(FailedPrecondition, match=r"ended 2 replicas \(r1, r2\)"):
        house.suspects.refuse_quarantined(A)
    assert [reason for _, reason, _ in house.told] == ["RequestQuarantined"]


@pytest.mark.parametrize(
    "body", [{"running": 0}, {"running": 3, "last_progress_age_s": 0.01, "progress_tokens": 7}], ids=["idle", "busy"]
)
async def test_a_request_that_its_replica_has_gone_on_without_is_not_blamed_for_what_comes_later(house, body):
    for name in ("r1", "r2"):
        replica = living(house, name)
        leave(house, replica)
        hear(house, replica, **body)
        await house.suspects.judge()
        house.alive.discard(name)
        await house.suspects.judge()
    house.suspects.refuse_quarantined(A)
    assert await order_of(house, A, A) == ["A", "A"]


async def test_a_replica_that_was_told_to_end_is_nobodys_fault_though_a_client_left_it(house):
    for name in ("r1", "r2"):
        leave(house, dead(house, name, Stage.STOPPING))
        await house.suspects.judge()
    assert await order_of(house, A, A) == ["A", "A"]


async def test_a_suspect_keeps_its_replica_after_its_client_left_until_that_has_gone_on_or_died(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    for ends_by in (lambda r: hear(house, r, running=0), lambda r: house.alive.discard(r.id)):
        replica = living(house, "s1")
        leave(house, replica)
        waiting = asyncio.create_task(visit(house, A, []))
        await settle()
        assert house.lobby.held == 1
        ends_by(replica)
        await house.suspects.judge()
        assert await waiting == "s1"


async def test_a_client_that_leaves_while_its_replica_is_looked_at_changes_nothing(house):
    for name in ("r1", "r2"):
        replica = living(house, name)
        looking = asyncio.create_task(house.suspects.autopsy(replica, A))
        await asyncio.sleep(0)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        house.alive.discard(name)
        await house.suspects.judge()
    assert len(house.suspects.quarantined()) == 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def visit(house, digest: str, order: list[str], end: asyncio.Event | None = None) -> str:
    """A try of one request, until `end`: the replica that it was given."""
    with house.suspects.trial(digest) as trial:
        async with house.lobby.place(3600, trial=trial) as replica:
            order.append("A" if digest == A else "B")
            if end is not None:
                await end.wait()
            return replica.id


async def order_of(house, *digests: str) -> list[str]:
    """Who may go on while those before them have no answer; in the end everybody could."""
    order: list[str] = []
    end = asyncio.Event()
    tasks = [asyncio.create_task(visit(house, digest, order, end)) for digest in digests]
    await settle()
    seen = list(order)
    assert house.lobby.held == len(digests) - len(seen)
    end.set()
    await asyncio.gather(*tasks)
    return seen


async def test_one_suspect_at_a_time_is_with_a_replica_and_everybody_else_passes(house):
    replica = dead(house, "r1")
    await house.suspects.autopsy(replica, A)
    assert await order_of(house, A, B, A, B) == ["A", "B", "B"]
    await house.suspects.autopsy(replica, B)
    assert await order_of(house, A, B) == ["A"]


async def test_suspects_are_tried_on_all_replicas_at_the_same_time_and_those_who_wait_are_counted(house):
    house.serving.append(counted("s2", 4))
    digests = [digest_of(bytes([n])) for n in range(6)]
    for digest in digests:
        await house.suspects.autopsy(dead(house, "r1"), digest)
    end = asyncio.Event()
    tasks = [asyncio.create_task(visit(house, digest, [], end)) for digest in digests]
    await settle()
    assert ([r.in_flight for r in house.serving], house.lobby.held) == ([1, 1], 4)
    house.clock.advance(7)
    assert house.lobby.oldest_s() == 7
    house.serving.append(counted("s3", 4))  # the replacement stands ready
    house.lobby.serve()
    await settle()
    assert ([r.in_flight for r in house.serving], house.lobby.held) == ([1, 1, 1], 3)
    end.set()
    assert {"s1", "s2", "s3"} == set(await asyncio.gather(*tasks))
    assert ([r.in_flight for r in house.serving], house.lobby.held) == ([0, 0, 0], 0)


async def test_an_answer_clears_a_suspect(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    house.suspects.answered(A)
    assert await order_of(house, A, A) == ["A", "A"]


async def test_who_waited_already_when_it_became_a_suspect_is_tried_like_one(house):
    end, order = asyncio.Event(), []
    serving, house.serving[:] = list(house.serving), []
    waiting = [asyncio.create_task(visit(house, A, order, end)) for _ in range(2)]
    await settle()
    await house.suspects.autopsy(dead(house, "r1"), A)
    house.serving[:] = serving
    house.lobby.serve()
    await settle()
    assert (order, house.lobby.held) == (["A"], 1)
    end.set()
    await asyncio.gather(*waiting)


async def test_with_the_first_byte_of_the_answer_the_next_suspect_is_let_in(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    with house.suspects.trial(A) as first:
        async with house.lobby.place(1, trial=first):
            waiting = asyncio.create_task(visit(house, A, []))
            await settle()
            assert house.lobby.held == 1
            first.over()
            first.over()
            assert await waiting == "s1"


async def test_a_suspect_that_no_replica_could_take_in_time_is_told_why_and_takes_none_from_others(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    with house.suspects.trial(A) as first, house.suspects.trial(A) as second:
        async with house.lobby.place(1, trial=first):
            with pytest.raises(Unavailable, match="a replica died under this request"):
                async with house.lobby.place(0.01, trial=second):
                    pytest.fail("another suspect is there")
            assert house.serving[0].in_flight == 1
    assert await visit(house, A, []) == "s1"


async def test_a_suspect_that_gives_up_as_it_is_let_in_holds_up_nobody(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    serving, house.serving[:] = list(house.serving), []
    gone = asyncio.create_task(visit(house, A, []))
    await settle()
    house.serving[:] = serving
    house.lobby.serve()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await visit(house, A, []) == "s1"
    assert house.serving[0].in_flight == 0


async def test_suspects_that_wait_for_each_other_keep_nobody_else_out_though_the_queue_is_slow(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    end = asyncio.Event()
    suspects = [asyncio.create_task(visit(house, A, [], end)) for _ in range(2)]
    await settle()
    for _ in range(KNOWN_AFTER + 1):
        house.clock.advance(10)
        async with house.lobby.place(0):
            assert house.lobby.held == 1
    end.set()
    await asyncio.gather(*suspects)


async def test_a_suspect_waits_for_its_turn_rather_than_go_where_it_should_not(house):
    house.serving.append(counted("s2", 4))
    await house.suspects.autopsy(dead(house, "r1"), A)
    with house.suspects.trial(A) as first, house.suspects.trial(A) as second:
        async with house.lobby.place(1, frozenset({"s2"}), first) as taken:
            assert taken.id == "s1"
            with pytest.raises(Unavailable):
                async with house.lobby.place(0.01, frozenset({"s2"}), second):
                    pytest.fail("it should not go to s2")
