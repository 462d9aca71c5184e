"""Adapters that nobody asks for are unloaded after a week, by time that really went by; how they are used is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from client.addon_types import DeployedModel
from client.errors import AlreadyExists, NotFound
from engine.control.addon_trial import MIN_REQUESTS, WATCHED_S, Outcomes
from engine.control.addons import DEPLOYING, UNDEPLOYING
from engine.fleet.addon_uses import WRITE_AFTER_S, Former
from engine.fleet.addons import Addon
from tests.processes import PATIENCE_S
from tests.unit.test_idle_delete import DAY_S, NAME, house, make, restarted

__all__ = ["house"]
HOST = NAME.format("d")
ADAPTER = "accounts/local/models/{}"
RECORD = "accounts/local/deployedModels/{}"


async def put(house, name: str, deployment: str = HOST) -> DeployedModel:
    """An adapter that was loaded now."""
    record = DeployedModel(
        name=RECORD.format(name), model=ADAPTER.format(name), deployment=deployment, state=DEPLOYING, default=True
    )
    await house.fleet.deployed.book.put(record)
    house.fleet.deployed.uses.add(record)
    return record


def want(house, name: str) -> None:
    """Its model is there, and replicas may load it."""
    house.fleet.get(HOST).addons.wanted[ADAPTER.format(name)] = Addon(Path("a.gguf"), "digest")


@pytest.fixture
async def host(house) -> None:
    """A deployment that is kept however long nobody asks for it: none of its adapters is on a replica."""
    await make(house, "d")
    house.fleet.get(HOST).running = lambda: 1


async def loaded(house) -> set[str]:
    """The adapters that requests find, after a sweep."""
    await house.fleet.sweep()
    records = house.fleet.deployed.addons_on(HOST)
    return {(r.model or "").rpartition("/")[2] for r in records if r.state != UNDEPLOYING}


def ask(house, name: str, *, failed: bool | None = False) -> None:
    uses = house.fleet.deployed.uses
    uses.ended(uses.began(HOST, ADAPTER.format(name)), failed=failed)


async def test_one_that_no_request_used_for_a_week_is_unloaded_and_the_event_says_how_to_load_it_again(house, host):
    await put(house, "a")
    await put(house, "b")
    house.clock.advance(3 * DAY_S)
    ask(house, "b", failed=None)  # a request is a use, whatever came of it
    house.clock.advance(4 * DAY_S - 1)
    assert await loaded(house) == {"a", "b"}
    house.clock.advance(1)
    assert await loaded(house) == {"b"}
    assert house.fleet.directory.named(RECORD.format("a"), "local") is None
    [event] = [e for e in await house.store.events_of(HOST, 0, 50) if e.reason == "AddonUnloaded"]
    assert (event.kind, event.message) == (
        "Normal",
        "accounts/local/models/a: no request used it for 168h0m0s; load it again: firedeck load-lora a --deployment d",
    )
    house.clock.advance(3 * DAY_S)
    assert await loaded(house) == set()


async def test_one_with_requests_under_way_stays_and_its_week_begins_with_their_end(house, host):
    await put(house, "a")
    uses = house.fleet.deployed.uses
    use = uses.began(HOST, ADAPTER.format("a"))
    house.clock.advance(8 * DAY_S)
    assert await loaded(house) == {"a"}
    uses.ended(use, failed=False)
    house.clock.advance(7 * DAY_S - 1)
    assert await loaded(house) == {"a"}
    house.clock.advance(1)
    assert await loaded(house) == set()


async def test_the_deployments_own_model_and_the_one_that_every_request_runs_with_stay(house, host):
    await put(house, "a")
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": True})
    house.clock.advance(30 * DAY_S)
    assert await loaded(house) == {"a"}
    assert len(house.fleet.deployed.book.of(HOST)) == 2


async def test_a_request_that_comes_just_before_it_is_taken_off_keeps_it(house, host):
    await put(house, "a")
    house.clock.advance(8 * DAY_S)
    deployed = house.fleet.deployed
    async with deployed._changing:
        sweep = asyncio.create_task(house.fleet.sweep())
        async with asyncio.timeout(PATIENCE_S):
            while not deployed._changing._waiters:  # it has seen the adapter as idle
                await asyncio.sleep(0)
        ask(house, "a")
    await sweep
    assert await loaded(house) == {"a"}


async def test_a_withdrawal_that_cannot_be_written_changes_nothing(house, host, monkeypatch):
    record = await put(house, "a")

    async def full(*records):
        raise OSError("full")

    monkeypatch.setattr(house.store, "put_deployed_models", full)
    with pytest.raises(OSError, match="full"):
        await house.fleet.deployed.book.withdraw(record)
    assert house.fleet.directory.named(record.name, "local") is not None


async def test_an_undelete_begins_the_week_anew(house, host):
    await put(house, "a")
    house.clock.advance(5 * DAY_S)
    await house.fleet.delete(HOST, by="t", hard=False, ignore_checks=True)
    house.clock.advance(3 * DAY_S)
    await house.fleet.sweep()
    await house.fleet.undelete(HOST, by="t")
    assert await loaded(house) == {"a"}
    house.clock.advance(7 * DAY_S)
    assert await loaded(house) == set()


async def test_with_no_time_set_none_is_unloaded(house, host):
    await put(house, "a")
    house.fleet.deployed.care._idle_s = None
    house.clock.advance(300 * DAY_S)
    assert await loaded(house) == {"a"}


async def written_of(house, name: str) -> float:
    """When it was used last, as the disk has it."""
    rows = await house.store.fetch("addon_uses")
    return next(json.loads(row["use"])["used"] for row in rows if row["name"] == RECORD.format(name))


async def test_the_use_is_remembered_over_a_restart(house, host):
    for name in ("asked", "idle"):
        await put(house, name)
    await house.fleet.sweep()
    house.clock.advance(5 * DAY_S)
    ask(house, "asked")
    now = house.fleet.rooms.lived.at(house.clock.monotonic())
    async with asyncio.timeout(PATIENCE_S):  # the first request after a while is written at once
        while await written_of(house, "asked") != now:
            await asyncio.sleep(0.01)
    house.clock.advance(1 * DAY_S)
    async with restarted(house) as later:
        later.fleet.get(HOST).running = lambda: 1
        assert await loaded(later) == {"asked", "idle"}
        later.clock.advance(1 * DAY_S)
        assert await loaded(later) == {"asked"}
        later.clock.advance(5 * DAY_S)
        assert await loaded(later) == set()


async def test_one_of_an_engine_that_wrote_nothing_of_uses_has_a_week_from_now(house, host):
    await put(house, "a")
    await house.fleet.sweep()
    await house.store._run(house.store._db.execute, "UPDATE deployed_models SET use = NULL")
    house.clock.advance(30 * DAY_S)
    async with restarted(house) as later:
        later.fleet.get(HOST).running = lambda: 1
        assert await loaded(later) == {"a"}
        later.clock.advance(7 * DAY_S)
        assert await loaded(later) == set()


async def test_what_is_written_of_uses_and_cannot_be_read_keeps_no_engine_from_starting(house, host):
    await put(house, "a")
    await house.store._run(house.store._db.execute, "UPDATE deployed_models SET use = '{}'")
    async with restarted(house) as later:
        later.fleet.get(HOST).running = lambda: 1
        assert await loaded(later) == {"a"}


async def test_requests_in_a_row_are_written_once_in_ten_seconds(house, host):
    await put(house, "a")
    uses = house.fleet.deployed.uses
    await uses.write()
    uses.stirred.clear()
    for _ in range(100):
        ask(house, "a")
    assert not uses.stirred.is_set()
    house.clock.advance(WRITE_AFTER_S)
    ask(house, "a")
    assert uses.stirred.is_set()


async def test_a_version_that_fails_is_told_once_also_after_a_restart_and_for_a_day(house, host):
    now = await put(house, "new")
    want(house, "new")
    uses = house.fleet.deployed.uses
    spec = DeployedModel(model=ADAPTER.format("old"), deployment=HOST)
    uses.add(now, Former(spec, Outcomes(5_000, 1), house.clock.monotonic()))
    for number in range(MIN_REQUESTS - 1):
        ask(house, "new", failed=number < 2)
        ask(house, "new", failed=None)
    assert uses.failing() == []
    await uses.write()
    house.clock.advance(WATCHED_S / 2)
    async with restarted(house) as later:
        again = later.fleet.deployed.uses
        want(later, "new")
        later.fleet.deployed.care._loop.cancel()
        ask(later, "new")
        [(use, former, why)] = again.failing()
        assert (use.name, former.spec.model) == (now.name, ADAPTER.format("old"))
        assert why.startswith("2 of 1,000 requests failed (0.2 %)")
        assert again.failing() == []
    uses.of(now).former = Former(spec, Outcomes(), house.clock.monotonic() - WATCHED_S - 1)
    assert uses.failing() == []  # its requests are too few, and it has served for long enough
    ask(house, "new", failed=True)
    assert uses.failing() == []


async def test_the_day_begins_with_the_first_request_so_that_one_at_zero_replicas_may_still_go_back(house, host):
    now = await put(house, "new")
    want(house, "new")
    uses = house.fleet.deployed.uses
    house.fleet.deployed.care._loop.cancel()
    uses.add(now, Former(DeployedModel(model=ADAPTER.format("old"), deployment=HOST), Outcomes(), 0.0))
    house.clock.advance(3 * WATCHED_S)
    assert uses.failing() == []
    ask(house, "new", failed=True)
    house.clock.advance(WATCHED_S)
    for _ in range(MIN_REQUESTS - 1):
        ask(house, "new", failed=True)
    [(use, former, _)] = uses.failing()
    assert (use.name, former.spec.model) == (now.name, ADAPTER.format("old"))


async def test_a_version_that_no_replica_could_load_gives_its_place_back_at_the_next_sweep(house, host):
    record = await put(house, "new")  # no model of this name is there: its state is FAILED
    deployed, asked = house.fleet.deployed, []
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": True})

    async def load(account, spec, still):
        asked.append(spec.model)
        return True

    deployed.care._load = load
    spec = DeployedModel(model=ADAPTER.format("old"), deployment=HOST)
    deployed.uses.add(record, Former(spec, Outcomes(), house.clock.monotonic()))
    await house.fleet.sweep()
    await house.fleet.sweep()
    assert asked == [ADAPTER.format("old")]
    [event] = [e for e in await house.store.events_of(HOST, 0, 50) if e.reason == "AddonRolledBack"]
    assert "is no adapter any more" in event.message


async def test_the_former_version_comes_back_only_to_a_deployment_that_still_takes_one_at_a_time(house, host):
    record = await put(house, "new")
    deployed, asked = house.fleet.deployed, []

    async def load(account, spec, still):
        asked.append(spec.model)
        raise NotFound("gone")

    deployed.care._load = load
    use, spec = deployed.uses.of(record), DeployedModel(model=ADAPTER.format("old"), deployment=HOST)
    former = Former(spec, Outcomes(), 0.0)
    await deployed.care._put_back(use, former, "why")
    assert asked == []
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": True})
    await deployed.care._put_back(use, former, "why")
    assert asked == [ADAPTER.format("old")]
    [event] = [e for e in await house.store.events_of(HOST, 0, 50) if e.reason == "AddonNotRolledBack"]
    assert (event.kind, "cannot have its place back: gone" in event.message) == ("Warning", True)


async def failing_version(house) -> Former:
    """`new` failed too often and took the place of `old`; its deployment takes one at a time."""
    record = await put(house, "new")
    want(house, "new")
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": True})
    former = Former(DeployedModel(model=ADAPTER.format("old"), deployment=HOST), Outcomes(), house.clock.monotonic())
    house.fleet.deployed.care._loop.cancel()
    house.fleet.deployed.uses.add(record, former)
    for _ in range(MIN_REQUESTS):
        ask(house, "new", failed=True)
    return former


@pytest.mark.parametrize("ended_by", [asyncio.CancelledError, OSError])
async def test_an_engine_that_ends_while_the_former_version_comes_back_does_it_when_it_starts_again(
    house, host, ended_by
):
    former = await failing_version(house)
    care, uses = house.fleet.deployed.care, house.fleet.deployed.uses

    async def load(account, spec, still):
        await uses.write()
        raise ended_by

    care._load = load
    with pytest.raises(ended_by):
        await care._look()
    await uses.write()
    async with restarted(house) as later:
        want(later, "new")
        [(_, found, _)] = later.fleet.deployed.uses.failing()
        assert found.spec.model == former.spec.model


async def test_where_both_stand_after_a_kill_the_one_that_fails_goes(house, host):
    await failing_version(house)
    await put(house, "old")
    care, uses = house.fleet.deployed.care, house.fleet.deployed.uses

    async def load(account, spec, still):
        raise AlreadyExists("it is there")

    care._load = load
    await care._look()
    records = house.fleet.deployed.addons_on(HOST)
    assert [r.model for r in records if r.state != UNDEPLOYING] == [ADAPTER.format("old")]
    assert [e.reason for e in await house.store.events_of(HOST, 0, 50)].count("AddonRolledBack") == 1
    assert uses.failing() == []
