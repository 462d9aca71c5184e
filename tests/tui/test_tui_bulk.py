"""Several deployments at once: marked by name, planned each, confirmed together, sent one after the other."""

from __future__ import annotations

import json

from client.config import Context
from tests.tui.conftest import open_deck
from tui.screens.bulk import BulkDialog

CHAT, BASE, JUDGE, SUMMARISE = (f"accounts/local/deployments/{name}" for name in ("chat", "base", "judge", "summarise"))


async def mark(stage, *names):
    for name in names:
        stage.app.screen.table.choose(name, by_user=True)
        await stage.press("space")


async def test_marked_deployments_are_scaled_together_and_each_is_journalled(tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(journal=journal) as stage:
        await mark(stage, CHAT, BASE)
        assert " 2 marked " in stage.text
        await stage.press("s")
        assert isinstance(stage.app.screen, BulkDialog)
        stage.app.screen.query_one("#replica_count").value = "1"
        await stage.settle()
        assert "base: replicas 0 → 1" in stage.text
        await stage.press("tab", "enter")
        assert "scale" in stage.source.calls
        sent = {json.loads(line)["target"] for line in journal.read_text().splitlines()}
        assert BASE in sent
        assert not stage.app.screen.table.marked


async def test_a_single_marked_one_is_spoken_of_as_one():
    async with open_deck() as stage:
        await mark(stage, CHAT)
        await stage.press("D")
        assert "Delete 1 deployment " in stage.text


async def test_marks_belong_to_names_and_cancel_changes_nothing():
    async with open_deck() as stage:
        await mark(stage, CHAT, JUDGE)
        await stage.press("o", "D")
        assert stage.app.focused.id == "cancel"
        assert "Delete 2 deployments" in stage.text
        await stage.press("enter")
        assert "delete" not in stage.source.calls
        assert stage.app.screen.table.marked == {CHAT, JUDGE}
        await stage.press("escape")
        assert not stage.app.screen.table.marked


async def test_what_cannot_be_sent_of_one_is_told_beside_it():
    async with open_deck() as stage:
        await mark(stage, CHAT, BASE)
        await stage.press("s")
        stage.app.screen.query_one("#replica_count").value = "2"
        await stage.settle()
        assert "the maximum is 1" in stage.text, "of base; chat may have two"


async def test_production_wants_its_name_typed():
    prod = Context(base_url="rehearsal:", name="prod-eu", prod=True)
    async with open_deck(context=prod) as stage:
        stage.app.locked = False
        await mark(stage, CHAT, BASE)
        await stage.press("D")
        confirm = stage.app.screen.query_one("#confirm")
        assert confirm.disabled
        stage.app.screen.query_one("#name").value = "prod-eu"
        await stage.settle()
        assert not confirm.disabled


async def test_several_deletes_say_what_they_save_and_what_the_server_says_and_are_undone_together():
    async with open_deck((120, 40)) as stage:
        stage.source.guards_use = True
        await mark(stage, CHAT, BASE, JUDGE)
        await stage.press("D")
        assert "✖ the server refuses 1 of 3" in stage.text
        assert "in use" in stage.text
        assert "an hour now, $0.00 then" in stage.text
        await stage.press("tab", "enter")
        assert {name for name, one in stage.source.fleet.items() if one.deployment.state == "DELETED"} >= {BASE, JUDGE}
        assert stage.source.fleet[CHAT].deployment.state != "DELETED"
        assert "2 deployments were deleted" in stage.text
        await stage.later()
        await stage.press("U")
        assert isinstance(stage.app.screen, BulkDialog)
        assert "Bring back 2 deployments" in stage.text
        await stage.press("tab", "enter")
        assert {stage.source.fleet[name].deployment.state for name in (BASE, JUDGE)} == {"READY"}
        await stage.later()
        await stage.press("U")
        assert "Delete 2 deployments" in stage.text, "that is taken back as well, and asks first"
        assert stage.app.focused.id == "cancel"


async def test_a_scale_of_several_goes_back_to_the_count_that_each_had():
    async with open_deck() as stage:
        former = {name: stage.source.fleet[name].desired for name in (CHAT, SUMMARISE)}
        assert len(set(former.values()) - {0}) == len(former), former
        await mark(stage, CHAT, SUMMARISE)
        await stage.press("s")
        stage.app.screen.query_one("#replica_count").value = "0"
        await stage.settle()
        await stage.press("tab", "enter")
        await stage.later()
        await stage.press("U")
        assert isinstance(stage.app.screen, BulkDialog)
        assert not stage.app.screen.query("#replica_count")
        await stage.press("tab", "enter")
        assert {name: stage.source.fleet[name].desired for name in former} == former


async def test_the_same_as_commands_is_told_and_enter_goes_on_to_the_button():
    async with open_deck() as stage:
        await mark(stage, CHAT, SUMMARISE)
        await stage.press("s", "1")
        assert "$ firedeck deployment scale chat --replica-count 1" in stage.text
        assert "scale summarise" not in stage.text, "one replica it has"
        await stage.press("enter")
        assert stage.app.focused.id == "confirm"
        await stage.press("enter")
        assert "scale" in stage.source.calls


async def test_the_plans_of_many_are_scrolled_by_keys():
    async with open_deck((80, 24)) as stage:
        await mark(stage, CHAT, BASE, JUDGE, SUMMARISE)
        await stage.press("D")
        assert "delete summarise" not in stage.text
        await stage.press("pagedown", "pagedown", "pagedown")
        assert "$ firedeck deployment delete summarise" in stage.text
        assert "Delete 4 deployments" in stage.text
