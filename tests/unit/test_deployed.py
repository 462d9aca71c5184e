"""Records of deployed models that are changed by several at once, and one whose adapter is gone."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest

from client.addon_types import DeployedModel
from client.errors import ResourceExhausted
from client.model_types import PeftDetails
from client.names import LIBRARY_ACCOUNT
from client.types import Model, ModelFile
from engine import declare
from engine.control.addons import DEPLOYING, FAILED, UNDEPLOYING
from tests.processes import SMOLLM2
from tests.unit.test_idle_delete import NAME, house, make

__all__ = ["house"]
ADAPTER = "accounts/local/models/a"
RECORD = "accounts/local/deployedModels/{}"


async def put(house, name: str, **fields: object) -> DeployedModel:
    record = DeployedModel(
        name=RECORD.format(name), model=ADAPTER, deployment=NAME.format("d"), state=DEPLOYING, default=False
    )
    record = record.model_copy(update=fields)
    await house.fleet.deployed.book.put(record)
    return record


class Slow:
    """The store's verb, held up until `go`."""

    def __init__(self, verb) -> None:
        self.verb, self.asked, self.go = verb, asyncio.Event(), asyncio.Event()

    async def __call__(self, *args, **kwargs):
        self.asked.set()
        await self.go.wait()
        return await self.verb(*args, **kwargs)


@pytest.fixture
async def slow(house, monkeypatch):
    await make(house, "d")
    await put(house, "a")
    standing = Slow(house.store.put_deployed_models)
    monkeypatch.setattr(house.store, "put_deployed_models", standing)
    return standing


async def after(slow, *changes):
    """All changes, the second begun while the first is being written."""
    tasks = [asyncio.create_task(changes[0])]
    await slow.asked.wait()
    tasks += [asyncio.create_task(change) for change in changes[1:]]
    await asyncio.sleep(0.01)
    slow.go.set()
    await asyncio.gather(*tasks)


async def test_a_change_and_a_withdrawal_at_once_are_both_kept(house, slow):
    deployed, name = house.fleet.deployed, RECORD.format("a")
    deployed.leaving.unsettled.clear()
    deployed.book.is_held = lambda _record: True
    await after(
        slow, deployed.update(name, DeployedModel(display_name="new"), frozenset({"display_name"})),
        deployed.delete(name, by="t"),
    )  # fmt: skip
    stored = {record.name: record for record in await house.store.deployed_models()}
    for record in (deployed.book.records[name], stored[name]):
        assert (record.display_name, record.state) == ("new", UNDEPLOYING)


async def test_a_record_that_is_handed_the_default_keeps_what_is_being_changed_of_it(house, slow):
    deployed, name = house.fleet.deployed, RECORD.format("b")
    slow.go.set()
    await make(house, "e")
    deployed.book.records.clear()  # of the bases, which defaults are handed on among too
    await put(house, "a", default=True)
    await put(house, "b", deployment=NAME.format("e"))
    slow.go.clear()
    slow.asked.clear()
    await after(
        slow, deployed.update(name, DeployedModel(display_name="new"), frozenset({"display_name"})),
        deployed.forget(NAME.format("d")),
    )  # fmt: skip
    assert (deployed.book.records[name].display_name, deployed.book.records[name].default) == ("new", True)


async def test_an_adapter_that_is_no_adapter_any_more_is_not_shown_as_its_base(house):
    await make(house, "d")
    await put(house, "a")
    keeper = house.fleet.get(NAME.format("d"))
    keeper.record.deployment = keeper.deployment.model_copy(update={"state": "READY"})
    shown = house.fleet.deployed.get(RECORD.format("a"))
    assert (shown.state, shown.status.message) == (FAILED, f"{ADAPTER} is no adapter any more: unload it")


def defaults(house) -> dict[str, bool]:
    """Of the model's living deployments, as they are shown."""
    shown = house.fleet.deployed.all()
    return {(r.deployment or "").rpartition("/")[2]: bool(r.default) for r in shown}


