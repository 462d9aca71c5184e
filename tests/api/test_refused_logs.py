"""Who is turned away at a real engine stands in its audit log: at the door and for the key, on both planes."""

from __future__ import annotations

from dataclasses import replace

from client.access_types import AuditLogEntry
from client.resources import Client
from engine.keys import EXPIRED_KEY, NO_KEY, REVOKED_KEY, WRONG_KEY
from engine.store.access import AuditQuery
from engine.telemetry.audit import REFUSALS
from tests.house import Home, home
from tui.sources.engine import EngineSource

CONTROL, INFERENCE = "/v1/accounts/local/deployments", "/inference/v1/models"
THIEF = "192.0.2.7"


async def refused(admin: Client) -> list[AuditLogEntry]:
    return await admin.audit_logs.list(filter="message:Refuse", order_by="timestamp")


async def test_the_door_and_the_keys_of_both_planes_are_in_the_log_without_what_was_sent(
    own: Home, admin: Client
) -> None:
    canary = "c4n4ry" * 6
    for path in (CONTROL, INFERENCE):
        async with own.http(canary, THIEF) as thief:
            assert (await thief.get(path)).status_code == 401
            assert (await thief.get(path, headers={"host": f"{canary}.example"})).status_code == 403
            assert (await thief.get(path, headers={"origin": f"https://{canary}.example"})).status_code == 403
            form = {"content-type": "application/x-www-form-urlencoded"}
            assert (await thief.post(path, headers=form, content=canary)).status_code == 415
        async with own.http(None, THIEF) as nobody:
            assert (await nobody.get(f"{path}?key={canary}")).status_code == 401
            put = await nobody.put(f"/firedeck/v1/files/{canary}", headers={"origin": "null"})
            assert put.status_code == 403
    found = await refused(admin)
    codes = {(e.message, e.status.code if e.status else "") for e in found}
    assert codes == {
        ("RefuseHost", "PERMISSION_DENIED"), ("RefuseOrigin", "PERMISSION_DENIED"),
        ("RefuseContentType", "UNSUPPORTED_MEDIA_TYPE"), (NO_KEY, "UNAUTHENTICATED"), (WRONG_KEY, "UNAUTHENTICATED"),
    }  # fmt: skip
    assert {(e.client_ip, e.principal) for e in found} == {(THIEF, "")}
    assert canary not in str(found)


async def test_a_key_that_was_good_is_named_by_its_id_and_told_to_its_own_account(own: Home, admin: Client) -> None:
    expired, revoked = await own.person("ada", "user"), await own.person("eve", "user")
    keyring = own.engine.house.keyring
    [old], [known] = keyring.of("local", "ada"), await admin.api_keys.list("eve")
    keyring.take([replace(old, expire_time=old.create_time)])
    await admin.api_keys.delete("eve", known.key_id)
    for key in (expired, revoked):
        async with own.http(key) as http:
            assert (await http.get(INFERENCE)).status_code == 401
    ids = {(e.message, e.api_key_id) for e in await refused(admin)}
    assert ids == {(EXPIRED_KEY, old.id), (REVOKED_KEY, known.key_id)}


async def test_a_flood_is_a_few_records_with_the_whole_number_and_a_trail_that_holds(tmp_path) -> None:
    async with home(tmp_path) as first:
        async with first.http("fd_wrong-0123456789", THIEF) as thief:
            for _ in range(200):
                await thief.get(INFERENCE)
            for _ in range(100):
                await thief.get(CONTROL)
        async with first.client() as admin:
            kept = [e for e in await refused(admin) if e.client_ip == THIEF]
            assert kept[0].message == WRONG_KEY
    async with home(tmp_path) as second, second.client() as admin:  # what was not yet summed up is, at the end
        found = [e.status.message if e.status else "" for e in await refused(admin) if e.client_ip == THIEF]
        rows = await second.engine.house.access.records.audit_page(
            AuditQuery("local", "", "9999", [("message", ":", ["Refuse"])]), cursor=None, limit=50, newest_first=True
        )
        assert {row.trail for row in rows} == {REFUSALS}
        assert (await admin.audit_logs.verify()).valid
    assert sum(int(text.split()[0]) if " more in " in text else 1 for text in found) == 300
    assert len(found) < 30


async def test_one_account_s_log_does_not_tell_who_was_turned_away_from_another(own: Home, admin: Client) -> None:
    stranger = await own.stranger()
    async with own.http("fd_wrong-0123456789", THIEF) as thief:
        await thief.get("/v1/accounts/elsewhere/deployments")
    async with own.client(stranger) as theirs:
        theirs.audit_logs._account = "elsewhere"
        assert [e.message for e in await refused(theirs)] == [WRONG_KEY]
    assert await refused(admin) == []


async def test_the_dashboard_shows_refused_reads_although_it_leaves_reads_out(own: Home, admin: Client) -> None:
    eve = await own.person("eve", "inference-user")
    async with own.http("wrong", THIEF) as thief, own.http(eve) as weak:
        assert (await thief.get(CONTROL)).status_code == 401
        assert (await weak.get("/v1/accounts/local/auditLogs")).status_code == 403
        assert (await weak.get(f"{CONTROL}/none")).status_code == 404
        assert (await weak.get(CONTROL)).status_code == 200
    source = EngineSource.of(admin)
    shown = [(e.message, e.status.code if e.status else "") for e in await source.audit_logs(200, reads=False)]
    assert shown[:2] == [("ListAuditLogs", "PERMISSION_DENIED"), (WRONG_KEY, "UNAUTHENTICATED")]
    assert {code for _, code in shown[2:]} == {"OK"}
    assert not [message for message, _ in shown[2:] if message.startswith(("Get", "List"))]
    newest = await source.audit_logs(1, reads=False)
    assert ([e.message for e in newest], newest.total_size) == (["ListAuditLogs"], len(shown))
