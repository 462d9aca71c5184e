"""Changes show what they do before they are sent, are sent once, to the deployment that was seen."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from textual import events

from client.errors import InvalidArgument, Unavailable
from tests.tui.conftest import REST_S, SIZES, open_deck
from tui.core.query import View
from tui.screens.change import ChangeDialog
from tui.screens.create import CreateDialog

CHAT = "accounts/local/deployments/chat"


async def dry_run(stage):
    stage.app.screen.check()
    await stage.settle()


def form(stage, **values):
    for key, value in values.items():
        stage.app.screen.query_one(f"#{key}").value = value


async def ask_to_scale(stage, count):
    """The scale dialog of the chosen deployment, with this number in it."""
    await stage.press("s")
    form(stage, replica_count=count)
    await stage.settle()


async def test_focus_starts_on_cancel_and_enter_sends_nothing():
    async with open_deck() as stage:
        await stage.press("D")
        assert stage.app.focused.id == "cancel"
        await stage.press("enter")
        assert not stage.app.screen.is_modal
        assert "delete" not in stage.source.calls


async def test_a_number_typed_into_the_scale_dialog_arrives_there_and_enter_goes_to_the_button():
    async with open_deck() as stage:
        await stage.press("s")
        await stage.press("1")
        assert stage.app.screen.query_one("#replica_count").value == "1"
        await stage.press("enter")
        assert stage.app.focused.id == "confirm"
        assert "scale" not in stage.source.calls


async def test_scaling_shows_the_difference_the_command_and_whom_it_touches():
    async with open_deck() as stage:
        await ask_to_scale(stage, "1")
        assert "2 → 1" in stage.text
        assert "firedeck deployment scale chat --replica-count 1" in stage.text
        assert "in flight" in stage.text
        assert "1 of 2 ready replicas will be drained" in stage.text
        assert "scale" not in stage.source.calls


async def test_scaling_is_sent_followed_and_can_be_undone(tmp_path):
    journal = tmp_path / "deep" / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await ask_to_scale(stage, "1")
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert not stage.app.screen.is_modal
        assert stage.source.fleet[CHAT].desired == 1
        assert "chat was scaled" in stage.text
        assert "U takes it back" in stage.text
        await stage.later(3)
        assert "1 of 1 replicas ready" in stage.text
        await stage.press("U")
        assert isinstance(stage.app.screen, ChangeDialog)
        assert stage.app.screen.query_one("#replica_count").value == "2"
        entry = json.loads(journal.read_text())
        assert entry["verb"] == "scale"
        assert entry["before"] == {"replicas": "2"}
        assert entry["after"] == {"replicas": "1"}
        assert entry["outcome"] == "ok"
        assert journal.stat().st_mode & 0o077 == 0


async def test_a_count_above_the_maximum_is_refused_in_the_dialog():
    async with open_deck() as stage:
        await ask_to_scale(stage, "9")
        assert stage.app.screen.query_one("#confirm").disabled
        assert "the maximum is 2" in stage.text
        assert stage.app.screen.query_one("#replica_count").has_class("-wrong")


async def test_delete_goes_to_the_deployment_of_that_name_even_when_rows_have_moved():
    async with open_deck() as stage:
        await stage.press("D")
        stage.app.screen_stack[-2].order = View(sort="rps")
        await stage.later(3)
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"
        assert sum(d.deployment.state == "DELETED" for d in stage.source.fleet.values()) == 2


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_the_delete_dialog_shows_what_goes_whom_it_touches_and_how_it_comes_back(size):
    async with open_deck(size) as stage:
        await stage.press("D")
        stage.matches("delete-{}x{}".format(*size))


async def test_adapters_that_could_not_be_listed_are_told_as_not_known_and_the_delete_is_possible():
    async with open_deck() as stage:
        stage.source.adapters = Held(stage.source.adapters, Unavailable("the engine is restarting"))
        stage.source.adapters.go.set()
        await stage.press("D")
        assert "adapters – → unloaded" in " ".join(stage.text.split())
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"


async def test_delete_is_refused_when_another_deployment_has_taken_the_name():
    async with open_deck() as stage:
        await stage.press("D")
        sim = stage.source.fleet[CHAT]
        newer = sim.deployment.create_time + timedelta(hours=1)
        sim.deployment = sim.deployment.model_copy(update={"create_time": newer})
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert isinstance(stage.app.screen, ChangeDialog)
        assert "was replaced by another deployment" in stage.text
        assert "delete" not in stage.source.calls


async def test_after_delete_undelete_is_one_key_away():
    async with open_deck() as stage:
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await stage.later()
        await stage.press("U")
        assert "Bring back chat" in stage.text
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "READY"


async def test_an_error_of_the_server_stays_in_the_dialog():
    async with open_deck() as stage:
        await stage.press("D")
        stage.source.fault = Unavailable("the engine is restarting", hint="try again in a moment")
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert isinstance(stage.app.screen, ChangeDialog)
        assert "the engine is restarting" in stage.text


async def test_a_dialog_that_is_open_cannot_get_around_the_lock():
    async with open_deck() as stage:
        await stage.press("D")
        stage.app.locked = True
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert "read-only" in stage.text
        assert "delete" not in stage.source.calls


async def test_editing_sends_only_what_differs():
    async with open_deck() as stage:
        await stage.press("e")
        form(stage, max_replica_count="4", scale_down_window="5m")
        await stage.settle()
        assert "2 → 4" in stage.text
        assert "10m → 5m" in stage.text
        command = "firedeck deployment update chat --max-replica-count 4 --scale-down-window 5m"
        assert stage.app.screen.planned().command == command
        assert stage.app.screen.query_one("#confirm").disabled, "not before the dry run"
        await dry_run(stage)
        assert "the server would accept this" in stage.text
        await stage.pilot.click("#confirm")
        await stage.settle()
        deployment = stage.source.fleet[CHAT].deployment
        assert deployment.max_replica_count == 4
        assert deployment.autoscaling_policy.scale_down_window == timedelta(minutes=5)
        assert deployment.autoscaling_policy.scale_up_window == timedelta(seconds=30)
        await stage.later(3)
        assert "2 of 2 replicas ready" in stage.text


async def test_create_needs_a_model_a_valid_form_and_the_servers_dry_run():
    async with open_deck() as stage:
        await stage.press("c")
        screen = stage.app.screen
        assert isinstance(screen, CreateDialog)
        assert screen.query_one("#confirm").disabled
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="new-one", max_replica_count="2")
        await stage.settle()
        assert screen.query_one("#confirm").disabled, "not before the dry run"
        await dry_run(stage)
        assert "the server would accept this" in stage.text
        assert "30s (default)" in stage.text, "the defaults that the server fills in are shown"
        assert "create" not in stage.source.calls
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert "accounts/local/deployments/new-one" in stage.source.fleet
        await stage.later(3)
        assert "new-one" in stage.text
        assert stage.app.screen.table.cursor.endswith("/new-one"), "the cursor goes to what was made"


async def test_the_server_is_asked_by_itself_once_the_form_is_left_alone(monkeypatch):
    monkeypatch.setattr("tui.screens.dialog.DRY_RUN_AFTER_S", 0.01)
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="new-one")
        await turn(stage, lambda: "the server would accept this" in stage.text)
        assert not stage.app.screen.query_one("#confirm").disabled
        assert "create" not in stage.source.calls


async def test_create_tells_every_mistake_at_its_field():
    async with open_deck() as stage:
        await stage.press("c")
        form(
            stage, deployment_id="Not_valid", min_replica_count="3", max_replica_count="1", scale_up_window="soon",
            load_target_value="much",
        )  # fmt: skip
        await stage.settle()
        for told in (
            "is not a valid id", "must not be below the minimum (3)", "is not a duration", "must be a number above 0",
        ):  # fmt: skip
            assert told in " ".join(stage.text.split())
        for key in ("deployment_id", "max_replica_count", "scale_up_window", "load_target_value"):
            assert stage.app.screen.query_one(f"#{key}").has_class("-wrong")


async def test_create_shows_the_servers_refusal_at_its_field():
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", max_replica_count="9")
        await stage.settle()
        await dry_run(stage)
        assert "at most 8 replicas fit" in stage.text
        assert stage.app.screen.query_one("#max_replica_count").has_class("-wrong")
        assert stage.app.screen.query_one("#confirm").disabled


async def test_create_survives_a_list_of_models_that_does_not_come():
    async with open_deck() as stage:
        stage.source.fault = Unavailable("no answer")
        await stage.press("c")
        assert "the models could not be listed" in stage.text


async def test_a_taken_id_is_refused_before_sending():
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="chat")
        await stage.settle()
        assert "is taken already" in stage.text


async def test_a_dry_run_says_that_a_deployment_is_in_use_before_anything_is_sent():
    async with open_deck() as stage:
        stage.source.guards_use = True
        await stage.press("D")
        assert "✖ chat is in use; nothing was deleted yet" in stage.text
        assert "Delete anyway" in stage.text
        assert "firedeck deployment delete chat --ignore-checks" in stage.text
        assert "the server would accept this" in stage.text
        assert "delete" not in stage.source.calls
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"


async def test_a_deployment_that_came_into_use_meanwhile_is_deleted_only_when_asked_a_second_time():
    async with open_deck() as stage:
        await stage.press("D")
        stage.source.guards_use = True
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert "✖ chat is in use; nothing was deleted yet" in stage.text
        assert "ignoreChecks" not in stage.text
        assert "Delete anyway" in stage.text
        assert "firedeck deployment delete chat --ignore-checks" in stage.text
        assert stage.app.focused.id == "cancel"
        assert stage.source.fleet[CHAT].deployment.state == "READY"
        # A pressed button takes no second press while it still lights up: a double click cannot confirm twice.
        confirm = stage.app.screen.query_one("#confirm")
        while confirm.has_class("-active"):
            await stage.pilot.pause(0.01)
        await stage.press("tab", "enter")
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"


class Held:
    """A source's verb that answers when the test says so; `error` is the first answer; `calls` counts the questions."""

    def __init__(self, verb, error=None):
        self.verb, self.error, self.calls = verb, error, 0
        self.go = asyncio.Event()

    async def __call__(self, *args, **options):
        self.calls += 1
        error, self.error = self.error, None
        await self.go.wait()
        if error is not None:
            raise error
        return await self.verb(*args, **options)


