"""Which adapter requests run with while one takes another's place, and until when replicas keep what was taken off."""

from __future__ import annotations

import asyncio

import pytest

from engine.control.addons import DEPLOYED, DEPLOYING, FAILED, UNDEPLOYING
from engine.fleet import leaving as module
from tests.processes import PATIENCE_S
from tests.unit.test_addon_care import ADAPTER, HOST, RECORD, host, put, want
from tests.unit.test_idle_delete import house

__all__ = ["host", "house"]


@pytest.fixture
async def states(house, host, monkeypatch) -> dict[str, str]:
    """Of adapters `old` and `new`, on a deployment that takes one at a time: what they are is told here."""
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 0.001)
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": True})
    told = {"old": DEPLOYED, "new": DEPLOYING}
    keeper.addons.state = lambda name, *_, **__: (told[name.rpartition("/")[2]], "")
    keeper.serves = lambda: True
    for name in told:
        record = await put(house, name)
        await house.fleet.deployed.book.put(record.model_copy(update={"create_time": house.clock.wall()}))
        want(house, name)
        house.clock.advance(1)
    return told


def served_by(house) -> str | None:
    """What a request to the deployment runs with."""
    model = house.fleet.deployed.route(None, house.fleet.get(HOST))
    return model and model.rpartition("/")[2]


def standing(house) -> list[str]:
    return [r.model.rpartition("/")[2] for r in house.fleet.deployed.addons_on(HOST) if r.state != UNDEPLOYING]


async def settled(house) -> None:
    """Nothing is being replaced or forgotten any more."""
    deployed = house.fleet.deployed
    deployed.leaving.unsettled.set()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with deployed._changing:
                if not deployed.leaving.unsettled.is_set():
                    return
            await asyncio.sleep(0.001)


async def looked(house) -> None:
    """The deployment was looked at twice, whether that settled anything or not."""
    for _ in range(2):
        async with house.fleet.deployed._changing:
            await house.fleet.deployed.leaving.retire_replaced()


@pytest.mark.parametrize("newer", [DEPLOYING, FAILED])
async def test_the_former_serves_until_the_newer_one_is_there(house, states, newer):
    states["new"] = newer
    await looked(house)
    assert (served_by(house), standing(house)) == ("old", ["old", "new"])
    states["new"] = DEPLOYED
    assert served_by(house) == "new", "also before the former is taken off"
    await settled(house)
    assert (served_by(house), standing(house)) == ("new", ["new"])
    events = [e.message for e in await house.store.events_of(HOST, 0, 50) if e.reason == "AddonWithdrawn"]
    assert events == [f"{ADAPTER.format('old')}: {ADAPTER.format('new')} has taken its place"]


async def test_of_a_deployment_with_several_at_once_none_takes_another_s_place(house, states):
    keeper = house.fleet.get(HOST)
    keeper.record.deployment = keeper.deployment.model_copy(update={"enable_hot_reload_latest_addon": False})
    states["new"] = DEPLOYED
    await settled(house)
    assert standing(house) == ["old", "new"]


async def test_replicas_keep_what_was_taken_off_until_the_last_request_with_it_has_ended(house, states):
    deployed, keeper, model = house.fleet.deployed, house.fleet.get(HOST), ADAPTER.format("old")
    use = deployed.uses.began(HOST, model)
    await deployed.delete(RECORD.format("old"), by="t")
    await looked(house)
    async with deployed._changing:
        assert not await deployed.leaving.forget_withdrawn()
    assert house.fleet.directory.named(RECORD.format("old"), "local") is None, "no new request finds it"
    assert model in keeper.addons.wanted
    deployed.uses.ended(use, failed=False)
    states["new"] = DEPLOYED
    await settled(house)
    assert model not in keeper.addons.wanted
    assert RECORD.format("old") not in deployed.book.records
