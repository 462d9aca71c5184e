"""A deployment deleted for good: nothing brings it back half-way, and a store that fails loses nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from client.errors import NotFound, Unavailable
from tests.processes import PATIENCE_S
from tests.unit.test_idle_delete import DAY_S, NAME, house, make

__all__ = ["house"]
D = NAME.format("d")


class Gate:
    """In place of a verb of the store: waits until it is opened, or fails."""

    def __init__(self, verb, failure: Exception | None = None) -> None:
        self.verb, self.failure = verb, failure
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, *args, **kwargs):
        self.reached.set()
        if self.failure is not None:
            raise self.failure
        await self.open.wait()
        return await self.verb(*args, **kwargs)


@pytest.fixture
async def made(house):
    await make(house, "d")
    return house


def gate(made, monkeypatch, failure: Exception | None = None) -> Gate:
    standing = Gate(made.store.drop_deployment, failure)
    monkeypatch.setattr(made.store, "drop_deployment", standing)
    return standing


async def rows(made) -> list[str]:
    return [stored.deployment.name for stored in await made.store.deployments()]


async def test_what_is_being_purged_is_neither_undeleted_nor_purged_twice(made, monkeypatch):
    await made.fleet.delete(D, by="t", hard=False, ignore_checks=True)
    made.clock.advance(7 * DAY_S)
    standing = gate(made, monkeypatch)
    sweeping = asyncio.create_task(made.fleet.sweep())
    await standing.reached.wait()
    with pytest.raises(NotFound, match="for good"):
        await made.fleet.undelete(D, by="t")
    with pytest.raises(NotFound, match="for good"):
        await made.fleet.delete(D, by="t", hard=True, ignore_checks=True)
    await asyncio.wait_for(made.fleet.sweep(), PATIENCE_S)  # leaves it to the other
    standing.open.set()
    await sweeping
    assert (made.fleet.keepers(), await rows(made)) == ([], [])


async def test_what_is_past_its_purge_time_is_not_undeleted_though_no_sweep_came_yet(made):
    await made.fleet.delete(D, by="t", hard=False, ignore_checks=True)
    made.clock.advance(7 * DAY_S)
    with pytest.raises(NotFound, match="for good"):
        await made.fleet.undelete(D, by="t")


@pytest.mark.parametrize("deleted_before", [False, True])
async def test_a_purge_that_the_disk_refuses_is_tried_again_by_the_next_sweep(made, monkeypatch, deleted_before):
    if deleted_before:
        await made.fleet.delete(D, by="t", hard=False, ignore_checks=True)
    with monkeypatch.context() as failing:
        gate(made, failing, Unavailable("the disk is full"))
        with pytest.raises(Unavailable):
            await made.fleet.delete(D, by="t", hard=True, ignore_checks=True)
    keeper = made.fleet.get(D)
    assert keeper.deployment.purge_time == made.clock.wall()
    assert not keeper._loop.done(), "its replicas still have to end"
    with pytest.raises(NotFound, match="for good"):
        await made.fleet.undelete(D, by="t")
    await made.fleet.sweep()
    assert (made.fleet.keepers(), await rows(made)) == ([], [])


async def test_a_change_that_was_under_way_does_not_bring_a_purged_deployment_back(made, monkeypatch):
    keeper = made.fleet.get(D)
    async with keeper.record._writing:  # somebody else writes
        scaling = asyncio.create_task(made.fleet.scale(D, 0, by="t"))
        await asyncio.sleep(0)
        keeper.record.deployment = keeper.deployment.model_copy(update={"delete_time": made.clock.wall()})
    with pytest.raises(Exception, match="is deleted"):
        await scaling


def takes_requests(made) -> bool:
    """Whether a request may wait there."""
    return made.fleet.get(D).lobby._closed is None


async def test_one_that_is_brought_back_while_its_delete_is_still_being_told_takes_requests(made, monkeypatch):
    standing = Gate(made.fleet.deployed.withdraw)
    monkeypatch.setattr(made.fleet.deployed, "withdraw", standing)
    deleting = asyncio.create_task(made.fleet.delete(D, by="t", hard=False, ignore_checks=True))
    await standing.reached.wait()
    assert not takes_requests(made)
    await made.fleet.undelete(D, by="t")
    standing.open.set()
    await deleting
    assert takes_requests(made)
    assert [record.default for record in made.fleet.deployed.all()] == [True]


async def test_one_that_is_brought_back_takes_requests_though_the_disk_is_full_then(made, monkeypatch):
    await made.fleet.delete(D, by="t", hard=False, ignore_checks=True)
    monkeypatch.setattr(made.fleet.deployed, "bring_back", Gate(None, Unavailable("the disk is full")))
    with pytest.raises(Unavailable):
        await made.fleet.undelete(D, by="t")
    assert takes_requests(made)


async def test_whoever_has_something_to_tell_of_one_that_is_gone_leaves_it_to_the_log(made):
    keeper = made.fleet.get(D)
    await made.fleet.delete(D, by="t", hard=True, ignore_checks=True)
    await keeper.announce("Warning", "RequestQuarantined", "a request ended two replicas")  # it was still under way
    reasons = [event.reason for event in await made.store.events_of(D, 0, 10)]
    assert reasons[-1] == "Deleted", "what became of it can be read, and nothing comes after its end"


async def test_what_cannot_be_purged_keeps_nothing_else_from_going(made, monkeypatch):
    await make(made, "e")
    for name in "de":
        await made.fleet.delete(NAME.format(name), by="t", hard=False, ignore_checks=True)
    made.clock.advance(7 * DAY_S)
    drop = made.store.drop_deployment

    async def stuck(name: str) -> None:
        if name == D:
            raise Unavailable("the disk fails")
        await drop(name)

    monkeypatch.setattr(made.store, "drop_deployment", stuck)
    await made.fleet.sweep()
    assert await rows(made) == [D]


async def test_a_deployment_whose_model_cannot_be_written_down_is_not_made_either(house, monkeypatch):
    monkeypatch.setattr(house.store, "put_deployed_models", Gate(None, Unavailable("the disk is full")))
    with pytest.raises(Unavailable):
        await make(house, "d")
    assert (house.fleet.keepers(), house.fleet.deployed.all(), await rows(house)) == ([], [], [])


@pytest.mark.parametrize("failure", [None, Unavailable("the disk is full")])
async def test_a_change_while_a_deployment_is_being_made_is_written_after_it_or_refused(house, monkeypatch, failure):
    standing = Gate(house.store.put_deployed_models)
    monkeypatch.setattr(house.store, "put_deployed_models", standing)
    making = asyncio.create_task(make(house, "d"))
    await standing.reached.wait()
    deleting = asyncio.create_task(house.fleet.delete(D, by="t", hard=False, ignore_checks=True))
    await asyncio.sleep(0.01)
    standing.verb = standing.verb if failure is None else Gate(None, failure)
    standing.open.set()
    await asyncio.gather(making, deleting, return_exceptions=True)
    stored = [one.deployment.delete_time for one in await house.store.deployments()]
    assert [time is not None for time in stored] == ([True] if failure is None else [])
    assert isinstance(deleting.exception(), NotFound if failure else type(None))


async def test_what_became_of_one_that_is_gone_can_be_read_and_is_not_told_of_one_made_later(made):
    await made.fleet.delete(D, by="t", hard=True, ignore_checks=True)
    gone = await made.store.events_of(D, 0, 50)
    assert [gone[0].reason, gone[-1].reason] == ["Created", "Deleted"]
    await make(made, "d")
    [created, *_] = await made.store.events_of(D, 0, 50)
    assert created.seq > gone[-1].seq
    account = await made.store.events("local", 0, 50)
    assert [event for event in account if event.seq <= gone[-1].seq] == gone