async def turn(stage, until):
    """Let the app work until `until()` holds; for what `settle` cannot wait for: a call that is held."""
    async with asyncio.timeout(REST_S):
        while not until():
            await stage.pilot.pause(0.01)


async def test_escape_while_sending_closes_the_dialog_and_loses_nothing(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        held = stage.source.delete = Held(stage.source.delete)
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await turn(stage, lambda: held.calls)
        await stage.pilot.press("escape")
        await turn(stage, lambda: not stage.app.screen.is_modal)
        held.go.set()
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"
        assert json.loads(journal.read_text())["outcome"] == "ok"
        assert "chat was deleted" in stage.text
        await stage.later()
        await stage.press("U")
        assert "Bring back chat" in stage.text


async def test_a_refusal_after_the_dialog_was_closed_is_told():
    async with open_deck() as stage:
        held = stage.source.delete = Held(stage.source.delete, Unavailable("the engine is restarting"))
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await turn(stage, lambda: held.calls)
        await stage.pilot.press("escape")
        await turn(stage, lambda: not stage.app.screen.is_modal)
        held.go.set()
        await stage.settle()
        assert "the engine is restarting" in stage.text


async def test_a_change_cut_off_by_the_end_of_the_dashboard_is_journalled_as_unknown(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        held = stage.source.delete = Held(stage.source.delete)
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await turn(stage, lambda: held.calls)
    entry = json.loads(journal.read_text())
    assert (entry["verb"], entry["target"]) == ("delete", CHAT)
    assert entry["outcome"].startswith("outcome unknown")


async def test_a_second_press_while_sending_sends_nothing_more():
    async with open_deck() as stage:
        held = stage.source.delete = Held(stage.source.delete)
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await turn(stage, lambda: held.calls)
        assert stage.app.screen.query_one("#confirm").disabled
        stage.app.screen.query_one("#confirm").press()
        held.go.set()
        await stage.settle()
        assert held.calls == 1


async def test_a_late_refusal_of_an_older_form_does_not_stick_to_the_newer_one():
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="first")
        await stage.settle()
        held = stage.source.validate_create = Held(stage.source.validate_create, InvalidArgument("not this one"))
        stage.app.screen.check()
        await turn(stage, lambda: held.calls)
        form(stage, deployment_id="second")
        await stage.pilot.pause()
        held.go.set()
        await stage.settle()
        assert "not this one" not in stage.text
        await dry_run(stage)
        assert "the server would accept this" in stage.text
        assert not stage.app.screen.query_one("#confirm").disabled


async def test_an_edit_that_the_server_refuses_cannot_be_sent():
    async with open_deck() as stage:
        await stage.press("e")
        form(stage, max_replica_count="9")
        await stage.settle()
        await dry_run(stage)
        assert "at most 8 replicas fit" in stage.text
        assert stage.app.screen.query_one("#max_replica_count").has_class("-wrong")
        assert stage.app.screen.query_one("#confirm").disabled
        assert "update" not in stage.source.calls


async def test_enter_in_a_form_goes_to_the_button_once_it_works():
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="new-one")
        stage.app.screen.query_one("#deployment_id").focus()
        await stage.settle()
        await stage.press("enter")
        assert stage.app.focused.id == "confirm"
        assert "create" not in stage.source.calls


