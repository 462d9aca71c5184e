"""Serverless without an engine: what is offered, whom a bare name means, and what keeps accounts apart."""

from __future__ import annotations

from datetime import date

import pytest
from click.testing import CliRunner

from client.addon_types import DeployedModel
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.model_types import Model, PeftDetails
from client.types import Deployment
from engine.cli import serve
from engine.deployed_rules import check_kept_apart, check_serverless, is_for_serverless
from engine.fleet.directory import Deployed, Directory, Offer
from engine.gateway.prompt import ISOLATION_FIELD, ISOLATION_HEADER, isolated, isolation_of
from engine.gateway.resolve import Target, resolve
from engine.serverless import Serverless, deployment_of, is_shared, last_day, told, until

MODEL = "accounts/fireworks/models/m"
SHARED = deployment_of(MODEL)
OFFER = Offer("accounts/fireworks/deployedModels/m-1", MODEL, SHARED, default=True, public=True)
OFF, ON = Serverless(("m",)), Serverless(("m",), addons=True)


def adapter(base: str = MODEL, account: str = "local") -> Model:
    details = PeftDetails(base_model=base, r=4, target_modules=["q_proj"])
    return Model(name=f"accounts/{account}/models/lora", kind="HF_PEFT_ADDON", peft_details=details)


def test_models_of_the_library_are_offered_by_any_of_their_names_and_once() -> None:
    assert Serverless(("m", "fireworks/m", MODEL, "other")).names == (MODEL, "accounts/fireworks/models/other")
    assert SHARED == "accounts/fireworks/deployments/m"
    assert is_shared(SHARED)
    assert not is_shared("accounts/local/deployments/m")
    assert not is_shared("accounts/fireworks/models/m")


@pytest.mark.parametrize("model", ["local/mine", "accounts/local/models/mine"])
def test_a_custom_model_is_not_offered_and_the_refusal_says_what_to_do(model: str) -> None:
    with pytest.raises(InvalidArgument, match="custom model") as refused:
        _ = Serverless((model,)).names
    assert "firedeck create deployment accounts/local/models/mine" in (refused.value.hint or "")


@pytest.mark.parametrize("asked", [MODEL, "fireworks/m", OFFER.name, f"{MODEL}#{SHARED}", "fireworks/m#fireworks/m"])
def test_every_account_finds_it_by_its_model(asked: str) -> None:
    there = Directory()
    there.deploy(Deployed(SHARED, MODEL))
    there.offer(OFFER)
    for account in ("local", "elsewhere"):
        assert resolve(asked, there, account) == Target(SHARED, OFFER.name)
        with pytest.raises(NotFound):
            resolve(SHARED, there, account)  # it is nobody's own


def test_an_accounts_own_default_goes_before_it_and_what_is_none_does_not() -> None:
    own = Deployed("accounts/local/deployments/d", MODEL)
    there = Directory()
    for one in (Deployed(SHARED, MODEL), own):
        there.deploy(one)
    there.offer(OFFER)
    assert resolve(MODEL, there, "local") == Target(SHARED, OFFER.name), "disableAutoDeploy: not meant by the bare name"
    there.offer(Offer("accounts/local/deployedModels/m-1", MODEL, own.name, default=True))
    assert resolve(MODEL, there, "local").deployment == own.name
    assert resolve(MODEL, there, "elsewhere").deployment == SHARED
    there.hide(own.name)
    assert resolve(MODEL, there, "local").deployment == SHARED


def test_an_adapter_goes_there_when_it_is_said_so_or_when_nothing_else_is_said() -> None:
    assert is_for_serverless(DeployedModel(model="x", serverless=True), OFF)
    assert is_for_serverless(DeployedModel(model="x", deployment=SHARED), OFF)
    assert is_for_serverless(DeployedModel(model="x"), ON)
    assert not is_for_serverless(DeployedModel(model="x"), OFF)
    assert not is_for_serverless(DeployedModel(model="x", deployment="accounts/local/deployments/d"), ON)
    assert check_serverless(adapter(), "local", ON) == SHARED


