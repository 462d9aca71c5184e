"""What is under way, gathered from what it is of."""

from __future__ import annotations

from datetime import timedelta

from client.fleet_types import ReplicaView
from client.model_types import ModelFile
from client.types import Model, Status
from tests.unit.test_tui_models import BASE, CHAT, NOW, VOICE, made, on_chat, picture, status
from tui.core import jobs_page, units
from tui.core.jobs_page import JOBS


def cells(rows):
    return [{column.key: column.cell(row) for column in JOBS.columns} for row in rows]


def test_what_failed_comes_first_then_what_is_under_way_with_how_far_it_is():
    prepared = [
        made("FP8", "READY", update_time=NOW - timedelta(hours=1)),
        made("FP16", "READY", update_time=NOW - timedelta(days=2)),
        made("FP4", "PREPARING", stage="measuring", create_time=NOW - timedelta(minutes=3)),
        made("BF16", "FAILED", update_time=NOW, status=Status(code="INTERNAL", message="no room")),
    ]  # fmt: skip
    models = [
        Model(name=BASE, firedeck=ModelFile(file="base.gguf", prepared=prepared)), Model(name=VOICE, state="UPLOADING"),
    ]  # fmt: skip
    fleet = status()
    fleet.replicas = [
        ReplicaView(id="chat-1", stage="DOWNLOADING_MODEL", progress=0.4),
        ReplicaView(id="chat-2", stage="READY"),
    ]
    rows = jobs_page.rows(models, [on_chat(state="DEPLOYING"), on_chat(state="DEPLOYED")], picture(fleet))
    found = cells(rows)
    assert [(one["kind"], one["of"]) for one in found[:1]] == [("prepare", "base in BF16")]
    assert found[0]["doing"] == "no room"
    assert {(one["kind"], one["of"]) for one in found[1:]} == {
        ("load", "chat-1"), ("upload", "voice"), ("adapter", "voice on chat"), ("prepare", "base in FP4"),
        ("prepare", "base in FP8"),
    }  # fmt: skip
    assert found[-1]["of"] == "base in FP8", "what is ready comes last, and goes after a day"
    (load,) = [one for one in found if one["kind"] == "load"]
    assert "40%" in load["progress"]
    (prepare,) = [one for one in found if one["of"] == "base in FP4"]
    assert (prepare["progress"], prepare["doing"]) == (units.UNKNOWN, "measuring"), "nobody says how far it is"
    assert {row.deployment for row in rows if row.what.kind in ("load", "adapter")} == {CHAT}


def test_an_engine_that_does_nothing_has_no_jobs():
    assert jobs_page.rows([Model(name=BASE)], [], picture(status())) == ()