async def test_the_last_change_is_what_is_taken_back():
    async with open_deck() as stage:
        await ask_to_scale(stage, "1")
        await stage.pilot.click("#confirm")
        await stage.later()
        await stage.press("e")
        form(stage, scale_down_window="5m")
        await stage.settle()
        await dry_run(stage)
        await stage.pilot.click("#confirm")
        await stage.later()
        assert [one.verb for one in stage.app.undo] == ["update"]
        await stage.press("U")
        assert stage.app.screen.query_one("#scale_down_window").value == "10m"


async def test_a_create_is_taken_back_by_a_delete_which_asks_first():
    async with open_deck() as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/gemma-3-270m", deployment_id="night")
        await stage.settle()
        await dry_run(stage)
        await stage.pilot.click("#confirm")
        await stage.later()
        assert "U takes it back: firedeck deployment delete night" in " ".join(stage.text.split())
        await stage.press("U")
        assert "Delete night" in stage.text
        assert stage.app.focused.id == "cancel"


async def test_a_change_that_is_sent_ends_the_following_of_the_former_one():
    async with open_deck() as stage:
        await ask_to_scale(stage, "1")
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert "chat scale" in stage.app.following
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert not stage.app.following


async def test_an_undelete_is_taken_back_by_a_delete_which_asks_first():
    async with open_deck() as stage:
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await stage.later()
        await stage.press("U")
        await stage.pilot.click("#confirm")
        await stage.later()
        assert "U takes it back: firedeck deployment delete chat" in " ".join(stage.text.split())
        await stage.press("U")
        assert "Delete chat" in stage.text
        assert stage.app.focused.id == "cancel"
        await stage.press("enter")
        assert stage.source.fleet[CHAT].deployment.state == "READY"


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_buttons_errors_and_verdict_stay_in_sight_however_long_the_plan_is(size):
    async with open_deck(size) as stage:
        await stage.press("c")
        model = "accounts/fireworks/models/smollm2-135m-instruct"
        form(stage, base_model=model, deployment_id="x" * 63, max_replica_count="2", scale_down_window="11m")
        await stage.settle()
        await dry_run(stage)
        assert "the server would accept this" in stage.text
        assert all(shown(stage, f"#{name}") for name in ("cancel", "confirm", "verdict", "plan"))
        form(stage, max_replica_count="0", min_replica_count="-1", scale_up_window="a", scale_to_zero_window="b")
        await stage.settle()
        assert all(shown(stage, f"#{name}") for name in ("cancel", "confirm", "verdict", "error"))


