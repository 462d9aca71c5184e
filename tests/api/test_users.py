"""Users and API keys through the typed client, on a whole engine without replicas."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from client.access_types import ADMIN, CONTRIBUTOR, UserSpec
from client.config import Context
from client.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from client.resources import Client
from engine import keys as keys_room
from tests.house import Home, home, served
from tests.processes import PATIENCE_S

VALUE = "canary-8f1c-never-to-be-seen"


async def test_the_engine_begins_with_one_admin_whose_key_lies_in_the_folder(own: Home, admin: Client) -> None:
    [first] = await admin.users.list()
    assert (first.name, first.role, first.service_account) == ("accounts/local/users/admin", ADMIN, False)
    who = await admin.users.whoami()
    assert (who.account, who.user, who.role, who.key_id) == ("local", "admin", "admin", "admin")
    [key] = await admin.api_keys.list("admin")
    assert (key.key_id, key.key, own.admin_key.startswith(key.prefix)) == ("admin", None, True)


async def test_a_user_is_made_from_an_email_with_the_role_user_and_is_found_again(admin: Client) -> None:
    made = await admin.users.create(UserSpec(email="Ada.Lovelace@example.com", display_name="Ada"))
    assert (made.id, made.role, made.state) == ("ada-lovelace", "user", "READY")
    assert await admin.users.get("ada-lovelace") == made == await admin.users.get(made.name)
    assert [u.id for u in await admin.users.list(filter='email="Ada.Lovelace@example.com"')] == ["ada-lovelace"]


async def test_lists_and_single_resources_of_access_show_just_the_fields_of_a_read_mask(own: Home) -> None:
    async with own.http(own.admin_key) as http:
        for path, mask, field, item in (
            ("users", "name,role", "users", {"name": "accounts/local/users/admin", "role": "admin"}),
            ("users/admin/apiKeys", "keyId", "apiKeys", {"keyId": "admin"}),
            ("quotas", "max_value", "quotas", {"maxValue": "1000000000"}),
            ("auditLogs", "message,status.code", "auditLogs", {"message": "ListQuotas", "status": {"code": "OK"}}),
        ):
            answer = await http.get(f"/v1/accounts/local/{path}", params={"readMask": mask})
            assert answer.json()[field][0] == item
        one = await http.get("/v1/accounts/local/users/admin", params={"readMask": "role"})
        assert one.json() == {"role": "admin"}
        assert (await http.get("/v1/accounts/local/users", params={"readMask": "nonsense"})).status_code == 400


async def test_a_service_account_has_a_flag_an_id_and_an_address_of_its_own(admin: Client) -> None:
    made = await admin.users.create(UserSpec(service_account=True, role=CONTRIBUTOR), "ci-bot")
    assert (made.email, made.service_account) == ("ci-bot@local.sa.fireworks.ai", True)
    assert [u.id for u in await admin.users.list(filter="serviceAccount=true")] == ["ci-bot"]
    with pytest.raises(InvalidArgument, match="userId"):
        await admin.users.create(UserSpec(service_account=True, email="x@example.com"))
    for change in (UserSpec(service_account=False), UserSpec(email="other@example.com")):
        with pytest.raises(InvalidArgument):
            await admin.users.update("ci-bot", change)


@pytest.mark.parametrize(
    ("spec", "user_id", "field"),
    [
        (UserSpec(role="root"), "a", "role"), (UserSpec(), None, "userId"), (UserSpec(), "Not-An-Id", "userId"),
        (UserSpec(email="nonsense"), "a", "email"), (UserSpec(email="@@@"), None, "userId"),
    ],
)  # fmt: skip
async def test_a_user_that_cannot_be_is_refused_by_field(admin: Client, spec, user_id, field) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.users.create(spec, user_id)
    assert refused.value.field == field


async def test_what_would_become_of_a_user_is_told_and_nothing_is_changed(own: Home, admin: Client) -> None:
    planned = await admin.users.create(UserSpec(email="ada@example.com"), validate_only=True)
    assert (planned.id, planned.role) == ("ada", "user")
    with pytest.raises(NotFound):
        await admin.users.get("ada")
    key = await own.person("ada", "user")
    with pytest.raises(AlreadyExists):
        await admin.users.create(UserSpec(role="user"), "ada", validate_only=True)
    assert (await admin.users.update("ada", UserSpec(role="admin"), validate_only=True)).role == "admin"
    await admin.users.delete("ada", validate_only=True)
    with pytest.raises(FailedPrecondition):
        await admin.users.delete("admin", validate_only=True)
    async with own.client(key) as ada:
        assert (await ada.users.whoami()).role == "user"


async def test_ids_and_emails_are_given_once(admin: Client) -> None:
    await admin.users.create(UserSpec(email="a@example.com"), "a")
    with pytest.raises(AlreadyExists):
        await admin.users.create(UserSpec(), "a")
    with pytest.raises(AlreadyExists, match="email"):
        await admin.users.create(UserSpec(email="a@example.com"), "b")


async def test_a_new_role_holds_at_once_for_keys_that_are_out_already(own: Home, admin: Client) -> None:
    async with own.client(await own.person("eve", "inference-user")) as eve:
        with pytest.raises(PermissionDenied, match="contributor"):
            await eve.secrets.create("MINE", VALUE)
        await admin.users.update("eve", UserSpec(role=CONTRIBUTOR))
        await eve.secrets.create("MINE", VALUE)
        await admin.users.update("eve", UserSpec(role="inference-user"))
        with pytest.raises(PermissionDenied):
            await eve.secrets.delete("MINE")


async def test_a_service_account_is_told_that_its_keys_are_made_by_admins(own: Home, admin: Client) -> None:
    await admin.users.create(UserSpec(service_account=True, role=CONTRIBUTOR), "ci-bot")
    async with own.client(await own.person("ci-bot", CONTRIBUTOR)) as bot:
        with pytest.raises(PermissionDenied) as refused:
            await bot.api_keys.create("ci-bot")
    told = refused.value
    assert "CreateApiKey for the service account 'ci-bot' needs the role admin" in told.message
    assert "keys of service accounts are made and deleted by admins" in told.text
    assert "--role" not in told.text
    async with own.client(await own.person("ci-bot", CONTRIBUTOR)) as bot:
        with pytest.raises(PermissionDenied) as refused:
            await bot.users.update("ci-bot", UserSpec(display_name="x"))
    assert ("UpdateUser" in refused.value.text, "keys of" in refused.value.text) == (True, False)


async def test_nobody_is_advised_to_be_made_an_admin(own: Home, admin: Client) -> None:
    await admin.users.create(UserSpec(role="user"), "other")
    async with own.client(await own.person("eve", "user")) as eve:
        for call in (eve.users.create(UserSpec(), "new"), eve.api_keys.create("other"), eve.users.delete("other")):
            with pytest.raises(PermissionDenied, match="needs the role admin") as refused:
                await call
            assert "ask an admin to do it" in refused.value.text
            assert "--role" not in refused.value.text


async def test_with_a_user_go_their_keys_and_stays_what_they_made(own: Home, admin: Client) -> None:
    async with own.client(await own.person("eve", "contributor")) as eve:
        await eve.secrets.create("MINE", VALUE)
        await admin.users.delete("eve")
        with pytest.raises(Unauthenticated, match="revoked"):
            await eve.users.whoami()
    with pytest.raises(NotFound):
        await admin.users.get("eve")
    assert [s.key_name for s in await admin.secrets.list()] == ["MINE"]


async def test_the_engines_own_admin_can_be_neither_deleted_nor_lowered(own: Home, admin: Client) -> None:
    with pytest.raises(FailedPrecondition):
        await admin.users.delete("admin")
    with pytest.raises(FailedPrecondition):
        await admin.users.update("admin", UserSpec(role="user"))
    with pytest.raises(FailedPrecondition, match=re.escape(str(own.data_dir / "admin.key"))):
        await admin.api_keys.delete("admin", "admin")


async def test_a_key_is_shown_once_and_known_by_prefix_and_id_afterwards(admin: Client) -> None:
    await admin.users.create(UserSpec(email="a@example.com"), "a")
    made = await admin.api_keys.create("a", "laptop")
    assert made.key is not None
    assert len(made.key) >= 43
    assert made.key not in repr(made)
    [listed] = await admin.api_keys.list("a")
    assert listed.key is None
    assert (listed.key_id, listed.display_name, listed.email) == (made.key_id, "laptop", "a@example.com")
    assert made.key.startswith(listed.prefix)
    assert len(listed.prefix) == 8


async def test_a_key_ends_at_its_time_and_one_that_has_ended_cannot_be_made(own: Home, admin: Client) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    async with own.client(await own.person("eve", "user", expire_time=later)) as eve:
        [listed] = await eve.api_keys.list("eve")
        assert listed.expire_time is not None
        assert abs(listed.expire_time - later) < timedelta(seconds=1)
        [record] = own.engine.house.keyring.of("local", "eve")
        own.engine.house.keyring.take([replace(record, expire_time=datetime.now(UTC).isoformat())])
        with pytest.raises(Unauthenticated, match="expired"):
            await eve.users.whoami()
    with pytest.raises(InvalidArgument) as refused:
        await admin.api_keys.create("eve", expire_time=datetime.now(UTC))
    assert refused.value.field == "apiKey.expireTime"


async def test_everyone_makes_lists_and_deletes_keys_of_their_own_and_only_admins_others(own: Home) -> None:
    async with own.client(await own.person("eve", "inference-user")) as eve:
        second = await eve.api_keys.create("eve")
        assert len(await eve.api_keys.list("eve")) == 2
        await eve.api_keys.delete("eve", second.key_id)
        for call in (eve.api_keys.create("admin"), eve.api_keys.list("admin"), eve.api_keys.delete("admin", "admin")):
            with pytest.raises(PermissionDenied, match="what another user owns"):
                await call
        async with own.client(second.key) as gone:
            with pytest.raises(Unauthenticated, match="revoked"):
                await gone.users.whoami()


async def test_the_keys_of_a_service_account_are_the_admins_alone(own: Home, admin: Client) -> None:
    await admin.users.create(UserSpec(service_account=True), "bot")
    made = await admin.api_keys.create("bot")
    async with own.client(made.key) as bot:
        for call in (bot.api_keys.create("bot"), bot.api_keys.list("bot"), bot.api_keys.delete("bot", made.key_id)):
            with pytest.raises(PermissionDenied, match="role admin"):
                await call


async def test_a_key_of_somebody_else_is_not_deleted_under_ones_own_name(own: Home, admin: Client) -> None:
    await own.person("a", "user")
    [key] = await admin.api_keys.list("a")
    async with own.client(await own.person("eve", "user")) as eve:
        with pytest.raises(NotFound):
            await eve.api_keys.delete("eve", key.key_id)
    assert await admin.api_keys.list("a") == [key]


async def test_of_many_who_make_the_same_at_once_one_succeeds(admin: Client) -> None:
    for made in (
        [admin.users.create(UserSpec(), "same") for _ in range(10)],
        [admin.secrets.create("SAME", VALUE) for _ in range(10)],
    ):
        outcomes = await asyncio.gather(*made, return_exceptions=True)
        assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 9


async def test_keys_made_and_revoked_while_a_role_changes_have_the_new_role_and_stay_revoked(
    own: Home, admin: Client
) -> None:
    await own.person("eve", ADMIN)
    [old] = await admin.api_keys.list("eve")
    await asyncio.gather(
        *(admin.api_keys.create("eve") for _ in range(5)), admin.users.update("eve", UserSpec(role="inference-user")),
        *(admin.api_keys.create("eve") for _ in range(5)), admin.api_keys.delete("eve", old.key_id),
        admin.users.update("eve", UserSpec(display_name="Eve")),
    )  # fmt: skip
    records = own.engine.house.keyring.of("local", "eve")
    assert len(records) == 10
    assert {record.role for record in records} == {"inference-user"}


async def test_a_stream_of_snapshots_ends_with_the_key_that_asked_for_it(tmp_path) -> None:
    async with served(tmp_path / "data") as (url, at):
        key = await at.person("eve", "inference-user")
        async with Client(Context(url, key)) as eve, at.client() as admin, asyncio.timeout(PATIENCE_S):
            seen = 0
            async for _ in eve.fleet.watch(0.2):
                seen += 1
                if seen == 1:
                    await admin.users.delete("eve")
        assert seen >= 1


async def test_a_user_has_only_so_many_keys(own: Home, admin: Client, monkeypatch) -> None:
    monkeypatch.setattr(keys_room, "KEYS_PER_USER_MAX", 2)
    await admin.api_keys.create("admin")
    with pytest.raises(ResourceExhausted, match="2 keys"):
        await admin.api_keys.create("admin")


async def test_users_keys_and_refusals_survive_a_restart(tmp_path) -> None:
    async with home(tmp_path) as first:
        stays, gone = await first.person("eve", "contributor"), await first.person("eve", "contributor")
        async with first.client() as admin:
            await admin.api_keys.delete(
                "eve", next(k.key_id for k in await admin.api_keys.list("eve") if gone.startswith(k.prefix))
            )
            await admin.users.update("eve", UserSpec(role="user"))
    async with home(tmp_path) as second, second.client(stays) as eve, second.client(gone) as refused:
        assert (await eve.users.whoami()).role == "user"
        with pytest.raises(Unauthenticated, match="revoked"):
            await refused.users.whoami()
