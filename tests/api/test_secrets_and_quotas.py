"""Secrets, ownership and quotas through the typed client, on a whole engine without replicas."""

from __future__ import annotations

import asyncio

import pytest

from client.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from client.resources import Client
from client.types import DeploymentSpec
from tests.house import Home, field_of, home
from tests.processes import SMOLLM2

VALUE = "canary-8f1c-never-to-be-seen"


async def test_a_secret_goes_in_and_never_comes_out(own: Home, admin: Client) -> None:
    made = await admin.secrets.create("HF_TOKEN", VALUE)
    assert (made.name, made.key_name, made.value) == ("accounts/local/secrets/hf-token", "HF_TOKEN", None)
    assert await admin.secrets.get("HF_TOKEN") == made == await admin.secrets.get("hf-token")
    assert await admin.secrets.list() == [made]
    async with own.http(own.admin_key) as http:
        for path in ("", "/hf-token", "?readMask=value", "/hf-token?readMask=*"):
            assert VALUE not in (await http.get(f"/v1/accounts/local/secrets{path}")).text
    assert own.engine.house.access.vault.reveal("local", "hf-token") == VALUE


async def test_a_secret_is_changed_renamed_and_forgotten(own: Home, admin: Client) -> None:
    vault = own.engine.house.access.vault
    await admin.secrets.create("A", "one")
    assert (await admin.secrets.update("A", key_name="B")).key_name == "B"
    assert vault.reveal("local", "a") == "one"
    await admin.secrets.update("A", value="two")
    assert vault.reveal("local", "a") == "two"
    with pytest.raises(AlreadyExists):
        await admin.secrets.create("A", "three")
    await admin.secrets.delete("A")
    with pytest.raises(NotFound):
        await admin.secrets.get("A")


@pytest.mark.parametrize("name", ["", "1A", "A B", "../x", "a/b", "ä"])
async def test_a_secret_with_a_bad_name_is_refused_without_its_value(admin: Client, name) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.secrets.create(name, VALUE)
    assert VALUE not in refused.value.text


@pytest.mark.parametrize("value", ["", "x" * 65_537])
async def test_a_secret_has_a_value_of_bounded_length(admin: Client, value) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.secrets.create("A", value)
    assert refused.value.field == "value"


async def test_a_contributor_changes_own_secrets_and_a_user_everybodys(own: Home) -> None:
    cons, eves = await own.person("con", "contributor"), await own.person("eve", "user")
    async with own.client(cons) as con, own.client(eves) as eve:
        await eve.secrets.create("EVES", "1")
        await con.secrets.create("CONS", "2")
        with pytest.raises(PermissionDenied, match="another user owns"):
            await con.secrets.update("EVES", value="3")
        await con.secrets.update("CONS", value="4")
        await eve.secrets.update("CONS", value="5")
        await con.secrets.delete("CONS")


async def test_a_secret_is_its_makers_under_every_spelling_of_its_name(own: Home) -> None:
    cons = await own.person("con", "contributor")
    async with own.http(cons) as con:
        made = await con.post("/v1/accounts/local/secrets", json={"keyName": "MY_SECRET", "value": "1"})
        assert made.json()["name"] == "accounts/local/secrets/my-secret"
        for spelling in ("my-secret", "MY_SECRET", "My-Secret"):
            answer = await con.patch(f"/v1/accounts/local/secrets/{spelling}", json={"value": "2"})
            assert answer.status_code == 200, (spelling, answer.text)


async def test_a_contributor_changes_the_deployments_it_made_and_no_others(own: Home, admin: Client) -> None:
    nothing = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0)
    await admin.deployments.create(nothing, "admins")
    async with own.client(await own.person("con", "contributor")) as con:
        await con.deployments.create(nothing, "mine")
        await con.deployments.create(nothing, "dry", validate_only=True)
        await con.deployments.update("mine", DeploymentSpec(description="x"))
        for call in (
            con.deployments.update("admins", DeploymentSpec(description="x")), con.deployments.delete("admins"),
            con.deployments.scale("admins", 0), con.deployments.undelete("dry"),
        ):  # fmt: skip
            with pytest.raises(PermissionDenied, match="another user owns"):
                await call
        await con.deployments.delete("mine")
        await con.deployments.undelete("mine")
        assert {d.id for d in await con.deployments.list()} == {"admins", "mine"}


