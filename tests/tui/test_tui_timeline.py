"""What happened to a deployment on one axis of time, and the charts' window: zoom, pan, freeze, compare."""

from __future__ import annotations

import json
from datetime import timedelta
from xml.etree import ElementTree

from client.errors import InvalidArgument
from client.fleet_types import AlertRule
from tests.tui.conftest import START, open_deck
from tests.tui.test_tui_alerts import CHAT, slow
from tui.core.series import SLOW
from tui.screens.timeline import TimelineScreen
from tui.widgets.chart import ChartView

RULE = AlertRule(
    name=SLOW, expression="ttft", for_s=300, severity="warning", threshold=0.2, summary="slow", action="scale up"
)


async def open_timeline(stage):
    stage.source.rules = [RULE]
    stage.source.alert_views = [slow(since=START - timedelta(seconds=40))]
    await stage.source.scale(CHAT, 2)
    await stage.later()
    stage.app.screen.table.choose(CHAT, by_user=True)
    await stage.press("t")
    assert isinstance(stage.app.screen, TimelineScreen)
    await stage.later()


def chart(stage, key="ttft"):
    return stage.app.screen.query_one(f"#chart-{key}", ChartView).chart


async def test_events_alerts_and_crossed_limits_are_on_one_axis():
    async with open_deck((80, 24)) as stage:
        await open_timeline(stage)
        stage.matches("timeline-80x24")
        assert {one.kind for one in stage.app.screen.moments} >= {"event", "alert", "limit"}
        assert chart(stage).threshold == 200.0
        assert chart(stage).marks


async def test_the_own_actions_are_on_it_and_one_key_writes_it_down_with_pictures(tmp_path):
    journal = tmp_path / "journal.jsonl"
    entry = {
        "time": (START - timedelta(seconds=20)).isoformat(), "user": "ada", "context": "rehearsal rehearsal:",
        "verb": "scale", "target": CHAT, "before": {"replicas": "1"}, "after": {"replicas": "2"}, "outcome": "ok",
    }  # fmt: skip
    journal.write_text(json.dumps(entry) + "\n")
    async with open_deck(journal=journal) as stage:
        stage.app.exports = tmp_path
        await open_timeline(stage)
        assert "by ada from here: replicas 1 → 2" in stage.text
        await stage.press("E")
        (folder,) = tmp_path.glob("firedeck-chat-*")
        report = (folder / "incident.md").read_text()
        assert "**SIMULATED**" in report
        assert "| action | scale | by ada from here: replicas 1 → 2 |" in report
        assert f"| alert | {SLOW} | begins to hold" in report
        for key in ("ttft", "tps", "replicas", "load"):
            assert f"({key}.svg)" in report
            assert ElementTree.parse(folder / f"{key}.svg").getroot().tag.endswith("svg")
        assert "written" in stage.text
        assert str(folder / "incident.md") in {told.message for told in stage.app._notifications}, "wherever it wraps"
        await stage.press("E")
        assert "nothing was written" in stage.text, "a report is never written over another"


async def test_from_an_alert_the_charts_show_its_beginning_and_enter_goes_to_a_moment():
    async with open_deck((120, 40), warm_s=3000) as stage:
        stage.source.alert_views = [slow(since=START - timedelta(minutes=30))]
        await stage.later()
        await stage.press("0", "home", "t")
        screen = stage.app.screen
        assert isinstance(screen, TimelineScreen)
        await stage.later(3)
        assert screen.window.back_s == 30 * 60 + 1 - screen.span_s // 2
        await stage.press("end", "home", "enter")
        assert screen.window.back_s == 0, "the newest is in the last span"


async def test_charts_are_zoomed_panned_and_come_back_to_now():
    async with open_deck((160, 60), warm_s=1200) as stage:
        await stage.press("enter", "z")
        assert stage.app.screen.span_s == 900
        await stage.press("Z", "less_than_sign")
        assert stage.app.screen.span_s == 300
        await stage.later()
        assert chart(stage).back_s == 150
        assert "-2m30s" in stage.text
        await stage.press("greater_than_sign", "greater_than_sign")
        await stage.later()
        assert chart(stage).back_s == 0


async def test_frozen_charts_stand_still_and_say_so_until_they_are_let_go():
    async with open_deck((160, 60)) as stage:
        await stage.press("enter", "f")
        await stage.later()
        before = chart(stage)
        assert before.title == "TTFT frozen"
        await stage.later(20)
        assert chart(stage).lines == before.lines
        assert "TTFT frozen" in stage.text
        await stage.press("f")
        await stage.later()
        assert chart(stage).title == "TTFT"
        assert chart(stage).lines != before.lines


async def test_the_same_of_an_hour_ago_lies_beside_and_what_is_not_kept_is_said():
    async with open_deck((160, 60), warm_s=3595) as stage:
        await stage.press("enter", "v")
        await stage.later()
        labels = [line.label for line in chart(stage).lines]
        assert labels == ["p50", "p95", "p99", "p95 1h ago"]
        ask = stage.source.history

        async def kept(name, seconds):
            if seconds > 86_400:
                raise InvalidArgument("seconds must be at most 86400")
            return await ask(name, seconds)

        stage.source.history = kept
        await stage.press("v")
        await stage.later()
        assert "nothing to compare with: seconds must be at most 86400" in stage.text
        assert [line.label for line in chart(stage).lines] == ["p50", "p95", "p99"]


async def test_another_deployments_curves_lie_beside_until_they_are_taken_away():
    async with open_deck((160, 60)) as stage:
        await stage.press("enter", "V")
        stage.app.screen.query_one("LineInput").value = "nosuch"
        await stage.press("enter")
        assert "no such deployment: nosuch" in stage.text
        stage.app.screen.query_one("LineInput").value = ""
        await stage.press("enter")
        assert "type one of: " in stage.text
        stage.app.screen.query_one("LineInput").value = "summ"
        await stage.press("enter")
        await stage.later()
        assert [line.label for line in chart(stage).lines] == ["p50", "p95", "p99", "p95 summarise"]
        for _ in range(3):
            await stage.press("v")
        await stage.later()
        assert [line.label for line in chart(stage).lines] == ["p50", "p95", "p99"]


async def test_the_same_is_there_for_a_shell_without_the_key(monkeypatch):
    copied = []
    async with open_deck((80, 24)) as stage:
        monkeypatch.setattr(type(stage.app), "copy_to_clipboard", lambda self, text: copied.append(text))
        await stage.press("enter", "i")
        assert "firectl deployment get chat" in stage.text
        await stage.press("end", "enter")
        assert copied[0].startswith("curl rehearsal:/inference/v1/chat/completions")
        assert "$FIREDECK_API_KEY" in copied[0]
