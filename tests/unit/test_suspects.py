"""Who is to blame for a dead replica: tried one at a time, cleared by an answer, refused after two deaths."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from client.errors import FailedPrecondition, Unavailable
from engine.clock import FakeClock
from engine.control.quarantine import KEPT_S, digest_of
from engine.control.reconcile import Stage
from engine.fleet import suspects as suspects_room
from engine.fleet.replica import Replica
from engine.fleet.suspects import Suspects, Trial

A, B = digest_of(b"a"), digest_of(b"b")


@pytest.fixture
def house():
    clock, told, alive = FakeClock(), [], set()

    async def announce(kind: str, reason: str, message: str) -> None:
        told.append((kind, reason, message))

    suspects = Suspects("d", clock, lambda replica: replica.id in alive, announce)
    return SimpleNamespace(clock=clock, told=told, alive=alive, suspects=suspects)


def dead(house, name: str, stage: Stage = Stage.READY) -> Replica:
    replica = Replica(name, "g", "key", house.clock)
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


async def test_a_replica_that_was_ended_because_it_was_wedged_counts(house):
    for name in ("r1", "r2"):
        wedged = dead(house, name, Stage.STOPPING)
        wedged.wedged = True
        await house.suspects.autopsy(wedged, A)
    assert len(house.suspects.quarantined()) == 1


def living(house, name: str) -> Replica:
    house.alive.add(name)
    return dead(house, name)


def hear(house, replica: Replica, **body: float) -> None:
    """One answer to a look at it, a while later."""
    house.clock.advance(suspects_room.GONE_ON_AFTER_S + 0.1)
    replica.vitals.take(body, house.clock.monotonic())


async def test_a_request_whose_client_left_before_its_replica_died_is_blamed_all_the_same(house):
    for name in ("r1", "r2"):
        house.suspects.refuse_quarantined(A)
        replica = living(house, name)
        house.suspects.left(replica, A, Trial(None))
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
        house.suspects.left(replica, A, Trial(None))
        hear(house, replica, **body)
        await house.suspects.judge()
        house.alive.discard(name)
        await house.suspects.judge()
    house.suspects.refuse_quarantined(A)
    assert await order_of(house, A, A) == ["A", "A"]


async def test_a_replica_that_was_told_to_end_is_nobodys_fault_though_a_client_left_it(house):
    for name in ("r1", "r2"):
        house.suspects.left(dead(house, name, Stage.STOPPING), A, Trial(None))
        await house.suspects.judge()
    assert await order_of(house, A, A) == ["A", "A"]


async def test_a_suspect_keeps_its_turn_after_its_client_left_until_its_replica_has_gone_on_or_died(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    for ends_by in (lambda r: hear(house, r, running=0), lambda r: house.alive.discard(r.id)):
        replica = living(house, "r1")
        async with house.suspects.trial(A, 1) as trial:
            house.suspects.left(replica, A, trial)
        with pytest.raises(Unavailable):
            async with house.suspects.trial(A, 0.01):
                pass
        ends_by(replica)
        await house.suspects.judge()
        async with house.suspects.trial(A, 0.01):
            pass


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


async def order_of(house, *digests: str) -> list[str]:
    """Who may go on while the first holds its turn."""
    order: list[str] = []
    hold = asyncio.Event()

    async def take_turn(digest: str) -> None:
        async with house.suspects.trial(digest, 3600):
            order.append("A" if digest == A else "B")
            await hold.wait()

    tasks = [asyncio.create_task(take_turn(digest)) for digest in digests]
    for _ in range(5):
        await asyncio.sleep(0)
    seen = list(order)
    hold.set()
    await asyncio.gather(*tasks)
    return seen


async def test_suspects_are_tried_one_at_a_time_and_everybody_else_passes(house):
    replica = dead(house, "r1")
    await house.suspects.autopsy(replica, A)
    assert await order_of(house, A, B, A) == ["A", "B"]
    await house.suspects.autopsy(replica, B)
    assert await order_of(house, A, B) == ["A"]


async def test_an_answer_clears_a_suspect(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    house.suspects.answered(A)
    assert await order_of(house, A, A) == ["A", "A"]


async def test_the_turn_is_over_with_the_first_byte_of_the_answer(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    async with house.suspects.trial(A, 1) as first:
        first.over()
        first.over()
        async with house.suspects.trial(A, 1) as second:
            assert isinstance(second, Trial)


async def test_a_suspect_whose_turn_does_not_come_in_time_is_told_to_come_later(house):
    await house.suspects.autopsy(dead(house, "r1"), A)
    async with house.suspects.trial(A, 1):
        with pytest.raises(Unavailable, match="a replica died under this request"):
            async with house.suspects.trial(A, 0.01):
                pass
    async with house.suspects.trial(A, 1):
        pass