async def test_a_new_user_of_a_deleted_ones_id_owns_nothing_of_theirs(own: Home, admin: Client) -> None:
    nothing = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0)
    async with own.client(await own.person("ada", "contributor")) as ada:
        await ada.deployments.create(nothing, "hers")
        await ada.deployments.create(nothing, "gone")
        await ada.deployments.delete("gone")
        await ada.secrets.create("HERS", VALUE)
    await admin.users.delete("ada")
    async with own.client(await own.person("ada", "contributor")) as another:
        for call in (
            another.deployments.delete("hers"), another.deployments.undelete("gone"), another.secrets.delete("HERS"),
        ):  # fmt: skip
            with pytest.raises(PermissionDenied, match="another user owns"):
                await call
        await another.deployments.create(nothing, "own")
        await another.deployments.delete("own")
    async with own.client(await own.person("uma", "user")) as user:
        await user.deployments.undelete("gone")
        await user.deployments.delete("hers")
        await user.secrets.delete("HERS")


async def test_quotas_are_listed_with_what_is_used_and_set_up_to_their_maximum(admin: Client) -> None:
    before = {q.id: q for q in await admin.quotas.list()}
    assert set(before) == {
        "requests-per-minute", "prompt-tokens-per-minute", "cache-adjusted-prompt-tokens-per-minute",
        "generated-tokens-per-minute", "concurrent-requests", "deployment-count", "replica-count",
        "gpu-hours-per-month", "monthly-spend-usd",
    }  # fmt: skip
    assert all(q.value == q.max_value and q.usage == 0 for q in before.values())
    changed = await admin.quotas.update("replica-count", 4)
    assert (changed.value, changed.max_value) == ("4", before["replica-count"].max_value)
    assert changed.update_time is not None
    with pytest.raises(InvalidArgument, match="more than maxValue"):
        await admin.quotas.update("replica-count", int(changed.max_value or 0) + 1)
    with pytest.raises(NotFound):
        await admin.quotas.get("gpu-hours")


@pytest.mark.parametrize("quota", ["replica-count", "monthly-spend-usd", "requests-per-minute"])
async def test_a_quota_is_rehearsed_set_and_taken_away_again(own: Home, admin: Client, quota: str) -> None:
    whole = await admin.quotas.get(quota)
    with pytest.raises(NotFound, match="is not set"):
        await admin.quotas.delete(quota)
    assert (await admin.quotas.update(quota, 3, validate_only=True)).value == "3"
    with pytest.raises(InvalidArgument, match="more than maxValue"):
        await admin.quotas.update(quota, 10**18 - 1, validate_only=True)
    assert await admin.quotas.get(quota) == whole, "nothing was changed"
    await admin.quotas.update(quota, 3)
    await admin.quotas.delete(quota, validate_only=True)
    assert (await admin.quotas.get(quota)).value == "3"
    await admin.quotas.delete(quota)
    assert await admin.quotas.get(quota) == whole
    assert await own.engine.house.access.records.quotas() == []
    with pytest.raises(NotFound, match="is not set"):
        await admin.quotas.delete(quota, validate_only=True)