def shown(stage, selector):
    """It lies in the dialog and in the window, with room of its own."""
    dialog, region = stage.app.screen.query_one("#dialog").region, stage.app.screen.query_one(selector).region
    return region.area > 0 and dialog.overlaps(region) and region.y < dialog.bottom - 1


async def test_at_80_columns_no_default_is_broken_over_two_lines():
    async with open_deck((80, 24)) as stage:
        await stage.press("c")
        form(stage, base_model="accounts/fireworks/models/smollm2-135m-instruct", deployment_id="support-bot")
        await stage.settle()
        await dry_run(stage)
        for told in ("30s (default)", "10m (default)", "default=0.8 (default)"):
            assert told in stage.text


@pytest.mark.parametrize(
    ("burst", "held"),
    [(("backspace", "2", "1"), "21"), (("backspace", "2"), "2"), (("4", "home", "1", "end", "0", "delete"), "140")],
)
async def test_keys_that_come_in_one_burst_act_in_the_order_in_which_they_were_pressed(burst, held):
    async with open_deck() as stage:
        await stage.press("s")
        for key in burst:
            stage.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await stage.settle()
        assert stage.app.screen.query_one("#replica_count").value == held


async def test_a_plan_says_what_it_costs_at_the_prices_of_the_nodes():
    async with open_deck() as stage:
        await ask_to_scale(stage, "1")
        assert "COST $0.40 an hour now, $0.20 then (−$0.20); $0.20 a replica" in stage.text
        assert "the API has no dry run of this" in stage.text


