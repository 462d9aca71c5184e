"""The index of what can be asked for: it finds what a walk over everything would find, without the walk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.addon_types import DeployedModel
from client.errors import NotFound
from client.types import Deployment
from engine.control.addons import DEPLOYED
from engine.fleet.directory import Deployed, Directory, Offer
from engine.fleet.fleet import Fleet
from engine.gateway.resolve import resolve
from engine.gateway.routes import target_of
from tests.unit.steps import steps_of
from tests.unit.test_idle_delete import house

__all__ = ["house"]
ACCOUNTS, MODELS = ("a", "b"), ("accounts/fireworks/models/m", "accounts/fireworks/models/n")
FEW, MANY = 10, 5_000


class Walked:
    """What a `Directory` is to find, by looking at everything that was ever made, oldest first."""

    def __init__(self) -> None:
        self.deployments: list[Deployed] = []
        self.offers: list[Offer] = []
        self.deleted: set[str] = set()

    def living(self, account: str) -> list[Deployed]:
        return [d for d in self.deployments if d.name not in self.deleted and d.name.split("/")[1] == account]

    def asked(self, account: str) -> list[Offer]:
        """Those that an account may ask for, its own first."""
        there = [o for o in self.offers if any(d.name == o.deployment for d in self.deployments)]
        there = [o for o in there if o.deployment not in self.deleted]
        own = [o for o in there if o.name.split("/")[1] == account]
        return own + [o for o in there if o.public and o not in own]


def _names(found: Any) -> list[str]:
    return [one.name for one in ([found] if not isinstance(found, list) else found) if one is not None]


def _first(found: list[Any]) -> list[str]:
    return _names(found[:1])


def compare(directory: Directory, walked: Walked) -> None:
    for account in ACCOUNTS:
        living, asked = walked.living(account), walked.asked(account)
        assert _names(directory.some(account, 2)) == _names(living[:2])
        for one in walked.deployments:
            assert _names(directory.deployment(one.name, account)) == _names([d for d in living if d == one])
            for model in MODELS:
                on = [o for o in asked if (o.deployment, o.model) == (one.name, model)]
                assert {*_names(directory.on(one.name, model, account))} <= {*_names(on)}
                assert (directory.on(one.name, model, account) is None) == (not on)
        for offer in walked.offers:
            assert _names(directory.named(offer.name, account)) == _names([o for o in asked if o.name == offer.name])
        for model in MODELS:
            assert _names(directory.serving(model, account)) == _first([d for d in living if d.model == model])
            for default in (True, False):
                meant = [o for o in asked if o.model == model and o.default == default]
                assert _names(directory.meant(model, account, default=default)) == _first(meant)


@given(st.data())
def test_it_finds_what_a_walk_over_everything_would_find_whatever_happened_before(data: st.DataObject):
    directory, walked = Directory(), Walked()
    for number in range(data.draw(st.integers(1, 25), label="steps")):
        account, model = data.draw(st.sampled_from(ACCOUNTS)), data.draw(st.sampled_from(MODELS))
        known, offered = walked.deployments, walked.offers
        verb = data.draw(st.sampled_from(["deploy", "hide", "back", "forget", "offer", "change", "withdraw"]))
        if verb == "deploy":
            known.append(Deployed(f"accounts/{account}/deployments/d{number}", model))
            directory.deploy(known[-1])
        elif verb == "offer" and known:
            on, flags = data.draw(st.sampled_from(known)), data.draw(st.tuples(st.booleans(), st.booleans()))
            owner = on.name.split("/")[1]
            offered.append(Offer(f"accounts/{owner}/deployedModels/o{number}", model, on.name, *flags))
            directory.offer(offered[-1])
        elif verb in {"change", "withdraw"} and offered:
            at = data.draw(st.integers(0, len(offered) - 1))
            if verb == "withdraw":
                directory.withdraw(offered.pop(at).name)
            else:
                offered[at] = replace(offered[at], default=not offered[at].default, public=data.draw(st.booleans()))
                directory.offer(offered[at])
        elif verb in {"hide", "back", "forget"} and known:
            one = data.draw(st.sampled_from(known))
            if verb == "hide":
                walked.deleted.add(one.name)
                directory.hide(one.name)
            elif verb == "back":
                walked.deleted.discard(one.name)
                directory.deploy(one)
            else:
                known.remove(one)
                directory.forget(one.name)
        compare(directory, walked)


def filled(deployments: int) -> Directory:
    """Of one account and one model: whatever is looked through is as long as can be, and what is new is at its end."""
    directory = Directory()
    for number in range(deployments):
        name = f"accounts/a/deployments/d{number:05}"
        directory.deploy(Deployed(name, MODELS[0]))
        default = number == deployments - 1
        directory.offer(Offer(f"accounts/a/deployedModels/o{number:05}", MODELS[0], name, default=default, public=True))
    return directory


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_request_costs_more_in_a_large_fleet(account: str):
    def steps(deployments: int, model: str) -> int:
        directory = filled(deployments)

        def ask() -> None:
            try:
                resolve(model.format(last=f"{deployments - 1:05}"), directory, account)
            except NotFound:
                assert "{last}" in model, "only another account's own deployment is not there"

        return steps_of(ask)

    for model in (
        MODELS[0], "accounts/a/deployments/d{last}", MODELS[0] + "#accounts/a/deployments/d{last}",
        "accounts/a/deployedModels/o{last}", "a/nothing-{last}",
    ):  # fmt: skip
        assert steps(MANY, model) == steps(FEW, model), model


def test_what_was_deleted_before_costs_nothing():
    def steps(deployments: int) -> int:
        directory = filled(deployments)
        for number in range(deployments - 1):
            directory.hide(f"accounts/a/deployments/d{number:05}")
        return steps_of(lambda: resolve(MODELS[0], directory, "a"))

    assert steps(MANY) == steps(FEW)


async def test_the_whole_way_from_a_model_string_to_its_keeper_costs_the_same(house):
    fleet: Fleet = house.fleet

    def steps() -> int:
        return steps_of(lambda: [target_of(fleet, m, "local") for m in (MODELS[0], f"{MODELS[0]}#local/d0")])

    def deploy(number: int) -> None:
        keeper = fleet.keep(Deployment(name=f"accounts/local/deployments/d{number}", base_model=MODELS[0]))
        record = DeployedModel(
            name=f"accounts/local/deployedModels/o{number}", model=MODELS[0], deployment=keeper.name, state=DEPLOYED,
            default=number == 0,
        )  # fmt: skip
        fleet.deployed.book._take(record)

    for number in range(FEW):
        deploy(number)
    before = steps()
    for number in range(FEW, 20 * FEW):
        deploy(number)
    assert steps() == before
