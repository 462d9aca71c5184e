"""Every read and change of the control plane is in the audit log: who, what, on what, with what outcome, when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.access_types import UserSpec
from client.cli.audit import _row
from client.errors import AlreadyExists, InvalidArgument, PermissionDenied
from client.resources import Client
from client.types import DeploymentSpec
from engine.store.access import AuditQuery
from engine.telemetry.audit import CHANGES, READS
from tests.house import Home, home
from tests.processes import SMOLLM2

SPEC = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0)


async def test_changes_reads_and_refusals_are_recorded_with_who_what_and_outcome(own: Home, admin: Client) -> None:
    key = await own.person("eve", "inference-user")
    await admin.users.update("eve", UserSpec(email="eve@example.com"))
    async with own.client(key) as eve:
        await eve.deployments.list()
        with pytest.raises(PermissionDenied):
            await eve.deployments.create(SPEC, "nope")
    await admin.deployments.create(SPEC, "chat")
    with pytest.raises(AlreadyExists):
        await admin.deployments.create(SPEC, "chat")
    made = await admin.deployments.create(SPEC)
    await admin.deployments.scale("chat", 0)
    seen = [
        (e.principal, e.method, e.message, e.resource, e.status.code if e.status else None)
        for e in await admin.audit_logs.list(order_by="timestamp")
    ]
    deployments = "accounts/local/deployments"
    assert seen[-6:] == [
        ("eve@example.com", "GET", "ListDeployments", deployments, "OK"),
        ("eve@example.com", "POST", "CreateDeployment", deployments, "PERMISSION_DENIED"),
        ("admin", "POST", "CreateDeployment", f"{deployments}/chat", "OK"),
        ("admin", "POST", "CreateDeployment", deployments, "ALREADY_EXISTS"),
        ("admin", "POST", "CreateDeployment", made.name, "OK"),
        ("admin", "PATCH", "ScaleDeployment", f"{deployments}/chat", "OK"),
    ]
    assert ("admin", "POST", "CreateUser", "accounts/local/users/eve", "OK") in seen
    assert ("admin", "POST", "CreateApiKey", "accounts/local/users/eve/apiKeys", "OK") in seen
    newest = (await admin.audit_logs.list(limit=1))[0]
    assert (newest.message, newest.api_key_id, newest.is_admin_action) == ("ListAuditLogs", "admin", True)
    assert newest.timestamp is not None
    assert newest.client_ip == "127.0.0.1"


async def test_what_a_route_does_and_not_its_verb_makes_a_change(own: Home, admin: Client) -> None:
    models = "/v1/accounts/local/models"
    async with own.http(own.admin_key) as http:
        assert (await http.post(models, json={"modelId": "up"})).status_code == 200
        assert (await http.get(f"{models}/up:validateUpload")).status_code == 400
        wanted = {"createDeploymentRequest": {"deployment": {"baseModel": SMOLLM2}}}
        assert (await http.post("/v1/accounts/local/deploymentShapeVersions:match", json=wanted)).status_code == 200
    await admin.audit_logs.list()
    rows = await own.engine.house.access.records.audit_page(
        AuditQuery("local", "", "9999", []), cursor=None, limit=20, newest_first=True
    )
    trails = {row.message: row.trail for row in rows}
    assert trails["CreateModel"] == trails["ValidateModelUpload"] == CHANGES
    assert trails["MatchDeploymentShapeVersions"] == READS


async def test_a_dry_run_is_told_as_one_and_never_as_the_change_that_it_was_not(own: Home, admin: Client) -> None:
    await admin.deployments.create(SPEC, "chat")
    one = "/v1/accounts/local/deployments/chat"
    async with own.http(own.admin_key) as http:
        for method, url, body in (
            ("POST", "/v1/accounts/local/deployments?deploymentId=new&dryRun=true", SPEC.to_wire()),
            ("PATCH", f"{one}?validate_only=true", {"description": "x"}),
            ("DELETE", f"{one}?validateOnly=true", None),
        ):
            assert (await http.request(method, url, json=body)).status_code == 200
    assert len(await admin.audit_logs.list(filter="message:DryRun AND status.code=OK")) == 3
    changes = ("CreateDeployment", "UpdateDeployment", "DeleteDeployment")
    told = {change: len(await admin.audit_logs.list(filter=f"message={change}")) for change in changes}
    assert told == {"CreateDeployment": 1, "UpdateDeployment": 0, "DeleteDeployment": 0}
    assert [d.id for d in await admin.deployments.list()] == ["chat"]


@pytest.mark.parametrize("switch", ["validateOnly=true", "dryRun=true", "dryRun=1"])
async def test_what_was_only_asked_for_belongs_to_nobody(own: Home, switch: str) -> None:
    path = f"/v1/accounts/local/deployments?deploymentId=chat&{switch}"
    async with own.http(own.admin_key) as http:
        answer = await http.post(path, json={"baseModel": SMOLLM2, "maxReplicaCount": 0})
    assert answer.json()["name"] == "accounts/local/deployments/chat"
    assert await own.engine.house.access.records.owner_of("accounts/local/deployments/chat") is None


async def test_service_accounts_stand_there_under_their_own_address(own: Home, admin: Client) -> None:
    await admin.users.create(UserSpec(service_account=True), "ci-bot")
    async with own.client((await admin.api_keys.create("ci-bot")).key) as bot:
        await bot.deployments.create(SPEC, "chat")
    [found] = await admin.audit_logs.list(filter='email="ci-bot@local.sa.fireworks.ai"')
    assert found.message == "CreateDeployment"
    assert (await admin.deployments.get("chat")).created_by == "ci-bot"
    by_id = await admin.audit_logs.list(filter="principal=ci-bot")
    assert [(e.id, e.principal) for e in by_id] == [(found.id, "ci-bot@local.sa.fireworks.ai")]
    others = await admin.audit_logs.list(filter="principal!=ci-bot")
    assert {e.principal for e in others} == {"admin"}


@pytest.mark.parametrize(
    ("filter_text", "expected"),
    [
        ('message="CreateDeployment"', 3), ('message="CreateDeployment" AND resource:"PAGE-2"', 1),
        ('resource="accounts/local/deployments/page-1"', 2), ("message:Create AND status.code=OK", 3),
        ('method="GET"', 1), ("message!=CreateDeployment AND method!=GET AND principal=admin", 1),
        ("principal=nobody", 0), ("apiKeyId=admin AND method=PATCH", 1), ('resource:"%"', 0),
    ],
)  # fmt: skip
async def test_filters_pick_just_what_they_say(own: Home, admin: Client, filter_text, expected) -> None:
    for number in range(3):
        await admin.deployments.create(SPEC, f"page-{number}")
    await admin.deployments.scale("page-1", 0)
    await admin.deployments.get("page-2")
    assert len(await admin.audit_logs.list(filter=filter_text)) == expected


async def test_an_unknown_field_is_refused_with_those_that_are_known_each_once(own: Home, admin: Client) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.audit_logs.list(filter="nonsense=1")
    known = "known: principal, email, method, message, resource, status.code, apiKeyId, clientIp"
    assert known in refused.value.text
    assert await admin.audit_logs.list(filter="api_key_id=admin AND client_ip=127.0.0.1")


@pytest.mark.parametrize("text", ['message="A" OR message="B"', 'NOT message="A"', 'method=GET AND (message="A")'])
async def test_a_filter_with_more_than_and_is_told_that_only_and_is_supported(admin: Client, text: str) -> None:
    with pytest.raises(InvalidArgument, match="only AND is supported"):
        await admin.audit_logs.list(filter=text)


async def test_pages_follow_each_other_without_gap_or_repeat_while_more_is_written(own: Home, admin: Client) -> None:
    for number in range(7):
        await admin.deployments.create(SPEC, f"d{number}")
    async with own.http(own.admin_key) as http:
        for order in ("timestamp desc", "timestamp"):
            seen, token = [], ""
            while True:
                query = {"pageSize": 3, "pageToken": token, "orderBy": order, "filter": "message=CreateDeployment"}
                page = (await http.get("/v1/accounts/local/auditLogs", params=query)).json()
                assert page["totalSize"] == 7
                seen += [entry["resource"][-2:] for entry in page["auditLogs"]]
                token = page["nextPageToken"]
                if not token:
                    break
                await http.get("/v1/accounts")  # writes one more record meanwhile
            expected = [f"d{number}" for number in range(7)]
            assert seen == (expected if order == "timestamp" else expected[::-1])


async def test_a_span_of_time_has_what_lies_in_it(admin: Client) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await admin.deployments.create(SPEC, "chat")
    after = datetime.now(UTC) + timedelta(seconds=1)
    only = "message=CreateDeployment"
    assert len(await admin.audit_logs.list(filter=only, start=before, end=after)) == 1
    assert await admin.audit_logs.list(filter=only, end=before) == []
    assert await admin.audit_logs.list(filter=only, start=after) == []


async def test_bad_keys_on_an_account_are_recorded_without_them_and_cannot_fill_the_log(
    own: Home, admin: Client, monkeypatch
) -> None:
    monkeypatch.setattr(own.engine.house.keyring._misses, "_now", lambda: 30.0)  # all in one minute
    async with own.http("fd_" + "canary" * 8, "192.0.2.7") as thief:
        for _ in range(200):
            await thief.get("/v1/accounts/local/deployments")
            await thief.get("/v1/accounts/nowhere/deployments")
    found = await admin.audit_logs.list(filter='clientIp="192.0.2.7"', limit=1000)
    assert 0 < len(found) <= 60
    assert {(e.principal, e.status.code if e.status else "") for e in found} == {("", "UNAUTHENTICATED")}


async def test_one_account_does_not_see_anothers_records(own: Home, admin: Client) -> None:
    async with own.client(await own.stranger()) as stranger:
        await stranger.users.whoami()
        stranger.audit_logs._account = "elsewhere"
        assert {e.message for e in await stranger.audit_logs.list()} == {"WhoAmI"}
    assert "WhoAmI" not in {e.message for e in await admin.audit_logs.list()}


async def test_a_change_is_recorded_before_it_is_acknowledged_and_survives_a_restart(tmp_path) -> None:
    async with home(tmp_path) as first, first.client() as admin:
        await admin.deployments.create(SPEC, "chat")
        audit = first.engine.house.access.audit
        assert not [seen for seen, _ in audit._waiting if seen.change]
    async with home(tmp_path) as second, second.client() as admin:
        assert len(await admin.audit_logs.list(filter="message=CreateDeployment")) == 1
        verification = await admin.audit_logs.verify()
        assert verification.valid
        assert verification.checked >= 2


async def test_while_the_disk_is_full_answers_go_out_and_records_wait(own: Home, admin: Client) -> None:
    store = own.engine._store
    await store._run(store._db.execute, "PRAGMA query_only = ON")
    await admin.deployments.list()
    await store._run(store._db.execute, "PRAGMA query_only = OFF")
    assert "ListDeployments" in {e.message for e in await admin.audit_logs.list()}


async def test_an_open_dashboard_is_a_few_records_with_the_whole_number_and_a_trail_that_holds(tmp_path) -> None:
    polled = {"ListDeployments": 60, "GetDeployment": 40}
    async with home(tmp_path) as first, first.client() as admin:
        await admin.deployments.create(SPEC, "chat")
        for _ in range(polled["ListDeployments"]):
            await admin.deployments.list()
        for _ in range(polled["GetDeployment"]):
            await admin.deployments.get("chat")
    async with home(tmp_path) as second, second.client() as admin:  # what was not yet summed up is, at the end
        for message, asked in polled.items():
            found = await admin.audit_logs.list(filter=f"message={message}", order_by="timestamp")
            told = [e.status.message if e.status else "" for e in found]
            assert sum(int(text.split()[0]) if " more in " in text else 1 for text in told) == asked
            assert len(told) < 10
            assert {(e.principal, e.resource, e.api_key_id) for e in found} == {("admin", found[0].resource, "admin")}
        assert (await admin.audit_logs.verify()).valid
        assert any(" more in " in cell for e in found for cell in _row(e)), "as `firedeck audit-logs list` shows it"
