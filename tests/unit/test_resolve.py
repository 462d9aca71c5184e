"""From a model string to a deployment: yours or not found, and nothing tells which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument, NotFound
from engine.fleet.directory import Deployed, Directory, Offer
from engine.gateway.resolve import NOT_DEPLOYED, Target, resolve

LIB = "accounts/fireworks/models/m"
FIRST = Deployed("accounts/local/deployments/first", LIB)
SECOND = Deployed("accounts/local/deployments/second", LIB)
OWN = Deployed("accounts/local/deployments/own", "accounts/local/models/mine")


def directory(deployments=(FIRST, SECOND, OWN), offers=()) -> Directory:
    made = Directory()
    for one in deployments:
        made.deploy(one)
    for one in offers:
        made.offer(one)
    return made


MINE = directory()


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (LIB, FIRST), ("fireworks/m", FIRST), ("mine", OWN), ("local/mine", OWN),
        (SECOND.name, SECOND), (f"{LIB}#{SECOND.name}", SECOND), ("fireworks/m#local/second", SECOND),
        ("fireworks/m#second", SECOND), ("mine#own", OWN),
    ],
)  # fmt: skip
def test_every_form_finds_its_deployment_and_a_bare_model_its_oldest(model, found):
    assert resolve(model, MINE, "local").deployment == found.name


@pytest.mark.parametrize(
    "model",
    [
        "accounts/alice/deployments/d", "fireworks/m#alice/first", f"{LIB}#accounts/alice/deployments/first",
        "fireworks/m#nowhere", "fireworks/other", "accounts/local/deployments/nowhere", "mine#first", "m", "m#first",
        "accounts/local/deployedModels/first", "../m", "m#d#e", "%2e%2e", "a/b/c/d/e", "\u0430", "x" * 64,
        "x" * 5000, "#",
    ],
)  # fmt: skip
def test_whatever_is_not_there_of_another_account_or_of_another_model_is_not_found_in_the_same_words(model):
    with pytest.raises(NotFound) as missing:
        resolve(model, MINE, "local")
    assert missing.value.message == NOT_DEPLOYED
    assert missing.value.field == "model"


def test_a_foreign_deployment_and_one_that_does_not_exist_are_told_apart_by_nothing():
    def told(model: str) -> dict:
        with pytest.raises(NotFound) as missing:
            resolve(model, MINE, "local")
        return missing.value.inference_body()

    assert told("accounts/alice/deployments/d") == told("accounts/alice/deployments/e") == told("nonsense")


@pytest.mark.parametrize("model", [None, "", 5, [], {}, True])
def test_a_model_that_is_no_text_is_the_requests_fault(model):
    with pytest.raises(InvalidArgument) as refused:
        resolve(model, MINE, "local")
    assert refused.value.field == "model"
    assert not isinstance(refused.value, NotFound)


def test_the_refusal_names_what_could_be_asked_for():
    with pytest.raises(NotFound) as missing:
        resolve("nope", MINE, "local")
    assert f"{LIB}#{FIRST.name}" in (missing.value.hint or "")
    with pytest.raises(NotFound) as missing:
        resolve("nope", Directory(), "local")
    assert "deployment create" in (missing.value.hint or "")
    routers = [f"accounts/local/routers/r{number}" for number in range(9)]
    with pytest.raises(NotFound) as missing:
        resolve("nope", MINE, "local", routers=routers)
    assert (missing.value.hint or "").endswith("; routers: " + ", ".join(routers[:3]))


def test_who_asks_for_a_router_that_is_not_there_is_told_of_those_that_are_first():
    model = "accounts/local/routers/nope"
    with pytest.raises(NotFound) as missing:
        resolve(model, MINE, "local", routers=iter(["accounts/local/routers/r"]))
    assert (missing.value.hint or "").startswith("routers: accounts/local/routers/r; deployed: ")
    with pytest.raises(NotFound) as missing:
        resolve(model, MINE, "local")
    assert (missing.value.hint or "").startswith("there is no router: `firedeck router create`; deployed: ")


@given(st.text(max_size=40))
def test_any_text_finds_one_of_the_callers_own_or_nothing(model):
    try:
        found = resolve(model, MINE, "local").deployment
    except (NotFound, InvalidArgument) as error:
        found = f"refused for {error.field}"
    assert found in {"refused for model", FIRST.name, SECOND.name, OWN.name}


LORA = "accounts/local/models/lora"
BASES = [
    Offer("accounts/local/deployedModels/m-1", LIB, FIRST.name),
    Offer("accounts/local/deployedModels/m-2", LIB, SECOND.name, default=True),
]
ADDONS = [
    Offer("accounts/local/deployedModels/lora-1", LORA, FIRST.name, default=True),
    Offer("accounts/local/deployedModels/lora-2", LORA, SECOND.name),
]
ALICES = Deployed("accounts/alice/deployments/d", LIB)
PUBLIC = Offer("accounts/alice/deployedModels/x", "accounts/alice/models/x", ALICES.name, public=True)
OFFERED = directory((FIRST, SECOND, OWN, ALICES), (*BASES, *ADDONS, PUBLIC))


@pytest.mark.parametrize(
    ("model", "deployment", "offer"),
    [
        (LIB, SECOND.name, BASES[1].name), (FIRST.name, FIRST.name, None), (f"{LIB}#{FIRST.name}", FIRST.name, None),
        (LORA, FIRST.name, ADDONS[0].name), ("local/lora", FIRST.name, ADDONS[0].name),
        (f"{LORA}#{SECOND.name}", SECOND.name, ADDONS[1].name), ("lora#second", SECOND.name, ADDONS[1].name),
        (ADDONS[1].name, SECOND.name, ADDONS[1].name), (BASES[0].name, FIRST.name, BASES[0].name),
        ("mine", OWN.name, None), (PUBLIC.name, PUBLIC.deployment, PUBLIC.name),
        ("alice/x", PUBLIC.deployment, PUBLIC.name), ("alice/x#alice/d", PUBLIC.deployment, PUBLIC.name),
    ],
)  # fmt: skip
def test_a_deployed_model_is_found_by_its_name_its_model_and_both(model, deployment, offer):
    assert resolve(model, OFFERED, "local") == Target(deployment, offer)


@pytest.mark.parametrize(
    "model",
    [f"{LORA}#{OWN.name}", "accounts/local/deployedModels/nope", PUBLIC.deployment, "accounts/alice/models/y", "x"],
)
def test_an_adapter_is_only_where_it_was_loaded_and_a_public_one_opens_nothing_else(model):
    with pytest.raises(NotFound):
        resolve(model, OFFERED, "local")


def test_a_default_on_a_deployment_that_is_gone_does_not_hide_the_others():
    there = directory(offers=BASES)
    there.hide(SECOND.name)
    assert resolve(LIB, there, "local") == Target(FIRST.name)
    there.deploy(SECOND)
    assert resolve(LIB, there, "local") == Target(SECOND.name, BASES[1].name)


def test_what_somebody_made_public_never_takes_the_place_of_ones_own():
    public = Offer("accounts/alice/deployedModels/m", LIB, ALICES.name, default=True, public=True)
    there = directory((ALICES, FIRST, SECOND), (public, *BASES))
    assert resolve(LIB, there, "local") == Target(SECOND.name, BASES[1].name)
    assert resolve(LIB, there, "bob") == Target(ALICES.name, public.name)
