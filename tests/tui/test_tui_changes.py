"""Changes show what they do before they are sent, are sent once, to the deployment that was seen."""

from __future__ import annotations

import json
from datetime import timedelta

from client.errors import Unavailable
from tests.tui.conftest import open_deck
from tui.screens.change import ChangeDialog
from tui.screens.create import CreateDialog

CHAT = "accounts/local/deployments/chat"


async def dry_run(stage):
    stage.app.screen.check()
    await stage.settle()


def form(stage, **values):
    for key, value in values.items():
        stage.app.screen.query_one(f"#{key}").value = value


async def test_focus_starts_on_cancel_and_enter_sends_nothing():
    async with open_deck() as stage:
        await stage.press("D")
        assert stage.app.focused.id == "cancel"
        await stage.press("enter")
        assert not stage.app.screen.is_modal
        assert "delete" not in stage.source.calls


async def test_scaling_shows_the_difference_the_command_and_whom_it_touches():
    async with open_deck() as stage:
        await stage.press("s")
        form(stage, replica_count="1")
        await stage.settle()
        assert "2 → 1" in stage.text
        assert "firedeck deployment scale chat --replica-count 1" in stage.text
        assert "in flight" in stage.text
        assert "1 of 2 ready replicas will be drained" in stage.text
        assert "scale" not in stage.source.calls


async def test_scaling_is_sent_followed_and_can_be_undone(tmp_path):
    journal = tmp_path / "deep" / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await stage.press("s")
        form(stage, replica_count="1")
        await stage.settle()
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
        await stage.press("s")
        form(stage, replica_count="9")
        await stage.settle()
        assert stage.app.screen.query_one("#confirm").disabled
        assert "the maximum is 2" in stage.text
        assert stage.app.screen.query_one("#replica_count").has_class("-wrong")


async def test_delete_goes_to_the_deployment_of_that_name_even_when_rows_have_moved():
    async with open_deck() as stage:
        await stage.press("D")
        stage.app.screen_stack[-2].sort = "rps"
        await stage.later(3)
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert stage.source.fleet[CHAT].deployment.state == "DELETED"
        assert sum(d.deployment.state == "DELETED" for d in stage.source.fleet.values()) == 2


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
        await stage.pilot.click("#confirm")
        await stage.settle()
        deployment = stage.source.fleet[CHAT].deployment
        assert deployment.max_replica_count == 4
        assert deployment.autoscaling_policy.scale_down_window == timedelta(minutes=5)
        assert deployment.autoscaling_policy.scale_up_window == timedelta(seconds=30)


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


async def test_create_tells_every_mistake_at_its_field():
    async with open_deck() as stage:
        await stage.press("c")
        form(
            stage, deployment_id="Not_valid", min_replica_count="3", max_replica_count="1", scale_up_window="soon",
            draft_model="accounts/fireworks/models/x", ngram_speculation_length="3",
        )  # fmt: skip
        await stage.settle()
        for told in (
            "is not a valid id", "must not be below the minimum (3)", "is not a duration",
            "use a draft model or n-grams, not both", "is required with a draft model or n-grams",
        ):  # fmt: skip
            assert told in " ".join(stage.text.split())
        for key in ("deployment_id", "max_replica_count", "scale_up_window", "ngram_speculation_length"):
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


async def test_a_deployment_in_use_is_deleted_only_when_asked_a_second_time():
    async with open_deck() as stage:
        stage.source.guards_use = True
        await stage.press("D")
        await stage.pilot.click("#confirm")
        await stage.settle()
        assert "is in use" in stage.text
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