@pytest.mark.parametrize(
    ("model", "terms", "why", "remedy"),
    [
        (adapter(), OFF, "--serverless-addons", "firedeck load-lora"),
        (adapter("accounts/fireworks/models/other"), ON, "base model accounts/fireworks/models/other", "load-lora"),
        (adapter(account="elsewhere"), ON, "its owner's", "load-lora"),
        (Model(name="accounts/local/models/mine"), ON, "custom base models are not", "firedeck create deployment"),
        (Model(name=MODEL), ON, "who runs the engine", "firedeck create deployment"),
    ],
)
def test_whatever_else_is_refused_with_the_reason_and_the_remedy(model, terms, why, remedy) -> None:
    with pytest.raises(InvalidArgument, match=why) as refused:
        check_serverless(model, "local", terms)
    assert (refused.value.status, refused.value.field) == (400, "serverless")
    assert remedy in (refused.value.hint or "")


def test_no_key_of_ones_own_makes_one_accounts_caches_anothers() -> None:
    given = [({}, {}), ({ISOLATION_HEADER: "local"}, {}), ({}, {ISOLATION_FIELD: "local"}),
             ({ISOLATION_HEADER: "k"}, {}), ({}, {ISOLATION_FIELD: "elsewhere"})]  # fmt: skip
    seen = {
        account: {isolation_of(fields, isolated(headers, account)) for headers, fields in given}
        for account in ("local", "elsewhere", "local-2")
    }
    assert all(len(keys) == len(given) for account, keys in seen.items() if account == "local-2")
    assert not seen["local"] & seen["elsewhere"]
    assert not seen["local"] & seen["local-2"]
    assert isolated({"x-session-affinity": "s"}, "local") == {"x-session-affinity": "s", ISOLATION_HEADER: "local"}


def test_an_adapter_there_is_not_made_public() -> None:
    with pytest.raises(InvalidArgument, match="for the account alone that loads it"):
        check_kept_apart(DeployedModel(public=True), SHARED)
    check_kept_apart(DeployedModel(public=False), SHARED)
    check_kept_apart(DeployedModel(public=True), "accounts/local/deployments/d")


TODAY = date(2027, 3, 1)
SOON, NOTICED, LATER = date(2027, 3, 14), date(2027, 3, 15), date(2027, 5, 1)


@pytest.mark.parametrize(
    ("before", "asked", "day"),
    [
        (None, None, NOTICED), (None, NOTICED, NOTICED), (None, LATER, LATER), (LATER, None, LATER),
        (SOON, None, SOON), (SOON, SOON, SOON), (SOON, LATER, LATER), (LATER, NOTICED, NOTICED), (TODAY, None, TODAY),
    ],
)  # fmt: skip
def test_users_have_two_weeks_from_when_they_are_told(before: date | None, asked: date | None, day: date) -> None:
    assert last_day(MODEL, before, asked, TODAY) == day


@pytest.mark.parametrize(("before", "asked"), [(None, SOON), (LATER, SOON), (SOON, date(2027, 3, 13)), (None, TODAY)])
def test_a_day_that_comes_too_soon_is_refused_with_the_first_that_does_not(before: date | None, asked: date) -> None:
    with pytest.raises(FailedPrecondition, match="14 days' notice") as refused:
        last_day(MODEL, before, asked, TODAY)
    first = min(before or NOTICED, NOTICED)
    assert (refused.value.hint or "").startswith(f"--serverless-until m={first}")


def test_the_day_stands_beside_what_else_the_deployment_is_annotated_with() -> None:
    plain = Deployment(name=SHARED, annotations={"a": "b"})
    noted = plain.model_copy(update={"annotations": told(plain, LATER)})
    assert (until(plain), until(noted), told(noted, None)) == (None, LATER, {"a": "b"})
    assert until(Deployment()) is None
    assert until(noted.model_copy(update={"name": "accounts/local/deployments/d"})) is None, "its owner wrote that"


def test_days_are_of_models_that_are_offered() -> None:
    assert Serverless(("m",), until=(("fireworks/m", LATER),)).ends == {MODEL: LATER}
    with pytest.raises(InvalidArgument, match="is not offered"):
        _ = Serverless(("m",), until=(("other", LATER),)).ends


@pytest.mark.parametrize("given", ["m", "m=", "m=tomorrow", "=2027-13-01"])
def test_the_option_takes_a_model_and_a_day(given: str) -> None:
    refused = CliRunner().invoke(serve, ["--serverless", "m", "--serverless-until", given])
    assert (refused.exit_code, "write MODEL=DAY, the day as 2027-12-31" in refused.output) == (2, True)