async def test_deployments_and_replicas_beyond_the_quota_are_refused_with_the_numbers(admin: Client) -> None:
    await admin.quotas.update("deployment-count", 2)
    await admin.quotas.update("replica-count", 3)
    two = DeploymentSpec(base_model=SMOLLM2, min_replica_count=0, max_replica_count=0)
    await admin.deployments.create(two, "a")
    await admin.deployments.create(two, "b")
    for dry in (True, False):
        with pytest.raises(ResourceExhausted, match=r"deployment-count .* is 2: 2 are used"):
            await admin.deployments.create(two, "c", validate_only=dry)
    with pytest.raises(ResourceExhausted, match=r"replica-count .* is 3: 0 are used elsewhere, 4 asked for"):
        await admin.deployments.update("a", DeploymentSpec(max_replica_count=4), validate_only=True)
    await admin.deployments.delete("b")
    await admin.deployments.create(two, "c")
    with pytest.raises(ResourceExhausted):
        await admin.deployments.undelete("b")
    assert (await admin.quotas.get("deployment-count")).usage == 2


@pytest.mark.parametrize("value", [5, "5", 5.0])
async def test_a_quotas_value_is_a_text_or_a_number_and_comes_back_as_text(own: Home, value: object) -> None:
    async with own.http(own.admin_key) as http:
        answer = await http.patch("/v1/accounts/local/quotas/replica-count", json={"value": value})
    assert answer.json()["value"] == "5", answer.text


async def test_a_create_that_a_quota_refuses_is_not_repeated_by_the_sdk(own: Home, admin: Client) -> None:
    await admin.quotas.update("deployment-count", 0)
    async with own.http(own.admin_key) as http:
        answer = await http.post("/v1/accounts/local/deployments", json=DeploymentSpec(base_model=SMOLLM2).to_wire())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")


