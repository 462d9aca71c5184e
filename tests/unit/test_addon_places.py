"""Which adapter requests run with while one takes another's place, and until when replicas keep what was taken off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from client.addon_types import DeployedModel
from client.errors import AlreadyExists
from client.model_types import PeftDetails
from client.types import Model, ModelFile
from engine.control.addon_trial import MIN_REQUESTS, Outcomes
from engine.control.addons import DEPLOYED, DEPLOYING, FAILED, UNDEPLOYING
from engine.fleet import leaving as module
from engine.fleet.addon_uses import Former
from tests.processes import PATIENCE_S
from tests.unit.test_addon_care import ADAPTER, HOST, RECORD, ask, host, put, want
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


@pytest.fixture
async def failing(house, states) -> Former:
    """`new` has taken the place of `old`, which was there when `new` came, and every request with it fails."""
    house.fleet.deployed.care._loop.cancel()
    states["new"] = DEPLOYED
    former = Former(DeployedModel(model=ADAPTER.format("old"), deployment=HOST), Outcomes(), house.clock.monotonic())
    house.fleet.deployed.uses.add(house.fleet.deployed.book.records[RECORD.format("new")], former)
    await settled(house)
    for _ in range(MIN_REQUESTS):
        ask(house, "new", failed=True)
    return former


@pytest.fixture
def loadable(house, states, monkeypatch) -> list[str]:
    """Adapters of these names are of the deployment's base, and may be loaded."""

    def model_of(name: str, *_: object) -> Model:
        base = house.fleet.get(HOST).deployment.base_model
        peft = PeftDetails(base_model=base or "", r=8, target_modules=[])
        file = ModelFile(file="/nowhere", digest="d")
        return Model(name=name, kind="HF_PEFT_ADDON", state="READY", peft_details=peft, firedeck=file)

    library = house.fleet.rooms.library
    monkeypatch.setattr(library, "resolve", lambda name, *_: name)
    monkeypatch.setattr(library, "get", model_of)
    monkeypatch.setattr(library.files, "file_of", Path)
    monkeypatch.setattr(library.files, "check_adapter", AsyncMock())
    states["newest"] = DEPLOYING
    return ["old", "new", "newest"]


async def load(house, name: str) -> DeployedModel:
    spec = DeployedModel(model=ADAPTER.format(name), deployment=HOST)
    made = await house.fleet.deployed.create("local", spec, by="t", replace_merged=True)
    house.clock.advance(1)
    return made


async def test_what_somebody_loads_because_the_version_before_fails_is_not_undone_by_those_failures(
    house, failing, loadable, states
):
    await load(house, "newest")
    await house.fleet.deployed.care._look()
    assert standing(house) == ["new", "newest"]
    states["newest"] = DEPLOYED
    await settled(house)
    assert (served_by(house), standing(house)) == ("newest", ["newest"])


async def test_nor_is_it_where_it_was_loaded_while_the_former_version_was_on_its_way_back(house, failing, loadable):
    deployed = house.fleet.deployed
    async with deployed._changing, asyncio.timeout(PATIENCE_S):
        first = asyncio.create_task(load(house, "newest"))
        while not deployed._changing._waiters:
            await asyncio.sleep(0)
        second = asyncio.create_task(deployed.care._look())
        while len(deployed._changing._waiters) < 2:  # it has seen that `new` fails
            await asyncio.sleep(0)
    await asyncio.gather(first, second)
    assert standing(house) == ["new", "newest"]


async def test_nor_after_a_kill_before_it_was_written_that_there_is_none_to_come_back(house, failing, loadable):
    newest = await load(house, "newest")
    deployed = house.fleet.deployed
    deployed.uses.of(deployed.book.records[RECORD.format("new")]).former = failing
    await deployed.care._look()
    assert standing(house) == ["new", "newest"]
    assert deployed.book.records[newest.name].model == ADAPTER.format("newest")


async def test_who_loads_the_former_version_again_is_not_told_that_failures_did_it(house, failing, loadable):
    await load(house, "old")
    await house.fleet.deployed.care._look()
    await settled(house)
    assert (served_by(house), standing(house)) == ("old", ["old"])
    assert "AddonRolledBack" not in [e.reason for e in await house.store.events_of(HOST, 0, 50)]


