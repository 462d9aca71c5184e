"""What the fleet page does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from client.config import Context
from client.errors import Unavailable
from client.fleet_types import Condition, DeploymentStats
from client.types import Account, Deployment
from tests.tui.conftest import REST_S, open_deck
from tui.core import units
from tui.core.row import Row
from tui.core.snapshot import Picture
from tui.core.totals import Totals
from tui.messages import AccountSeen
from tui.screens.deployment import DeploymentScreen
from tui.screens.unlock import UnlockDialog
from tui.sources.rehearsal import RehearsalSource
from tui.sources.simulation import SimDeployment, steady
from tui.widgets.row_lines import DRAWN

CHAT, SUMMARISE = (f"accounts/local/deployments/{name}" for name in ("chat", "summarise"))


def cursor(stage):
    return stage.app.screen.table.cursor.rpartition("/")[2]


async def test_the_cursor_stays_on_its_deployment_when_rows_are_sorted_anew():
    async with open_deck() as stage:
        await stage.press("down", "down")
        assert cursor(stage) == "summarise"
        for _ in range(4):
            await stage.press("o")
            assert cursor(stage) == "summarise"
        stage.source.fleet["accounts/local/deployments/chat"].load = lambda second: 0.0
        await stage.later(5)
        assert cursor(stage) == "summarise"


async def test_the_cursor_starts_on_a_deployment_with_traffic():
    async with open_deck() as stage:
        assert cursor(stage) == "chat"


async def test_enter_opens_the_page_and_escape_comes_back():
    async with open_deck() as stage:
        await stage.press("enter")
        assert isinstance(stage.app.screen, DeploymentScreen)
        assert "41001" in stage.text
        await stage.press("escape")
        assert stage.app.screen.table.has_focus


async def test_a_filter_narrows_the_table_and_escape_clears_it():
    async with open_deck() as stage:
        await stage.press("slash")
        stage.app.screen.filter_box.value = "state:ready !chat"
        await stage.settle()
        assert [row.id for row in stage.app.screen.table.rows] == ["summarise"]
        await stage.press("escape")
        assert len(stage.app.screen.table.rows) == 4


async def test_deleted_deployments_show_on_request():
    async with open_deck() as stage:
        assert "old-chat" not in stage.text
        await stage.press("x")
        assert "⊘ DELETED" in stage.text


async def test_replicas_go_up_and_down_before_the_users_eyes():
    async with open_deck(warm_s=1) as stage:
        seen = set()
        for _ in range(16):
            await stage.later(18)
            seen.add(stage.app.picture.row("accounts/local/deployments/chat").ready)
        assert seen == {0, 1, 2}


async def test_a_lost_connection_keeps_the_last_picture_and_comes_back_by_itself(monkeypatch):
    monkeypatch.setattr("tui.poller.wait_s", lambda attempt: 0.02)
    async with open_deck() as stage:
        stage.source.fault = Unavailable("no answer from rehearsal", hint="is the engine running?")
        await stage.later()
        assert "CONNECTION LOST" in stage.text
        assert "is the engine running?" in stage.text
        assert "summarise" in stage.text, "the last picture stays"
        stage.source.fault = None
        async with asyncio.timeout(REST_S):
            while stage.app.picture.link.lost_at is not None:
                await stage.settle()
        await stage.settle()
        assert "CONNECTION LOST" not in stage.text
        assert "live" in stage.text


async def test_numbers_of_a_lost_link_are_dim_and_say_since_when():
    async with open_deck() as stage:
        table = stage.app.screen.table
        tones = {segment.style.color.name for segment in table.render_line(1) if segment.text.strip()}
        stage.app.picture = stage.app.picture.lost("gone", stage.clock.now, stage.clock.now, 1)
        stage.clock.now += timedelta(seconds=42)
        stage.app.screen.tick()
        await stage.settle()
        dim = {segment.style.color.name for segment in table.render_line(1)[1:] if segment.text.strip()}
        assert len(tones) > 1
        assert len(dim) == 1, "all of a row is of the one dim tone"
        assert stage.app.screen.query_one("#summary").styles.text_opacity < 1
        assert "CONNECTION LOST since 12:00:00, 42s ago" in stage.text
        assert "as of 12:00:00, 42s ago" in stage.text.splitlines()[3]
        await stage.later()


async def test_a_stockout_shows_with_its_next_try():
    async with open_deck() as stage:
        stage.source.fleet[CHAT].conditions = [
            Condition(
                type="CapacityLimited", reason="STOCKOUT", wanted=5, placed=3,
                since=stage.clock.now, retry_at=stage.clock.now + timedelta(seconds=20),
            )
        ]  # fmt: skip
        await stage.later()
        assert "STOCKOUT 3 of 5 placed" in stage.text
        assert "asks again in 19s" in stage.text


async def test_old_data_shows_its_age():
    async with open_deck() as stage:
        stage.clock.now += timedelta(seconds=42)
        stage.app.screen.tick()
        await stage.settle()
        assert "STALE 42s" in stage.text


async def test_wide_and_unicode_ids_keep_the_columns_aligned():
    async with open_deck((80, 24)) as stage:
        for name in ("x" * 63, "日本語デプロイ"):
            deployment = Deployment(name=f"accounts/local/deployments/{name}", state="READY")
            stage.source.add(SimDeployment(deployment, steady))
        await stage.later()
        lines = [stage.app.screen.table.render_line(y) for y in range(7)]
        assert {line.cell_length for line in lines} == {80}
        assert "xxxxxxxxx…" in stage.text


async def test_a_thousand_rows_draw_only_what_is_seen():
    async with open_deck() as stage:
        for number in range(1000):
            name = f"accounts/local/deployments/d-{number:04}"
            stage.source.add(SimDeployment(Deployment(name=name, state="READY", max_replica_count=1)))
        await stage.later()
        table = stage.app.screen.table
        assert len(table.rows) == 1004
        assert table.rows_drawn < 100
        await stage.press("end")
        assert cursor(stage) == "summarise"
        assert "summarise" in stage.text


async def test_of_hundreds_that_were_scrolled_over_only_the_last_ones_are_kept_as_they_were_drawn():
    async with open_deck((120, 60)) as stage:
        for number in range(600):
            name = f"accounts/local/deployments/d-{number:04}"
            stage.source.add(SimDeployment(Deployment(name=name, state="READY", max_replica_count=1)))
        await stage.later()
        table = stage.app.screen.table
        for _ in range(len(table.rows) // table.size.height):
            await stage.press("pagedown")
        assert table.size.height < table.rows_drawn <= DRAWN
        assert "summarise" in stage.text
        await stage.press("home")
        assert table.rows[0].id in stage.text


async def test_many_deployments_and_a_banner_leave_the_keys_on_the_smallest_screen():
    async with open_deck((80, 24)) as stage:
        for number in range(40):
            name = f"accounts/local/deployments/d-{number:02}"
            stage.source.add(SimDeployment(Deployment(name=name, state="READY")))
        await stage.later()
        stage.app.picture = stage.app.picture.lost("gone", stage.clock.now, stage.clock.now, 1)
        await stage.settle()
        lines = stage.text.splitlines()
        assert "CONNECTION LOST" in lines[1]
        assert "quit" in lines[23]
        assert "events" in stage.text


async def test_a_lost_connection_takes_two_lines_of_the_smallest_screen_and_says_whole_what_to_do():
    async with open_deck((80, 24)) as stage:
        why = "no answer from http://127.0.0.1:8700: all attempts to connect to it have failed (is the engine running?)"
        stage.app.picture = stage.app.picture.lost(why, stage.clock.now, stage.clock.now + timedelta(seconds=75), 1)
        await stage.settle()
        lines = stage.text.splitlines()
        assert lines[1] == " ✖ CONNECTION LOST since 12:00:00, 0s ago · trying again in 1m15s"
        assert lines[2].endswith("… (is the engine running?)")
        assert "FAILED" in lines[3], "the fleet's own line"


async def test_only_rows_that_changed_are_drawn_again(monkeypatch):
    async with open_deck() as stage:
        table = stage.app.screen.table
        regions = []
        monkeypatch.setattr(table, "refresh", lambda *dirty, **_: regions.extend(dirty))
        rows = list(table.rows)
        busy = rows[2].status.stats.model_copy(update={"queue": 7})
        rows[2] = Row(rows[2].status.model_copy(update={"stats": busy}))
        table.show(tuple(rows), table.sort)
        assert [region.y for region in regions] == [3]


@pytest.mark.parametrize(("readonly", "told"), [(True, "started read-only"), (False, "unlock them with L")])
async def test_read_only_refuses_every_change_and_says_how_to_unlock(readonly, told):
    async with open_deck(readonly=readonly) as stage:
        await stage.press("L")  # it locks; what was started read-only stays so
        assert "READ-ONLY" in stage.text
        for key in ("s", "e", "D", "c", "u", "U"):
            await stage.press(key)
            assert not stage.app.screen.is_modal
        assert told in stage.text
        assert stage.source.calls.count("scale") == 0


async def test_a_production_context_is_locked_until_its_name_is_typed():
    prod = Context(base_url="rehearsal:", name="prod-eu", prod=True)
    async with open_deck(context=prod) as stage:
        assert stage.app.locked
        await stage.press("L")
        assert isinstance(stage.app.screen, UnlockDialog)
        stage.app.screen.query_one("#name").value = "prod"
        await stage.settle()
        assert stage.app.screen.query_one("#confirm").disabled
        stage.app.screen.query_one("#name").value = "prod-eu"
        await stage.settle()
        await stage.press("tab", "enter")
        assert not stage.app.locked


async def test_the_model_string_goes_to_the_clipboard():
    async with open_deck() as stage:
        await stage.press("y")
        assert stage.app.clipboard == (
            "accounts/fireworks/models/smollm2-135m-instruct#accounts/local/deployments/chat"
        )


async def test_help_is_searchable():
    async with open_deck() as stage:
        await stage.press("question_mark")
        stage.app.screen.query_one("#search").value = "undelete"
        await stage.settle()
        assert "Bring a deleted deployment back" in stage.text
        assert "Sort by the next column" not in stage.text


async def test_the_command_palette_offers_the_actions_of_the_table():
    async with open_deck() as stage:
        await stage.press("colon", *"scale")
        async with asyncio.timeout(REST_S):
            while "Ask for a number of replicas now" not in stage.text:
                await stage.settle()


async def test_an_answer_that_comes_while_its_page_closes_goes_nowhere():
    async with open_deck() as stage:
        go, events, fleet = asyncio.Event(), stage.source.events, stage.app.screen

        async def held(*args):
            await go.wait()
            return await events(*args)

        stage.source.events = held
        for open_page in ("enter", "3"):
            await stage.pilot.press(open_page)
            async with asyncio.timeout(REST_S):
                while (closing := stage.app.screen) is fleet or not closing.is_mounted:
                    await stage.pilot.pause(0.01)
            stage.app.pop_screen()
            assert closing.is_gone
            go.set()
            await stage.settle()
            go.clear()
        assert stage.app.screen.table.has_focus


async def test_messages_coalesce():
    from tui.messages import FleetSeen

    async with open_deck() as stage:
        snapshot = stage.app.picture.snapshot
        assert FleetSeen(snapshot).can_replace(FleetSeen(snapshot))


async def test_before_the_first_snapshot_the_page_waits_without_an_error():
    async with open_deck() as stage:
        stage.app.picture = Picture()
        await stage.settle()
        assert "waiting for the first picture" in stage.text
        assert "connecting" in stage.text


def make_busiest(stage, name):
    """So many requests that a cursor which is free to move goes there."""
    stage.source.fleet[name].total = 1e6


async def test_until_it_is_touched_the_cursor_goes_where_the_traffic_is():
    async with open_deck() as stage:
        make_busiest(stage, SUMMARISE)
        await stage.later()
        assert cursor(stage) == "summarise"


@pytest.mark.parametrize("key", ["D", "s", "e", "u", "enter", "y"])
async def test_a_verbs_key_pins_the_cursor(key):
    async with open_deck() as stage:
        await stage.press(key)
        await stage.press("escape")
        make_busiest(stage, SUMMARISE)
        await stage.later()
        assert cursor(stage) == "chat"


async def test_a_click_on_the_row_that_is_chosen_pins_the_cursor():
    async with open_deck() as stage:
        await stage.pilot.click("#fleet", offset=(20, 2))
        await stage.settle()
        assert cursor(stage) == "chat"
        make_busiest(stage, SUMMARISE)
        await stage.later()
        assert cursor(stage) == "chat"


async def test_when_the_pinned_row_goes_away_nothing_is_chosen_until_the_user_moves():
    async with open_deck() as stage:
        await stage.press("down", "up")
        assert cursor(stage) == "chat"
        del stage.source.fleet[CHAT]
        await stage.later()
        table = stage.app.screen.table
        assert table.cursor is None
        assert "no deployment is chosen" in stage.text
        assert "▌" not in "".join(table.render_line(y).text for y in range(4))
        for key in ("D", "s", "e", "enter"):
            await stage.press(key)
            assert not stage.app.screen.is_modal
            assert "choose a deployment first" in stage.text
        await stage.press("down")
        assert cursor(stage) == "judge", "the row that has taken its place"


async def test_a_deployment_that_was_made_does_not_take_the_cursor_from_a_user_who_has_moved_on():
    async with open_deck() as stage:
        stage.app.screen.expect("accounts/local/deployments/new-one")
        await stage.press("down")
        stage.source.add(SimDeployment(Deployment(name="accounts/local/deployments/new-one", state="READY")))
        await stage.later()
        assert cursor(stage) == "judge"


async def test_enter_in_the_filter_chooses_a_row_if_none_is():
    async with open_deck() as stage:
        await stage.press("down", "slash")
        stage.app.screen.filter_box.value = "summ"
        await stage.settle()
        assert stage.app.screen.table.cursor is None
        await stage.press("enter")
        assert cursor(stage) == "summarise"


async def test_the_curves_of_the_former_deployment_go_with_the_cursor():
    async with open_deck() as stage:
        chart = stage.app.screen.query_one("#chart-tps")
        assert not chart.chart.empty
        stage.source.fault = Unavailable("gone")
        await stage.later()
        await stage.press("up")
        assert cursor(stage) == "base"
        assert chart.chart.empty
        assert "no connection" in stage.text


def replica_lines(text):
    return [line.split()[:6] for line in text.splitlines() if "summarise-1" in line and "● ready" in line]


async def test_what_is_stale_stands_still_and_says_how_old_it_is():
    async with open_deck((200, 60)) as stage:
        await stage.press("end")
        chart = stage.app.screen.query_one("#chart-ttft")
        assert chart.chart.end == "now"
        stage.source.fault = Unavailable("gone")
        await stage.later(42)
        assert chart.chart.end == "last"
        assert stage.text.count("▲ 42s ago") == 4, "each chart"
        assert stage.text.count("▲ as of 42s ago") == 2, "the line under the table and the reasons"
        await stage.press("enter")
        before = stage.text
        assert "replicas as of 42s ago" in before
        stage.clock.now += timedelta(hours=1)
        stage.app.screen.tick()
        await stage.settle()
        assert replica_lines(before)
        assert replica_lines(before) == replica_lines(stage.text), "its age does not grow"


async def test_a_deployment_that_is_gone_leaves_no_replicas_and_reasons_behind():
    async with open_deck() as stage:
        await stage.press("enter")
        assert "41001" in stage.text
        del stage.source.fleet[CHAT]
        await stage.later()
        assert "is not in the fleet" in stage.text
        assert "41001" not in stage.text
        assert "replicas ready" not in stage.text
        assert "summarise" not in stage.text, "nor the events of others"


async def test_charts_whose_source_fails_leave_the_events_alone():
    async with open_deck() as stage:

        async def down(deployment, seconds):
            raise Unavailable("Prometheus did not answer", hint="check --prometheus")

        stage.source.history = down
        await stage.later()
        assert "--prometheus)" in stage.text, "the remedy is not cut off"
        assert "ReplicaReady" in stage.text


async def test_events_that_fail_keep_the_last_ones_and_leave_the_charts_alone():
    async with open_deck() as stage:

        async def down(deployment, limit):
            raise Unavailable("no events today")

        stage.source.events = down
        await stage.later()
        assert "not renewed: no events today" in stage.text
        assert "ReplicaReady" in stage.text
        assert not stage.app.screen.query_one("#chart-tps").chart.empty


async def test_the_key_that_opened_the_help_closes_it():
    async with open_deck() as stage:
        await stage.press("question_mark")
        assert stage.app.screen.is_modal
        await stage.press("question_mark")
        assert not stage.app.screen.is_modal


async def test_a_queue_that_is_not_known_is_not_counted_as_zero():
    snapshot = await RehearsalSource().snapshot()
    first = snapshot.deployments[0]

    def queued(*stats):
        totals = Totals()
        totals.take([Row(first.model_copy(update={"stats": one})) for one in stats])
        return totals.told("queue", units.count)

    unsent, three = DeploymentStats(window_s=60), DeploymentStats(window_s=60, queue=3)
    assert queued(unsent) == "n/e"
    assert queued(unsent, three, three) == "6"


async def test_an_account_whose_budget_is_used_up_is_told_on_every_page_and_among_the_conditions():
    async with open_deck() as stage:
        assert "SUSPENDED" not in stage.text
        stage.app.post_message(AccountSeen(Account(suspend_state="MONTHLY_SPEND_LIMIT_EXCEEDED")))
        await stage.settle()
        assert "✖ ACCOUNT local SUSPENDED: its budget of this month is used up" in stage.text
        assert "quota update monthly-spend-usd" in " ".join(stage.text.split())
        await stage.press("4")
        assert "account local" in stage.text
        assert "▲ SUSPENDED" in stage.text
        stage.app.post_message(AccountSeen(Account(suspend_state="UNSUSPENDED")))
        await stage.settle()
        assert "SUSPENDED" not in stage.text


async def test_what_came_next_and_whom_a_change_touches_are_dated_while_nobody_answers():
    async with open_deck((120, 40)) as stage:
        chat = stage.source.fleet[CHAT]
        chat.load = lambda second: 0.0
        await stage.later(3)
        stage.source.fault = Unavailable("gone")
        await stage.later(42)
        (following,) = [line for line in stage.text.splitlines() if line.startswith(" → ")]
        assert following.startswith(" → 42s ago: "), "by now it may have come about"
        await stage.press("s")
        assert "no answer: all of this is as of 42s ago" in stage.text


async def test_a_span_of_the_past_without_data_is_not_waited_for():
    async with open_deck((120, 40)) as stage:
        await stage.press(*["less_than_sign"] * 40)
        await stage.settle()
        assert "no data of that time" in stage.text
        assert "no data yet" not in stage.text


async def test_the_legend_says_what_every_curve_is_before_it_gives_values():
    async with open_deck((120, 40)) as stage:
        await stage.later(30)
        await stage.press("v")
        await stage.settle()
        (titles,) = [line for line in stage.text.splitlines() if "TTFT" in line and "━" in line]
        assert "p95 1h ago" in titles
