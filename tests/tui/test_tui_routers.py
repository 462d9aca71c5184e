"""The routers: weights, measured shares, the shift's verdicts; and its roll-back, planned, confirmed and journalled."""

from __future__ import annotations

import json

from tests.tui.conftest import open_deck
from tui.screens.routers import RollBackDialog


async def test_a_router_shows_wanted_and_measured_shares_and_the_verdicts_of_its_shift():
    async with open_deck((80, 24)) as stage:
        await stage.press("w")
        stage.matches("routers-80x24")


async def test_a_shift_is_rolled_back_after_a_look_at_what_that_changes(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await stage.press("w", "b")
        assert isinstance(stage.app.screen, RollBackDialog)
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
        assert not isinstance(stage.app.screen, RollBackDialog)
        assert "locked" in stage.text