async def test_one_that_never_left_is_not_told_to_have_its_place_back(house, states, loadable):
    house.fleet.deployed.care._loop.cancel()
    keeper = house.fleet.get(HOST)
    former = Former(DeployedModel(model=ADAPTER.format("old"), deployment=HOST), Outcomes(), house.clock.monotonic())
    house.fleet.deployed.uses.add(house.fleet.deployed.book.records[RECORD.format("new")], former)
    states["new"] = FAILED
    keeper.addons.refused_by_all = lambda name, _: "no" if name == ADAPTER.format("new") else ""
    await house.fleet.deployed.care._look()
    assert standing(house) == ["old"]
    [event] = [e for e in await house.store.events_of(HOST, 0, 50) if e.reason == "AddonRolledBack"]
    assert event.message.startswith(f"{ADAPTER.format('new')}: no: {ADAPTER.format('old')} keeps its place; to load")


async def test_one_that_is_loaded_again_while_requests_still_run_with_it_stays_on_its_replicas(house, states, loadable):
    deployed, keeper, model = house.fleet.deployed, house.fleet.get(HOST), ADAPTER.format("old")
    use, states["new"] = deployed.uses.began(HOST, model), DEPLOYED
    await looked(house)
    assert standing(house) == ["new"]
    again = await load(house, "old")
    await settled(house)
    assert (served_by(house), standing(house), again.default) == ("old", ["old"], True)
    assert RECORD.format("old") not in deployed.book.records, "it is a new record, the newest one"
    stored = [record.name for record in await house.store.deployed_models() if record.model == model]
    assert stored == [again.name]
    await deployed.delete(again.name, by="t")
    await looked(house)
    assert model in keeper.addons.wanted, "the request from before still runs with it"
    deployed.uses.ended(use, failed=False)
    await settled(house)
    assert model not in keeper.addons.wanted


async def test_the_former_version_comes_back_while_its_last_requests_still_run(house, states, loadable):
    deployed, model = house.fleet.deployed, ADAPTER.format("old")
    deployed.care._loop.cancel()
    deployed.uses.began(HOST, model)
    former = Former(DeployedModel(model=model, deployment=HOST), Outcomes(), house.clock.monotonic())
    deployed.uses.add(deployed.book.records[RECORD.format("new")], former)
    states["new"] = DEPLOYED
    await looked(house)
    for _ in range(MIN_REQUESTS):
        ask(house, "new", failed=True)
    house.clock.advance(1)
    await deployed.care._look()
    await settled(house)
    assert (served_by(house), standing(house)) == ("old", ["old"])


async def test_one_that_replicas_let_go_of_is_not_said_to_be_there(house, states, loadable):
    deployed = house.fleet.deployed
    deployed.book.is_held = lambda _record: True
    await deployed.delete(RECORD.format("old"), by="t")
    with pytest.raises(AlreadyExists, match="is being unloaded from") as refused:
        await load(house, "old")
    assert refused.value.hint == "load it again in a moment"


async def test_at_zero_replicas_the_one_that_has_served_stays_until_a_replica_has_loaded_the_newest(
    house, states, loadable
):
    keeper, uses = house.fleet.get(HOST), house.fleet.deployed.uses
    keeper.serves = lambda: False
    states.update(new=DEPLOYED, newest=DEPLOYED)  # as at rest all are said to be
    await looked(house)
    assert standing(house) == ["old", "new"]
    record = await load(house, "newest")
    assert uses.of(record).former.spec.model == ADAPTER.format("old")
    await looked(house)
    assert standing(house) == ["old", "newest"], "what no replica ever had only takes up room"
    states["newest"], keeper.serves = FAILED, lambda: True
    await looked(house)
    assert (served_by(house), standing(house)) == ("old", ["old", "newest"])
    states["newest"] = DEPLOYED
    await settled(house)
    assert (served_by(house), standing(house)) == ("newest", ["newest"])
