"""The alert inbox: one episode is told once, dealt with once, and new again when it begins again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.fleet_types import AlertView, Condition, DeploymentStats, DeploymentStatus, EngineInfo, Event, FleetSnapshot
from client.types import Deployment, Status
from tui.core import alert_page
from tui.core.inbox import SNOOZE, Inbox
from tui.core.inbox_file import InboxFile

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAME = "accounts/local/deployments/chat"
KEY = ("FiredeckErrors", NAME)


def alert(since=NOW, state="FIRING", name="FiredeckErrors"):
    return AlertView(
        name=name, deployment=NAME, state=state, severity="warning", value=0.2, threshold=0.001, since=since,
        text="20%, above 0.1%", summary="the part of requests that fail", action="take back the last change",
    )  # fmt: skip


def picture(*alerts, conditions=(), state="READY", problem=None):
    deployment = Deployment(name=NAME, state=state, status=problem)
    status = DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60), conditions=list(conditions))
    engine = EngineInfo(version="1", started_at=NOW, cores=2)
    return FleetSnapshot(time=NOW, engine=engine, deployments=[status], alerts=list(alerts))


def standing(inbox, now=NOW):
    return {row.what.alert.name: row.what.standing for row in alert_page.rows(inbox, now)}


def test_an_alert_is_told_once_however_often_it_is_seen_and_its_beginning_may_tremble():
    inbox, unheard = Inbox().taken(picture(alert()), NOW)
    assert [one.key for one in unheard] == [KEY]
    inbox = inbox.acknowledged(KEY)
    for ms in (3, 400):
        inbox, unheard = inbox.taken(picture(alert(NOW + timedelta(milliseconds=ms))), NOW)
        assert not unheard
        assert standing(inbox) == {"FiredeckErrors": "SEEN"}


def test_what_is_pending_is_listed_and_not_told():
    inbox, unheard = Inbox().taken(picture(alert(state="PENDING")), NOW)
    assert (standing(inbox), unheard, inbox.new(NOW)) == ({"FiredeckErrors": "PENDING"}, (), ())
    inbox, unheard = inbox.taken(picture(alert()), NOW)
    assert len(unheard) == 1


def test_an_alert_that_ends_and_begins_again_is_new():
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    inbox, _ = inbox.acknowledged(KEY).taken(picture(), NOW + timedelta(minutes=1))
    assert standing(inbox) == {"FiredeckErrors": "ENDED"}
    later = NOW + timedelta(minutes=5)
    inbox, unheard = inbox.taken(picture(alert(later)), later)
    assert len(unheard) == 1
    assert standing(inbox, later) == {"FiredeckErrors": "FIRING"}


def test_what_has_ended_is_forgotten_after_an_hour():
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    inbox, _ = inbox.taken(picture(), NOW)
    inbox, _ = inbox.taken(picture(), NOW + timedelta(minutes=61))
    assert standing(inbox) == {}


def test_a_snoozed_alert_is_told_again_when_its_hour_is_over():
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    inbox, unheard = inbox.snooze(KEY, NOW).taken(picture(alert()), NOW + timedelta(minutes=1))
    assert (unheard, standing(inbox)) == ((), {"FiredeckErrors": "SNOOZED"})
    over = NOW + SNOOZE + timedelta(seconds=1)
    inbox, unheard = inbox.taken(picture(alert()), over)
    assert len(unheard) == 1
    assert standing(inbox, over) == {"FiredeckErrors": "FIRING"}


def test_seen_and_snoozed_are_taken_back_by_doing_them_again():
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    assert inbox.acknowledged(KEY).acknowledged(KEY) == inbox
    assert inbox.snooze(KEY, NOW).snooze(KEY, NOW) == inbox
    assert inbox.acknowledged(("Other", NAME)) == inbox.snooze(("Other", NAME), NOW) == inbox


def test_a_failure_and_a_stockout_are_alerts_too_and_the_oldest_is_first():
    short = Condition(type="CapacityLimited", reason="STOCKOUT", message="no H100", wanted=2, placed=1, since=NOW)
    failed = picture(alert(NOW - timedelta(minutes=3)), conditions=[short], state="FAILED", problem=Status(message="x"))
    inbox, _ = Inbox().taken(failed, NOW)
    assert [one.name for one in inbox.new(NOW)] == ["FiredeckErrors", "STOCKOUT", "FAILED"]
    rows = {row.what.alert.name: row.what for row in alert_page.rows(inbox, NOW)}
    assert rows["STOCKOUT"].alert.text == "1 of 2 replicas placed; no H100"
    assert (rows["FAILED"].lasting, rows["FAILED"].alert.text) == ("–", "x"), "since when is not known: not zero"


def test_the_cause_is_looked_for_before_the_beginning_warnings_first():
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    (row,) = alert_page.rows(inbox, NOW)
    events = [
        Event(seq=n, time=NOW + timedelta(minutes=at), deployment=of, kind=kind, reason=reason, message="m")
        for n, (at, of, kind, reason) in enumerate(
            [
                (-40, NAME, "Warning", "LongAgo"), (-9, NAME, "Warning", "ReplicaDied"),
                (-8, "accounts/local/deployments/b", "Warning", "Others"), (-2, NAME, "Normal", "Updated"),
                (-1, NAME, "Normal", "ReplicaReady"), (3, NAME, "Warning", "After"),
            ]
        )
    ]  # fmt: skip
    told = alert_page.detail(row, NOW, events)
    assert [line.split()[3] for line in told if line.startswith("before it")] == ["ReplicaReady", "ReplicaDied"]
    assert "→ take back the last change" in told


@pytest.mark.parametrize("text", [None, "", "[]", '{"local": []}', '{"local": {"seen": 3}}', "{"])
def test_an_inbox_that_cannot_be_read_is_empty(tmp_path, text):
    path = tmp_path / "inbox.json"
    if text is not None:
        path.write_text(text)
    assert InboxFile(path, {"": "local"}).read() == Inbox()


def test_what_was_dealt_with_is_kept_for_the_next_start_by_context(tmp_path):
    path = tmp_path / "state" / "inbox.json"
    inbox, _ = Inbox().taken(picture(alert()), NOW)
    inbox = inbox.acknowledged(KEY).snooze(KEY, NOW)
    assert InboxFile(path, {"": "local"}).write(inbox) == ""
    assert InboxFile(path, {"": "prod"}).write(Inbox()) == ""
    again = InboxFile(path, {"": "local"}).read()
    assert (again.seen, again.snoozed) == (inbox.seen, inbox.snoozed)
    again, unheard = again.taken(picture(alert()), NOW)
    assert not unheard


def test_a_full_disk_is_told_and_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    assert "not kept" in InboxFile(tmp_path / "file" / "inbox.json", {"": "local"}).write(Inbox())
