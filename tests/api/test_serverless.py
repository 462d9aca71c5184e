"""Serverless on a whole engine: one deployment for all accounts, limited and billed by account, nobody's to change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from client.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from client.model_types import ModelSpec
from client.resources import Client
from client.types import DeploymentSpec
from engine.deprecation import NOTICE, day_of, sunset
from engine.fleet.serverless import offer
from engine.fleet.serverless import offered as offered_until
from engine.serverless import Serverless, deployment_of
from tests.virtual import MODEL, Virtual, virtual

ID = MODEL.rpartition("/")[2]
SHARED = deployment_of(MODEL)
TERMS = Serverless((ID,), requests_per_minute=3)
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
NOTICE_S = NOTICE.total_seconds() + 1
PROMPT_TOKENS = 9  # of CHAT, as the virtual replica counts
PRICES = f"""
[[tokens]]
models = ["{MODEL}"]
serverless = true
prompt = 500000
generated = 1000000
"""


@asynccontextmanager
async def offering(folder: Path, terms: Serverless = TERMS, prices: str = "") -> AsyncIterator[Virtual]:
    """An engine whose serverless deployments are ready."""
    folder.mkdir(exist_ok=True)
    (folder / "prices.toml").write_text(prices)
    async with virtual(folder, serverless=terms, prices=folder / "prices.toml") as at:
        await offered(at, terms)
        yield at


async def offered(at: Virtual, terms: Serverless) -> None:
    await offer(at.engine.house.fleet, terms)
    for model in terms.names:
        keeper = at.engine.house.fleet.get(deployment_of(model))
        await at.until_passed(keeper.serves)


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Virtual]:
    async with offering(tmp_path / "engine", prices=PRICES) as at:
        yield at


async def key_of(at: Virtual, account: str, role: str = "admin") -> str:
    _, key = await at.engine.house.keyring.create(account, "someone", role, "", None)
    return key


async def ask(at: Virtual, key: str, model: str = MODEL) -> httpx.Response:
    async with at.http(key) as http:
        return await http.post("/v1/chat/completions", json=CHAT | {"model": model})


async def asked_of(client: Client) -> dict[str | None, int]:
    """Requests of an account, by deployment."""
    return {row.deployment: row.requests for row in (await client.usage.tokens(group_by=["deployment"])).rows}


async def test_every_account_asks_it_by_its_model_and_pays_for_its_tokens_alone(shared: Virtual) -> None:
    keys = {"local": shared.admin_key, "elsewhere": await key_of(shared, "elsewhere", "inference-user")}
    for number, (account, key) in enumerate(keys.items(), 1):
        for _ in range(number):
            assert (await ask(shared, key)).status_code == 200
        async with shared.client(key, account) as client:
            total = (await client.usage.tokens(group_by=["deployment"])).total
            assert total.cost_usd == pytest.approx(number * (PROMPT_TOKENS / 2 + 1))
            assert await asked_of(client) == {SHARED: number}
            assert (await client.usage.get()).total.replica_seconds == 0, "hours of it are nobody's to pay"
            assert await client.deployments.list() == []


async def test_without_a_price_for_serverless_its_cost_is_not_known(tmp_path: Path) -> None:
    async with offering(tmp_path / "engine", prices=PRICES.replace("true", "false")) as at, at.client() as admin:
        assert (await ask(at, at.admin_key)).status_code == 200
        total = (await admin.usage.tokens(group_by=["deployment"])).total
        assert (total.requests, total.unpriced_requests, total.cost_usd) == (1, 1, None)


async def test_the_limit_is_an_accounts_with_all_its_keys_and_is_told_in_the_documented_headers(
    shared: Virtual,
) -> None:
    other = await key_of(shared, "elsewhere")
    async with shared.client() as admin:
        await shared.deploy(admin, "mine")
    for left in (2, 1, 0):
        answer = await ask(shared, shared.admin_key, f"{MODEL}#{SHARED}")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-over-limit"] == "no"
    second = await key_of(shared, "local")
    refused = await ask(shared, second, f"{MODEL}#{SHARED}")
    assert (refused.status_code, refused.headers["x-ratelimit-over-limit"]) == (429, "yes")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "firedeck create deployment" in refused.json()["error"]["message"]
    assert (await ask(shared, other)).status_code == 200
    dedicated = await ask(shared, second)
    assert (dedicated.status_code, "x-ratelimit-limit-requests" in dedicated.headers) == (200, False)
    await shared.pass_time(61)
    assert (await ask(shared, second, f"{MODEL}#{SHARED}")).status_code == 200


async def test_models_tell_who_offers_them_and_every_listing_has_them(shared: Virtual) -> None:
    key = await key_of(shared, "elsewhere", "inference-user")
    async with shared.client(key, "elsewhere") as client, shared.http(key) as http:
        model = await client.models.get(MODEL)
        [ref] = model.deployed_model_refs or []
        assert (ref.deployment, ref.state, ref.public, ref.default) == (SHARED, "DEPLOYED", True, True)
        assert model.supports_serverless
        listed = {one.name: one.supports_serverless for one in await client.models.list("fireworks")}
        assert {name for name, offered in listed.items() if offered} == {MODEL}
        found = await client.models.list("fireworks", filter="supportsServerless=true")
        assert [one.name for one in found] == [MODEL]
        query = {"includeDeployedModelRefs": "true", "filter": f'name="{MODEL}"'}
        [told] = (await http.get("/v1/accounts/fireworks/models", params=query)).json()["models"]
        assert told["deployedModelRefs"][0]["deployment"] == SHARED
        [deployed] = (await http.get("/v1/accounts/fireworks/deployedModels")).json()["deployedModels"]
        assert (deployed["serverless"], deployed["public"], deployed["name"]) == (True, True, ref.name)
        assert [one["id"] for one in (await http.get("/v1/models")).json()["data"]] == [MODEL]
        assert (await http.get(f"/inference/v1/models/{MODEL}")).json()["id"] == MODEL


async def test_ones_own_default_goes_before_it(shared: Virtual) -> None:
    async with shared.client() as admin:
        await shared.deploy(admin, "mine")
        assert (await ask(shared, shared.admin_key)).status_code == 200
        assert await asked_of(admin) == {"accounts/local/deployments/mine": 1}
        await admin.deployments.delete("mine", hard=True, ignore_checks=True)
        assert (await ask(shared, shared.admin_key)).status_code == 200
        assert (await asked_of(admin))[SHARED] == 1


async def test_it_is_nobodys_to_change_and_admins_see_it_on_their_dashboards(shared: Virtual) -> None:
    user = await key_of(shared, "local", "user")
    async with shared.client() as admin, shared.client(user) as other:
        for refused in (
            admin.deployments.delete(SHARED, ignore_checks=True), admin.deployments.scale(SHARED, 0),
            admin.deployments.update(SHARED, DeploymentSpec(max_replica_count=9)),
            admin.deployed_models.unload(shared.engine.house.fleet.deployed.of_model(MODEL)[0].name),
        ):  # fmt: skip
            with pytest.raises(PermissionDenied):
                await refused
        names = [[s.deployment.name for s in (await of.fleet.snapshot()).deployments] for of in (admin, other)]
        assert names == [[SHARED], []]


async def test_custom_models_are_refused_with_the_remedy(shared: Virtual) -> None:
    async with shared.client() as admin, shared.http(shared.admin_key) as http:
        await admin.models.create("mine", ModelSpec())
        answer = await http.post("/v1/accounts/local/deployedModels", json={"model": "mine", "serverless": True})
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        assert "custom base models are not" in answer.text
        assert "firedeck create deployment accounts/local/models/mine" in answer.text
        assert (await ask(shared, shared.admin_key, "accounts/local/models/mine")).status_code == 404


async def test_it_may_go_to_zero_and_is_not_deleted_however_long_nobody_asks(shared: Virtual) -> None:
    async with shared.client() as admin:
        await admin.deployments.create(DeploymentSpec(base_model=MODEL), "mine")
        await shared.until_passed(shared.engine.house.fleet.get("accounts/local/deployments/mine").serves)
        seen = {one.deployment.name: one for one in (await admin.fleet.snapshot()).deployments}
    ends = {name: one.autoscaler.auto_delete_at is not None for name, one in seen.items() if one.autoscaler}
    assert ends == {SHARED: False, "accounts/local/deployments/mine": True}
    declared = seen[SHARED].deployment
    assert declared.min_replica_count == 0
    assert declared.autoscaling_policy is not None
    assert declared.autoscaling_policy.scale_to_zero_window == timedelta(minutes=5)


async def gone_after_notice(at: Virtual) -> None:
    """What is offered no more, two weeks later."""
    await offer(at.engine.house.fleet, Serverless())
    at.clock.advance(NOTICE_S)
    await at.engine.house.fleet.sweep()


async def test_what_is_not_offered_any_more_is_served_for_two_weeks_and_says_so(shared: Virtual) -> None:
    fleet = shared.engine.house.fleet
    day = (fleet.rooms.clock.wall() + timedelta(days=14)).date()
    assert "sunset" not in (await ask(shared, shared.admin_key)).headers
    await offer(fleet, Serverless())
    assert offered_until(fleet) == {ID: day}
    await fleet.sweep()
    answer = await ask(shared, shared.admin_key)
    assert (answer.status_code, answer.headers["sunset"]) == (200, sunset(day))
    async with shared.client() as client, shared.http(shared.admin_key) as http:
        for model in (
            await client.models.get(MODEL),
            *(await client.models.list("fireworks", filter=f'name="{MODEL}"')),
        ):
            assert (model.supports_serverless, day_of(model.deprecation_date)) == (True, day)
        [listed] = (await http.get("/v1/models")).json()["data"]
        assert listed["deprecation_date"] == str(day)
        await client.deployments.create(DeploymentSpec(base_model=MODEL), "mine")  # it can still be deployed
        await shared.until_passed(fleet.get("accounts/local/deployments/mine").serves)
        own = await ask(shared, shared.admin_key, f"{MODEL}#accounts/local/deployments/mine")
        assert (own.status_code, "sunset" in own.headers) == (200, False)
        events = {event.reason: event.message for event in await fleet.rooms.store.events_of(SHARED, 0, 99)}
    assert f"leaves serverless on {day}" in events["ServerlessEnds"]
    shared.clock.advance(NOTICE_S)
    await fleet.sweep()
    assert (await ask(shared, shared.admin_key, f"{MODEL}#{SHARED}")).status_code == 404
    assert offered_until(fleet) == {}


async def test_a_day_is_told_beforehand_or_taken_back_and_never_too_soon(shared: Virtual) -> None:
    fleet = shared.engine.house.fleet
    today = fleet.rooms.clock.wall().date()
    soon, later = today + timedelta(days=13), today + timedelta(days=30)
    with pytest.raises(FailedPrecondition, match="14 days' notice"):
        await offer(fleet, Serverless((ID,), until=((ID, soon),)))
    assert offered_until(fleet) == {ID: None}
    await offer(fleet, Serverless((ID,), until=((ID, later),)))
    assert offered_until(fleet) == {ID: later}
    await offer(fleet, Serverless())  # its users were told a day already
    assert offered_until(fleet) == {ID: later}
    await offer(fleet, Serverless((ID,)))
    assert offered_until(fleet) == {ID: None}
    await gone_after_notice(shared)
    await offer(fleet, Serverless((ID,), until=((ID, today),)))  # as the options still have it
    assert offered_until(fleet) == {}


async def test_what_was_withdrawn_comes_back_on_other_terms(shared: Virtual) -> None:
    fleet, library = shared.engine.house.fleet, shared.engine.house.library
    await gone_after_notice(shared)
    assert (await ask(shared, shared.admin_key)).status_code == 404
    async with shared.client() as admin:
        assert not (await admin.models.get(MODEL)).supports_serverless
    await offered(shared, Serverless((ID,), replicas=2, addons=True))
    declared = fleet.get(SHARED).deployment
    assert (declared.max_replica_count, declared.enable_addons, declared.delete_time) == (2, True, None)
    assert (await ask(shared, shared.admin_key)).status_code == 200
    assert offered_until(fleet) == {ID: None}
    await fleet.delete(SHARED, by="test", hard=False, ignore_checks=True)
    purged = fleet.get(SHARED)
    await purged.declare(lambda now: now.model_copy(update={"purge_time": now.delete_time}))
    await offered(shared, TERMS)
    assert fleet.get(SHARED) is not purged, "what nobody can undelete is made anew"
    assert (await ask(shared, shared.admin_key)).status_code == 200
    assert library.has(MODEL)


@pytest.mark.parametrize(
    ("models", "error", "why"),
    [(("local/mine",), InvalidArgument, "custom model"), (("nope",), NotFound, "does not exist")],
)
async def test_what_cannot_be_offered_is_refused_and_nothing_is_deployed(
    tmp_path: Path, models: Sequence[str], error: type[Exception], why: str
) -> None:
    async with virtual(tmp_path / "engine") as at:
        with pytest.raises(error, match=why):
            await offer(at.engine.house.fleet, Serverless((ID, *models)))
        assert at.engine.house.fleet.keepers() == []