async def test_without_prices_the_cost_is_not_known_and_not_zero():
    async with open_deck() as stage:
        stage.source.nodes = Held(stage.source.nodes, Unavailable("not for this role"))
        stage.source.nodes.go.set()
        await stage.press("D")
        assert "COST not known" in stage.text
        assert "$0" not in stage.text


async def test_the_delete_dialog_takes_the_smallest_screen_for_its_plan_and_not_for_blanks():
    async with open_deck((80, 24)) as stage:
        await stage.press("D")
        lines = stage.text.splitlines()
        assert "undelete brings all of it back" in stage.text
        assert "Cancel" in lines[21], "the last line of the dialog"


async def test_an_edit_is_followed_in_the_bottom_line_and_its_former_settings_are_offered():
    async with open_deck() as stage:
        await stage.press("e")
        form(stage, max_replica_count="4", scale_down_window="5m")
        await stage.settle()
        await dry_run(stage)
        await stage.pilot.click("#confirm")
        await stage.settle()
        await stage.later()
        assert "chat update: 2 of 2 replicas ready, 1s" in stage.text.splitlines()[-1]
        await stage.later(3)
        assert "chat update" not in stage.text.splitlines()[-1]
        await stage.press("U")
        assert stage.app.screen.query_one("#max_replica_count").value == "2"
        assert stage.app.screen.query_one("#scale_down_window").value == "10m"
        await dry_run(stage)
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.max_replica_count == 2


async def test_what_was_changed_from_here_is_a_page_with_how_it_ended(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await ask_to_scale(stage, "1")
        await stage.pilot.click("#confirm")
        await stage.settle()
        with journal.open("a") as file:
            file.write('{"torn": ')
        await stage.press("J")
        (row,) = [text for text in stage.text.splitlines() if "replicas 2 → 1" in text and "scale" in text][:1]
        assert "chat" in row
        assert "ok" in row
        assert "scale accounts/local/deployments/chat by" in stage.text