async def delete(house, name: str) -> None:
    await house.fleet.delete(NAME.format(name), by="t", hard=False, ignore_checks=True)


async def test_the_default_moves_on_at_a_delete_and_back_at_the_undelete(house):
    await make(house, "d")
    await make(house, "e")
    assert defaults(house) == {"d": True, "e": False}
    await delete(house, "d")
    assert defaults(house) == {"e": True}
    await house.fleet.undelete(NAME.format("d"), by="t")
    assert defaults(house) == {"d": True, "e": False}


async def test_a_default_that_somebody_took_meanwhile_stays_with_that_one(house):
    for name in "def":
        await make(house, name)
    await delete(house, "d")
    (f,) = [r for r in house.fleet.deployed.all() if (r.deployment or "").endswith("/f")]
    await house.fleet.deployed.update(f.name, DeployedModel(default=True), frozenset({"default"}))
    await house.fleet.undelete(NAME.format("d"), by="t")
    assert defaults(house) == {"d": False, "e": False, "f": True}


async def test_the_only_deployment_that_can_be_asked_is_the_default(house):
    await make(house, "d")
    await delete(house, "d")
    await make(house, "e")
    assert defaults(house) == {"e": True}
    await delete(house, "e")
    await house.fleet.undelete(NAME.format("d"), by="t")
    assert defaults(house) == {"d": True}


async def test_an_engine_that_ended_between_a_delete_and_the_hand_over_does_it_when_it_starts(house):
    await make(house, "d")
    await make(house, "e")
    keeper = house.fleet.get(NAME.format("d"))
    await keeper.declare(lambda d: d.model_copy(update={"delete_time": house.clock.wall()}))
    await house.fleet.deployed.close()
    await house.fleet.deployed.load()
    assert defaults(house) == {"e": True}


SHARED = f"accounts/{LIBRARY_ACCOUNT}/deployments/shared"


async def shared(house, monkeypatch) -> None:
    """A serverless deployment that takes adapters, eight of which may be in memory at once."""
    spec = declare.read({"baseModel": SMOLLM2, "enableAddons": True, "maxReplicaCount": 0})
    await house.fleet.create(LIBRARY_ACCOUNT, spec, "shared", by="t")
    monkeypatch.setattr(house.fleet.rooms.library.files, "check_adapter", AsyncMock())


async def load(house, account: str, name: str, rank: int = 64) -> DeployedModel:
    model = f"accounts/{account}/models/{name}"
    await house.fleet.rooms.library.put(
        Model(
            name=model,
            kind="HF_PEFT_ADDON",
            peft_details=PeftDetails(base_model=SMOLLM2, r=rank, target_modules=[]),
            firedeck=ModelFile(file="/nowhere", digest="d"),
        )
    )
    spec = DeployedModel(model=model, deployment=SHARED)
    return await house.fleet.deployed.create(account, spec, by="t", replace_merged=False)


async def test_no_account_takes_more_than_half_of_the_places_for_adapters_of_a_shared_deployment(house, monkeypatch):
    await shared(house, monkeypatch)
    mine = [await load(house, "one", f"a{number}") for number in range(4)]
    with pytest.raises(ResourceExhausted, match=r"'one' may hold 4 adapters on .*, and has 4: .* 8 places") as refused:
        await load(house, "one", "a4")
    assert "unload one of yours first" in (refused.value.hint or "")
    for number in range(4):
        await load(house, "two", f"a{number}")
    await house.fleet.deployed.delete(mine[0].name, by="t")
    await load(house, "one", "a5")


async def test_nor_does_it_take_more_than_half_of_them_with_large_ranks(house, monkeypatch):
    await shared(house, monkeypatch)
    await load(house, "one", "a0", rank=200)
    with pytest.raises(ResourceExhausted, match="with ranks of 256 in all, and has 1"):
        await load(house, "one", "a1", rank=57)
    await load(house, "one", "a2", rank=56)
