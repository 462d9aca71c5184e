"""The routers: weights, measured shares, the shift's verdicts; and its roll-back, planned, confirmed and journalled."""

from __future__ import annotations

import json

from tests.tui.conftest import open_deck
from tui.screens.shifts import RouterDialog, ShiftDialog


async def test_a_router_shows_wanted_and_measured_shares_and_the_verdicts_of_its_shift():
    async with open_deck((80, 24)) as stage:
        await stage.press("w")
        stage.matches("routers-80x24")


async def test_a_shift_is_rolled_back_after_a_look_at_what_that_changes(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await stage.press("w", "b")
        assert isinstance(stage.app.screen, RouterDialog)
        assert stage.app.focused.id == "cancel"
        assert "share of summarise" in stage.text
        assert "firedeck router shift canary --abort" in stage.text
        await stage.press("escape")
        assert "abort_shift" not in stage.source.calls
        await stage.press("b", "tab", "enter")
        assert stage.source.calls.count("abort_shift") == 1
        assert "canary was rolled back" in stage.text
        (entry,) = [json.loads(line) for line in journal.read_text().splitlines()]
        assert (entry["verb"], entry["outcome"]) == ("roll_back", "ok")
        await stage.later(3)
        assert "▼ ABORTED" in stage.text
        await stage.press("b")
        assert "nothing is shifted on canary" in stage.text
        await stage.press("U")
        limits = "--max-error-rate 0.05 --min-requests 20"
        again = f"firedeck router shift canary --to summarise --over 10m --step 10 {limits}"
        assert stage.app.screen.planned().command == again
        assert stage.app.focused.id == "cancel"
        assert "the server would accept this" in stage.text
        await stage.press("tab", "enter")
        assert "shift" in stage.source.calls
        await stage.later(3)
        await stage.press("U")
        assert "firedeck router shift canary --abort" in stage.text, "and that is taken back"


async def test_a_shift_that_ended_meanwhile_is_not_rolled_back():
    async with open_deck() as stage:
        await stage.press("w", "b")
        stage.source._shift = "COMPLETED"
        await stage.press("tab", "enter")
        assert "abort_shift" not in stage.source.calls
        assert "is over" in stage.text


async def test_a_locked_dashboard_rolls_nothing_back():
    async with open_deck(readonly=True) as stage:
        await stage.press("w", "b")
        assert not isinstance(stage.app.screen, RouterDialog)
        assert "locked" in stage.text


async def rolled_back(stage):
    await stage.press("w", "b", "tab", "enter")
    await stage.later(3)
    stage.source.calls.clear()


async def test_a_shift_is_begun_with_its_steps_after_the_servers_dry_run_and_can_be_taken_back(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await rolled_back(stage)
        await stage.press("s")
        dialog = stage.app.screen
        assert isinstance(dialog, ShiftDialog)
        assert stage.app.focused.id == "cancel"
        assert dialog.query_one("#to").value == "summarise", "the one that gets least"
        for key, value in (("over", "20m"), ("step_percent", "25")):
            dialog.query_one(f"#{key}").value = value
        await stage.settle()
        assert "share of summarise" in stage.text
        assert "4 steps of 25% of new requests, over 20m" in stage.text
        assert dialog.planned().command == "firedeck router shift canary --to summarise --over 20m --step 25"
        assert dialog.confirm.disabled, "not before the dry run"
        dialog.check()
        await stage.settle()
        assert "shift" not in stage.source.calls
        dialog.confirm.press()
        await stage.settle()
        assert stage.source.calls.count("shift") == 1
        assert json.loads(journal.read_text().splitlines()[-1])["verb"] == "shift"
        await stage.later(3)
        await stage.press("U")
        assert "firedeck router shift canary --abort" in stage.text


async def test_a_shift_to_what_is_not_there_is_refused_by_the_server_and_a_slip_at_its_field():
    async with open_deck() as stage:
        await rolled_back(stage)
        await stage.press("s")
        dialog = stage.app.screen
        dialog.query_one("#to").value = "nobody"
        await stage.settle()
        dialog.check()
        await stage.settle()
        assert "'nobody' is no canary here" in stage.text
        dialog.query_one("#step_percent").value = "0.5"
        await stage.settle()
        assert "must be from 1 to 100" in stage.text
        assert dialog.query_one("#step_percent").has_class("-wrong")
        assert dialog.confirm.disabled


async def test_a_router_that_is_being_shifted_is_not_shifted_elsewhere():
    async with open_deck() as stage:
        await stage.press("w", "s")
        assert "is being shifted to summarise: roll that back first" in stage.text
        assert stage.app.screen.confirm.disabled


async def test_a_shift_that_somebody_else_began_meanwhile_is_left_alone():
    async with open_deck() as stage:
        await rolled_back(stage)
        await stage.press("s")
        stage.app.screen.check()
        await stage.settle()
        stage.source._shift = "SHIFTING"
        stage.app.screen.confirm.press()
        await stage.settle()
        assert "was shifted by somebody else meanwhile" in stage.text
        assert "shift" not in stage.source.calls
