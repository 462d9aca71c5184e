"""The side pages: reached by a number or by name, kept while the link is lost, with a way to the deployment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from textual import events

from client.access_types import Quota
from client.errors import PermissionDenied, Unavailable
from client.fleet_types import Condition, QuarantinedRequest
from tests.tui.conftest import REST_S, open_deck
from tui.core import columns, quota_page, router_page
from tui.core.lists import Entry
from tui.screens.deployment import DeploymentScreen
from tui.screens.fleet import FleetScreen
from tui.screens.listing import ListScreen
from tui.widgets.chart import ChartView

CHAT = "accounts/local/deployments/chat"


async def test_every_page_is_a_key_away_even_on_the_smallest_screen():
    async with open_deck((80, 24)) as stage:
        stage.source.fleet[CHAT].quarantined = [QuarantinedRequest(digest="ab" * 32, replicas=["chat-1", "chat-2"])]
        await stage.later()
        for key, words in {
            "2": ("rehearsal-3", "✖ closed", "NVIDIA_L4_24GB", "3/4", "SIMULATED"), "3": ("ReplicaReady", "chat"),
            "4": ("judge", "FAILED", "/data/models/judge.gguf"), "5": ("abababababab", "chat"),
            "6": ("ci-bot", "inference-user"), "7": ("fd_ad…", "never"), "8": ("deployment-count", "25%"),
            "9": ("without reads",),
        }.items():  # fmt: skip
            await stage.press(key)
            assert isinstance(stage.app.screen, ListScreen)
            missing = [word for word in words if word not in stage.text]
            assert not missing, stage.text
            assert "quit" in stage.text.splitlines()[-1]
        assert len(stage.app.screen_stack) == 2, "pages do not pile up"
        await stage.press("1")
        assert isinstance(stage.app.screen, FleetScreen)


async def test_the_command_line_finds_a_page_by_its_name():
    async with open_deck() as stage:
        await stage.press("colon", *"nodes")
        async with asyncio.timeout(REST_S):
            while "Machines" not in stage.text:
                await stage.settle()
        await stage.press("enter")
        async with asyncio.timeout(REST_S):
            while "rehearsal-1" not in stage.text:
                await stage.settle()
        await stage.press("escape")
        assert isinstance(stage.app.screen, FleetScreen)


async def test_enter_on_a_condition_opens_its_deployment_and_a_filter_narrows():
    async with open_deck() as stage:
        stage.source.fleet[CHAT].conditions = [
            Condition(
                type="CapacityLimited", reason="STOCKOUT", wanted=2, placed=1, since=stage.clock.now,
                retry_at=stage.clock.now + timedelta(seconds=20), message="no room",
            )
        ]  # fmt: skip
        await stage.later()
        await stage.press("4", "slash")
        stage.app.screen.filter_box.value = "stockout"
        await stage.settle()
        assert "next try in 19s" in stage.text
        assert "judge" not in stage.text
        await stage.press("enter", "enter")
        assert isinstance(stage.app.screen, DeploymentScreen)
        assert "STOCKOUT for" in stage.text
        await stage.press("escape")
        assert isinstance(stage.app.screen, ListScreen)


async def test_rows_that_cannot_be_renewed_stay_dim_with_their_age_and_the_reason():
    async with open_deck() as stage:
        await stage.press("6")

        async def refuse():
            raise PermissionDenied("this needs the role admin")

        stage.source.users = refuse
        await stage.later(30)
        assert "this needs the role admin" in stage.text
        assert "30s ago" in stage.text
        assert "ci-bot" in stage.text
        assert stage.app.screen.table.stale


@pytest.mark.parametrize(
    ("typed", "page", "told"), [("nodes", "nodes", ""), ("aud", "audit", ""), ("wat", None, "no such command: wat")]
)
async def test_enter_in_the_palette_means_what_was_typed_however_fast(typed, page, told):
    async with open_deck() as stage:
        await stage.press("colon")
        for key in (*typed, "enter"):
            stage.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await stage.settle()
        assert told in stage.text
        assert [s.side.listing.id for s in stage.app.screen_stack if isinstance(s, ListScreen)] == (
            [page] if page else []
        )


async def test_the_key_for_reads_is_told_of_on_the_audit_page_alone():
    async with open_deck(size=(200, 40)) as stage:
        for page in "23456789":
            await stage.press(page)
            assert ("x reads" in stage.text.splitlines()[-1]) == (page == "9"), page


async def test_the_audit_page_says_how_many_records_it_does_not_show():
    async with open_deck() as stage:
        for _ in range(3):
            await stage.source.scale(CHAT, 1)
        ask = stage.source.audit_logs

        async def newest(limit, *, reads=True):
            return await ask(2, reads=reads)

        stage.source.audit_logs = newest
        await stage.press("9")
        assert "the newest 2 of 3" in stage.text


async def test_the_audit_log_is_without_reads_until_they_are_asked_for():
    async with open_deck() as stage:
        await stage.source.scale(CHAT, 1)
        await stage.press("9")
        assert "audit_logs" not in stage.text
        assert "scale" in stage.text
        assert "without reads (x shows them)" in stage.text
        await stage.press("x")
        assert "audit_logs" in stage.text
        assert "without reads" not in stage.text
        await stage.press("x")
        assert "audit_logs" not in stage.text


async def test_a_page_without_rows_says_whole_what_can_be_done_even_where_it_is_narrow():
    async with open_deck((80, 24)) as stage:
        stage.source.routers = answered([])
        await stage.press("w")
        assert "no routers" in stage.text.splitlines()[1]
        told = " ".join(stage.text.split())
        assert router_page.ROUTERS.empty in told


def answered(what):
    async def answer():
        return what

    return answer


async def test_a_page_opened_while_nobody_answers_says_so_and_not_that_it_asks():
    async with open_deck() as stage:
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press("6")
        assert "not known: no connection" in stage.text
        assert "asking" not in stage.text


async def test_a_page_opened_again_while_nobody_answers_has_the_last_known_rows_with_their_age():
    async with open_deck() as stage:
        await stage.press("6")
        assert "as of" not in stage.text
        await stage.press("escape")
        stage.clock.now += timedelta(seconds=30)
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press("6")
        assert "ci-bot" in stage.text
        assert "as of 12:00:00, 31s ago" in stage.text
        assert stage.app.screen.table.stale


async def test_the_matrix_opened_again_while_nobody_answers_has_its_columns_and_their_age_on_the_smallest_screen():
    async with open_deck((80, 24)) as stage:
        await stage.press("M")
        before = [column.title for column in stage.app.screen.table.columns]
        await stage.press("escape")
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press("M")
        assert [column.title for column in stage.app.screen.table.columns] == before
        assert len(stage.app.screen.table.rows) > 0
        assert "as of 12:00:00, 1s ago" in stage.text


@pytest.mark.parametrize("key", ["enter", "t"])
async def test_charts_opened_while_nobody_answers_have_what_another_page_knew_of_the_deployment(key):
    async with open_deck() as stage:
        stage.clock.now += timedelta(seconds=30)
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press(key)
        chart = stage.app.screen.query_one("#chart-ttft", ChartView)
        assert not chart.chart.empty
        assert (chart.note, chart.stale_age) == ("", "31s")


@pytest.mark.parametrize(("key", "told"), [("J", "nothing was changed from here yet"), ("4", "FAILED")])
async def test_what_needs_no_answer_is_shown_while_nobody_answers(key, told):
    async with open_deck() as stage:
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press(key)
        assert told in stage.text
        assert "asking" not in stage.text


async def test_while_a_filter_is_typed_the_bottom_line_has_the_keys_that_are_no_letters():
    async with open_deck() as stage:
        await stage.press("3", "slash")
        assert stage.text.splitlines()[-1] == " enter keep the filter  esc clear it  f1 help"
        await stage.press("x", "enter")
        assert "/ filter" in stage.text.splitlines()[-1]


async def test_sorting_goes_round_the_columns_that_are_seen():
    async with open_deck((80, 24)) as stage:
        seen = [column.key for column in stage.app.screen.table.seen_columns]
        assert "model" not in seen
        for _ in seen:
            await stage.press("o")
            assert stage.app.screen.order.sort in seen
            assert "▼" in stage.text or "▲" in stage.text, "the heading shows it"


def test_the_longest_quota_is_told_whole_where_there_is_room():
    name = "cache-adjusted-prompt-tokens-per-minute"
    row = Entry(name, Quota(name=f"accounts/local/quotas/{name}"))
    needs = columns.measure(quota_page.QUOTAS.columns, [columns.cells(quota_page.QUOTAS.columns, row)])
    first = columns.fit(quota_page.QUOTAS.columns, needs, 118)[0]
    assert (first.column.key, first.width) == ("quota", len(name))
