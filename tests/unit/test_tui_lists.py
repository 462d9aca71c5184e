"""The side pages' rows and columns, and what an engine is asked for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from client.access_types import ApiKey, AuditLogEntry, Quota, User
from client.cli import quotas
from client.config import Context
from client.fleet_types import (
    Condition,
    DeploymentStats,
    DeploymentStatus,
    EngineInfo,
    Event,
    FleetSnapshot,
    NodeView,
    QuarantinedRequest,
    ReplicaView,
)
from client.http import Transport
from client.resources import Client
from client.types import Deployment, Status
from tui.core import columns, list_pages, lists, quota_page, units
from tui.core.query import View
from tui.core.snapshot import Picture
from tui.sources.engine import EngineSource
from tui.widgets import replica_table

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAME = "accounts/local/deployments/chat"


def picture(**status) -> Picture:
    deployment = Deployment(name=NAME, state=status.pop("state", "READY"), status=status.pop("status", None))
    found = DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60), **status)
    engine = EngineInfo(version="1", started_at=NOW, pid=1, data_dir="-", cores=2)
    return Picture().seen(FleetSnapshot(time=NOW, engine=engine, deployments=[found]), NOW)


def node(**given) -> NodeView:
    known = {
        "name": "iowa-1", "region": "US_IOWA_1", "device": "gpu", "accelerator_type": "NVIDIA_H100_80GB",
        "accelerators": 8, "free_accelerators": 6, "memory_bytes": 1 << 40, "free_memory_bytes": 1 << 39,
    }  # fmt: skip
    return NodeView(**{**known, **given})


def shown(listing, row):
    return {column.key: column.cell(row) for column in listing.columns}


def test_a_node_shows_its_labels_what_is_taken_and_the_replicas_on_it():
    replicas = [ReplicaView(id="a", stage="READY", node="iowa-1"), ReplicaView(id="b", stage="READY", node="other")]
    (row,) = lists.nodes([node(closed="out of stock", simulated=True)], picture(replicas=replicas))
    cells = shown(list_pages.NODES, row)
    assert (cells["region"], cells["type"], cells["replicas"]) == ("US_IOWA_1", "NVIDIA_H100_80GB", "1")
    assert cells["used"].endswith(" 2/8")
    assert cells["memory"] == "512GiB"
    assert cells["state"] == "✖ closed"
    detail = " ".join(list_pages.NODES.detail(row, NOW))
    assert "SIMULATED" in detail
    assert "out of stock" in detail


def test_counting_the_replicas_of_a_node_does_not_look_at_every_replica_again():
    compared = []

    class Named(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

    names = [Named(f"n{i}") for i in range(100)]
    replicas = [ReplicaView(id=name, stage="READY") for name in names]
    for one, name in zip(replicas, names, strict=True):
        one.node = Named(name)  # past what reads it, which would make a plain one of it
    seen = picture(replicas=[])
    seen.snapshot.deployments[0].replicas += [*replicas, *replicas]
    rows = lists.nodes([node().model_copy(update={"name": name}) for name in names], seen)
    assert [row.replicas for row in rows] == [2] * 100
    assert len(compared) < 1000, "linear in nodes and replicas"


def test_no_condition_does_not_say_that_all_is_done_while_a_deployment_is_being_made():
    assert lists.conditions(picture(state="CREATING"), "local") == ()
    assert list_pages.CONDITIONS.empty == "no condition holds anything back"


def test_what_says_that_there_is_none_is_not_shown_as_a_value():
    (row,) = lists.nodes([node(region="REGION_UNSPECIFIED", accelerator_type=None, accelerators=0)], picture())
    cells = shown(list_pages.NODES, row)
    assert (cells["region"], cells["type"], cells["price"]) == (units.UNKNOWN,) * 3
    assert cells["used"].endswith(" 50%"), "a node without accelerators shows the share of its memory"


def test_conditions_have_stockouts_with_their_next_try_and_failures():
    short = Condition(
        type="CapacityLimited", reason="STOCKOUT", message="no H100", wanted=5, placed=3, since=NOW,
        retry_at=NOW + timedelta(seconds=20),
    )  # fmt: skip
    broken = Status(code="UNAVAILABLE", message="no such file")
    failed, waiting = lists.conditions(picture(state="FAILED", status=broken, conditions=[short]), "local")
    assert (failed.what.reason, failed.what.message) == ("FAILED", "no such file")
    assert shown(list_pages.CONDITIONS, waiting)["placed"] == "3/5"
    assert "next try in 20s" in list_pages.CONDITIONS.detail(waiting, NOW)[0]
    assert waiting.deployment == NAME
    assert lists.conditions(picture(), "local") == ()


def test_a_stopped_roll_out_of_a_deployment_that_serves_is_among_the_conditions():
    stopped = Condition(type="RolloutStopped", reason="ROLLOUT_STOPPED", message="take the change back", since=NOW)
    (row,) = lists.conditions(picture(conditions=[stopped]), "local")
    cells = shown(list_pages.CONDITIONS, row)
    assert (cells["reason"], cells["placed"], cells["retry"]) == ("▲ ROLLOUT_STOPPED", units.UNKNOWN, units.UNKNOWN)
    assert cells["since"] == units.clock(NOW)
    assert list_pages.CONDITIONS.detail(row, NOW) == (f"{NAME}: ROLLOUT_STOPPED", "take the change back")


def test_the_engines_own_key_is_told_another_way_out_than_one_that_the_engine_refuses():
    own, other = lists.keys([("admin", ApiKey(key_id="admin", secure=False)), ("ada", ApiKey(key_id="k1"))])
    told = " ".join(list_pages.KEYS.detail(own, NOW))
    assert "firedeck api-key delete" not in told
    assert "remove admin.key in its data folder" in told
    assert list_pages.KEYS.detail(other, NOW) == ("revoke it with: firedeck api-key delete k1 --user ada",)


def test_a_quarantined_request_is_named_by_its_digest():
    one = QuarantinedRequest(digest="ab" * 32, replicas=["chat-1", "chat-2"], until=NOW + timedelta(minutes=9))
    (row,) = lists.quarantine(picture(quarantined=[one]))
    assert shown(list_pages.QUARANTINE, row)["digest"] == "ab" * 6
    assert "9m00s" in list_pages.QUARANTINE.detail(row, NOW)[0]


def test_events_come_newest_first():
    events = [Event(seq=n, time=NOW, deployment=NAME, kind="Normal", reason=f"R{n}", message="m") for n in range(3)]
    assert [row.what.seq for row in lists.events(events)] == [2, 1, 0]


SAMPLES = {
    "nodes": (list_pages.NODES, lists.nodes([node()], Picture())),
    "events": (
        list_pages.EVENTS,
        lists.events([Event(seq=1, time=NOW, deployment=NAME, kind="Warning", reason="ReplicaDied", message="m" * 90)]),
    ),
    "users": (list_pages.USERS, lists.users([User(name="accounts/local/users/ada", role="admin", create_time=NOW)])),
    "keys": (list_pages.KEYS, lists.keys([("ada", ApiKey(key_id="k1", prefix="fd_a", create_time=NOW))])),
    "quotas": (quota_page.QUOTAS, lists.quotas([Quota(name="a/q", value="8", max_value="100", usage=4)])),
    "audit": (list_pages.AUDIT, lists.audit([AuditLogEntry(id="1", timestamp=NOW, status=Status(code="OK"))])),
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("page", SAMPLES)
def test_every_page_fits_and_cuts_no_number(page, width):
    listing, rows = SAMPLES[page]
    cells = [columns.cells(listing.columns, row) for row in rows]
    needs = columns.measure(listing.columns, cells)
    placed = columns.fit(listing.columns, needs, width - 3)
    assert sum(p.width for p in placed) + columns.GAP * (len(placed) - 1) <= width - 3
    assert all(p.width >= needs[p.column.key] for p in placed if p.column.most is None)
    assert all(listing.detail(row, NOW) for row in rows)


def test_a_filter_takes_words_and_turns_them_around():
    rows = lists.users([User(name=f"accounts/local/users/{name}", role=role) for name, role in
                        (("ada", "admin"), ("bob", "user"), ("ci", "inference-user"))])  # fmt: skip
    found = {
        text: [row.what.id for row in lists.select(rows, list_pages.USERS, View(text))]
        for text in ("user", "!admin b", "!")
    }
    assert found == {"user": ["bob", "ci"], "!admin b": ["bob"], "!": ["ada", "bob", "ci"]}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (5, "<1MiB"), (94 << 20, "94MiB"), (16 * 10**9, "14.9GiB"), (512 << 30, "512GiB"), (1 << 40, "1.0TiB")],
)
def test_bytes_are_short(size, text):
    assert units.size(size) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("quota_id", "usage", "cli", "dashboard"),
    [
        ("monthly-spend-usd", 3.456, "3.46", "3.46"), ("gpu-hours-per-month", 0.25, "0.25", "0.25"),
        ("deployment-count", 3.0, "3", "3"), ("monthly-spend-usd", None, "-", units.UNKNOWN),
        ("deployment-count", 0.0, "0", "0"),
    ],
)  # fmt: skip
def test_hours_and_money_of_a_quota_keep_their_cents_and_what_is_not_known_is_not_zero(quota_id, usage, cli, dashboard):
    quota = Quota(name=f"accounts/local/quotas/{quota_id}", value="8", usage=usage)
    assert dict(zip(quotas.HEADER, quotas._row(quota), strict=True))["USAGE"] == cli
    assert shown(quota_page.QUOTAS, lists.quotas([quota])[0])["usage"] == dashboard


def test_a_quota_is_read_digit_by_digit_and_one_that_limits_nothing_is_off():
    name = "accounts/local/quotas/generated-tokens-per-minute"
    quota = Quota(name=name, value="2500000", max_value="1000000000", usage=1234567)
    row = shown(quota_page.QUOTAS, lists.quotas([quota])[0])
    assert (row["usage"], row["value"], row["max"]) == ("1,234,567", "2,500,000", "1,000,000,000")
    (off,) = lists.quotas([quota.model_copy(update={"value": "1000000000"})])
    assert shown(quota_page.QUOTAS, off)["value"] == "off"
    assert quota_page.QUOTAS.detail(off, NOW)[0] == "off: at its maximum it limits nothing"


@pytest.mark.parametrize(
    ("quota_id", "value", "usage", "share", "says"),
    [
        ("monthly-spend-usd", "5", 4.9, "██████████  98%", None),
        ("monthly-spend-usd", "5", 5.0, "██████████ ▲ 100%", "answered with 402"),
        ("gpu-hours-per-month", "0", 0.0, "██████████ ▲ 100%", "deployments with accelerators"),
        ("deployment-count", "2", 2.0, "██████████ ▲ 100%", "what needs more of it is refused"),
        ("deployment-count", "2", None, "░░░░░░░░░░    –", None),
        ("monthly-spend-usd", None, 4.9, "░░░░░░░░░░    –", None),
        ("deployment-count", None, 0.0, "░░░░░░░░░░    –", None),
    ],
)
def test_a_quota_that_is_used_up_is_marked_and_says_what_that_stops(quota_id, value, usage, share, says):
    (row,) = lists.quotas([Quota(name=f"accounts/local/quotas/{quota_id}", value=value, usage=usage)])
    assert shown(quota_page.QUOTAS, row)["share"] == share
    column = next(column for column in quota_page.QUOTAS.columns if column.key == "share")
    *stops, change = quota_page.QUOTAS.detail(row, NOW)
    assert (column.tone(row) == "attention", bool(stops)) == (says is not None,) * 2
    assert says is None or says in stops[0]
    assert change == f"change it with: firedeck quota update {quota_id} --value N"


@pytest.mark.parametrize(("role", "owners"), [("admin", ["ada", "bob"]), ("user", ["bob"])])
async def test_an_admin_sees_everybodys_keys_and_others_their_own(role, owners):
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("whoami"):
            return httpx.Response(200, json={"account": "local", "user": "bob", "role": role})
        if path.endswith("/users"):
            return httpx.Response(200, json={"users": [{"name": f"accounts/local/users/{u}"} for u in ("ada", "bob")]})
        return httpx.Response(200, json={"apiKeys": [{"keyId": path.split("/")[-2]}]})

    context = Context(base_url="http://e", api_key="k")
    transport = Transport("http://e", "k", transport=httpx.MockTransport(answer))
    found = await EngineSource.of(Client(context, transport)).api_keys()
    assert [(user, key.key_id) for user, key in found] == [(owner, owner) for owner in owners]


@pytest.mark.parametrize(
    ("stage", "pid", "shown_as"),
    [("READY", 4242, "4242"), ("READY", None, units.NOT_EXPOSED), ("PENDING_SCHEDULING", None, units.UNKNOWN)],
)
def test_which_process_a_replica_is_shows_where_it_has_one_and_the_engine_tells(stage, pid, shown_as):
    assert replica_table.process(ReplicaView(id="a", stage=stage, pid=pid)) == shown_as
