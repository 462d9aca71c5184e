"""The alert inbox on the screen, and what every table page can do: sort, turn around, filter, remember."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from client.fleet_types import AlertRule, AlertView
from tests.tui.conftest import REST_S, START, open_deck
from tui.screens.deployment import DeploymentScreen
from tui.screens.listing import ListScreen

CHAT = "accounts/local/deployments/chat"


def slow(deployment=CHAT, since=START - timedelta(minutes=7)):
    return AlertView(
        name="FiredeckSlowFirstToken", deployment=deployment, state="FIRING", severity="warning", value=0.9,
        threshold=0.2, text="0.90 s, above 0.20 s", summary="the 99th percentile of the time to the first token",
        action="scale up: more replicas, or a higher maximum", since=since,
    )  # fmt: skip


async def test_the_inbox_tells_for_how_long_what_to_do_and_counts_in_the_top_line():
    async with open_deck((80, 24)) as stage:
        stage.source.alert_views = [slow()]
        await stage.later()
        assert "▲ 2 " in stage.text.splitlines()[0], "the rehearsal's failed deployment is one too"
        await stage.press("0")
        stage.matches("alerts-80x24")
        await stage.press("a")
        assert "▲ 1 " in stage.text.splitlines()[0]
        assert "✔ SEEN" in stage.text
        await stage.press("home", "enter")
        assert isinstance(stage.app.screen, DeploymentScreen)


async def test_the_limit_of_an_alert_is_named_on_its_chart_however_narrow_that_is():
    rule = AlertRule(
        name="FiredeckSlowFirstToken", severity="warning", summary="", expression="", threshold=0.2, for_s=60.0,
        action="",
    )  # fmt: skip
    for size in ((80, 24), (200, 60)):
        async with open_deck(size) as stage:
            stage.source.rules = [rule]
            await stage.later(61)
            async with asyncio.timeout(REST_S):
                while "limit 200ms" not in stage.text:
                    await stage.settle()


async def test_the_bell_rings_once_for_what_begins_while_one_looks_and_not_at_the_start(monkeypatch):
    rung = []
    async with open_deck() as stage:
        monkeypatch.setattr(type(stage.app), "bell", lambda self: rung.append(1))
        await stage.later()
        assert "▲ 1 alert " in stage.text.splitlines()[0]
        assert not rung, "the failed deployment was there before"
        stage.source.alert_views = [slow()]
        await stage.later()
        assert "above 0.20 s" in stage.text
        await stage.later()
        assert rung == [1]


async def test_a_snoozed_alert_is_quiet_is_kept_for_the_next_start_and_woken_by_the_same_key(tmp_path):
    async with open_deck(journal=tmp_path / "journal.jsonl") as stage:
        stage.source.alert_views = [slow()]
        await stage.later()
        await stage.press("0", "home", "z")
        assert "◌ SNOOZED" in stage.text
        assert "snoozed for 1h00m" in stage.text
    async with open_deck(journal=tmp_path / "journal.jsonl") as stage:
        stage.source.alert_views = [slow()]
        await stage.later()
        await stage.press("0", "slash")
        stage.app.screen.filter_box.value = "alert:slow"
        await stage.settle()
        assert "◌ SNOOZED" in stage.text
        await stage.press("enter", "home", "z")
        assert "▲ FIRING" in stage.text


async def test_an_alert_that_is_over_is_told_with_its_length_and_cannot_be_dealt_with():
    async with open_deck() as stage:
        stage.source.alert_views = [slow()]
        await stage.later()
        stage.source.alert_views = []
        await stage.later()
        await stage.press("0", "end", "a")
        assert "● ENDED" in stage.text
        assert "it has ended" in stage.text


async def test_any_column_sorts_a_page_and_its_filter_is_there_when_one_comes_back():
    async with open_deck() as stage:
        await stage.press("2", "o", "O")
        table = stage.app.screen.table
        assert [row.name for row in table.rows] == ["rehearsal-3", "rehearsal-2", "rehearsal-1"]
        stage.app.screen.filter_box.open()
        stage.app.screen.filter_box.value = "used>40% !closed"
        await stage.settle()
        assert [row.name for row in table.rows] == ["rehearsal-2"]
        assert " used>40%   !closed  1 shown" in stage.text
        await stage.press("enter", "1", "2")
        assert isinstance(stage.app.screen, ListScreen)
        assert [row.name for row in stage.app.screen.table.rows] == ["rehearsal-2"]
        await stage.press("escape")
        assert len(stage.app.screen.table.rows) == 3


async def test_the_fleet_is_sorted_by_any_column_either_way_and_filtered_by_numbers():
    async with open_deck((200, 60)) as stage:
        screen = stage.app.screen
        for _ in range(3):
            await stage.press("o")
        assert screen.table.sort == "limits"
        await stage.press("O")
        assert "MIN-MAX▲" in stage.text
        screen.filter_box.open()
        screen.filter_box.value = "rps>0 !state:failed"
        await stage.settle()
        assert [row.id for row in screen.table.rows] == ["chat", "summarise"][: len(screen.table.rows)]
        assert all(row.rps for row in screen.table.rows)