async def test_no_crowd_gets_more_than_the_quota_together(admin: Client) -> None:
    await admin.quotas.update("deployment-count", 3)
    await admin.quotas.update("replica-count", 5)
    spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=0, max_replica_count=1)
    made = await asyncio.gather(*(admin.deployments.create(spec) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(one, ResourceExhausted) for one in made) == 9
    changes = DeploymentSpec(max_replica_count=3)
    living = await admin.deployments.list()
    changed = await asyncio.gather(
        *(admin.deployments.update(one.id, changes) for one in living), return_exceptions=True
    )
    assert sum(isinstance(one, ResourceExhausted) for one in changed) == 2
    for one in living:
        await admin.deployments.delete(one.id)
    back = await asyncio.gather(*(admin.deployments.undelete(one.id) for one in living), return_exceptions=True)
    assert not any(isinstance(one, BaseException) for one in back)
    assert float((await admin.quotas.get("replica-count")).usage or 0) == 5


RATE_LIMIT = ("limit-requests", "remaining-requests", "over-limit")


async def test_requests_beyond_the_quota_are_refused_with_429_and_a_time_to_wait(own: Home, admin: Client) -> None:
    own.engine.house.access.quotas._now = lambda: 1000.0  # all in one minute
    await admin.quotas.update("requests-per-minute", 3)
    statuses, left = [], []
    async with own.http(own.admin_key) as http, own.http(await own.stranger()) as other:
        for _ in range(5):
            answer = await http.post("/v1/chat/completions", json={"model": "nothing"})
            statuses.append(answer.status_code)
            left.append([answer.headers.get(f"x-ratelimit-{name}") for name in RATE_LIMIT])
        assert statuses == [404, 404, 404, 429, 429]
        assert left == [["3", rest, over] for rest, over in zip("21000", ["no"] * 3 + ["yes"] * 2, strict=True)]
        assert answer.json()["error"]["code"] == "RESOURCE_EXHAUSTED"
        assert int(answer.headers["retry-after"]) >= 1
        free = await other.post("/v1/chat/completions", json={"model": "nothing"})
        assert free.status_code == 404
        assert not [name for name in free.headers if name.startswith("x-ratelimit-")], "nothing is limited there"
    assert (await admin.quotas.get("requests-per-minute")).usage == 3


async def test_who_is_over_the_quota_is_told_when_a_request_fits_again(own: Home, admin: Client) -> None:
    now = 1000.0
    own.engine.gateway.admission.now = lambda: now
    await admin.quotas.update("requests-per-minute", 2)
    async with own.http(own.admin_key) as http:

        async def ask() -> tuple[int, str | None]:
            answer = await http.post("/v1/chat/completions", json={"model": "nothing"})
            return answer.status_code, answer.headers.get("retry-after")

        assert await ask() == (404, None)
        now = 1030.5
        assert await ask() == (404, None)
        now = 1031.25
        assert await ask() == (429, "29")
        now = 1059.5
        assert await ask() == (429, "1")
        now = 1060.0
        assert await ask() == (404, None)
        assert await ask() == (429, "31")


async def test_an_update_takes_over_just_what_its_mask_names(own: Home, admin: Client) -> None:
    await admin.secrets.create("MINE", VALUE)
    both = {"keyName": "THEIRS", "value": "another"}
    async with own.http(own.admin_key) as http:
        for mask, key_name, value in (("value", "MINE", "another"), ("key_name", "THEIRS", "another")):
            path = f"/v1/accounts/local/secrets/mine?updateMask={mask}"
            assert (await http.patch(path, json=both)).json()["keyName"] == key_name
            assert own.engine.house.access.vault.reveal("local", "mine") == value
        path = "/v1/accounts/local/quotas/replica-count?updateMask="
        assert (await http.patch(path + "value", json={"value": "9", "usage": 1})).json()["value"] == "9"
        for mask in ("nonsense", "usage"):
            assert (await http.patch(path + mask, json={"value": "8"})).status_code == 400
    assert (await admin.quotas.get("replica-count")).value == "9"


async def test_quotas_and_secrets_survive_a_restart(tmp_path) -> None:
    async with home(tmp_path) as first, first.client() as admin:
        await admin.quotas.update("replica-count", 7)
        await admin.secrets.create("A", VALUE)
    async with home(tmp_path) as second, second.client() as admin:
        assert (await admin.quotas.get("replica-count")).value == "7"
        assert second.engine.house.access.vault.reveal("local", "a") == VALUE


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "users?userId=a", {"role": "user", "nonsense": 1}, "nonsense"),
        ("POST", "users?userId=a", {"role": 5}, "role"),
        ("POST", "users?userId=a", {"role": "user", "displayName": "x" * 64}, "displayName"),
        ("POST", "users?userId=a", [], None),
        ("PATCH", "users/admin?updateMask=name", {"role": "admin"}, "updateMask"),
        ("POST", "users/admin/apiKeys", {}, "apiKey"),
        ("POST", "users/admin/apiKeys", {"apiKey": {"expireTime": "soon"}}, "apiKey.expireTime"),
        ("POST", "users/admin/apiKeys:delete", {}, "keyId"),
        ("POST", "secrets", {"name": "A", "keyName": "A"}, "value"),
        ("POST", "secrets", {"name": "accounts/other/secrets/a", "keyName": "A", "value": "v"}, "name"),
        ("PATCH", "quotas/replica-count", {}, "value"),
        ("PATCH", "quotas/replica-count", {"value": "-1"}, "value"),
        ("PATCH", "quotas/monthly-spend-usd", {"value": "0.2"}, "value"),
        ("PATCH", "quotas/monthly-spend-usd", {"value": 0.2}, "value"),
        ("PATCH", "quotas/replica-count?updateMask=value", {}, "value"),
        ("PATCH", "quotas/replica-count", {"value": "1", "maxValue": "5"}, "maxValue"),
        ("GET", "auditLogs?filter=nonsense%3D1", None, "filter"),
        ("GET", "auditLogs?orderBy=principal", None, "orderBy"),
        ("GET", "auditLogs?startTime=yesterday", None, "startTime"),
        ("GET", "auditLogs?startTime=", None, "startTime"), ("GET", "auditLogs?endTime=", None, "endTime"),
        ("GET", "auditLogs?pageToken=-1", None, "pageToken"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_400_naming_the_field(own: Home, method, path, body, field) -> None:
    async with own.http(own.admin_key) as http:
        answer = await http.request(method, f"/v1/accounts/local/{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert field_of(answer) == (field or None)
