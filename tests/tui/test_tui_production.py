"""In a production context every change needs a name typed, of whatever is about to change; elsewhere none does."""

from __future__ import annotations

import json

import pytest

from client.config import Context
from tests.tui.conftest import SIZES, open_deck

PROD = Context(base_url="rehearsal:", name="prod-eu", prod=True)
MODEL = "accounts/fireworks/models/gemma-3-270m"
CHANGES = [  # verb, keys that open its dialog, what is filled in, the name to type, the call that is sent
    ("scale", ("s",), {"replica_count": "1"}, "chat", "scale"),
    ("update", ("e",), {"max_replica_count": "4"}, "chat", "update"),
    ("delete", ("D",), {}, "chat", "delete"),
    ("undelete", ("x", "slash", *"old-chat", "enter", "u"), {}, "old-chat", "undelete"),
    ("create", ("c",), {"base_model": MODEL}, "prod-eu", "create"),
    ("load", ("M", "end", "a"), {"deployment": "chat"}, "chat", "load_adapter"),
    ("unload", ("M", "X"), {}, "chat", "unload_adapter"),
    ("roll_back", ("w", "b"), {}, "canary", "abort_shift"),
]


async def opened(stage, keys, form):
    """The dialog, filled in; the server has been asked."""
    stage.app.locked = False
    await stage.press(*keys)
    for key, value in form.items():
        stage.app.screen.query_one(f"#{key}").value = value
    await stage.settle()
    stage.app.screen.check()
    await stage.settle()


@pytest.mark.parametrize(("verb", "keys", "form", "name", "call"), CHANGES, ids=[one[0] for one in CHANGES])
async def test_in_production_each_change_waits_for_the_name_of_what_changes(verb, keys, form, name, call, tmp_path):
    journal = tmp_path / "journal.jsonl"
    async with open_deck(context=PROD, journal=journal) as stage:
        await opened(stage, keys, form)
        dialog, box = stage.app.screen, stage.app.screen.query_one("#name")
        assert dialog.planned().ready
        assert dialog.focused.id == "cancel"
        assert box.placeholder == name
        assert "type the name to go on" in stage.text
        for typed in ("", name[:-1], name.upper(), f"{name}x"):
            box.value = typed
            await stage.settle()
            assert dialog.confirm.disabled, typed
        dialog.confirm.press()
        await stage.settle()
        assert call not in stage.source.calls
        box.value = name
        await stage.settle()
        assert not dialog.confirm.disabled
        dialog.confirm.press()
        await stage.settle()
        assert stage.source.calls.count(call) == 1
        assert json.loads(journal.read_text())["verb"] == verb


@pytest.mark.parametrize(("verb", "keys", "form", "name", "call"), CHANGES, ids=[one[0] for one in CHANGES])
async def test_elsewhere_no_name_is_asked_for(verb, keys, form, name, call):
    async with open_deck() as stage:
        await opened(stage, keys, form)
        assert not stage.app.screen.query("#name")
        assert not stage.app.screen.confirm.disabled


async def test_the_way_back_in_production_needs_the_name_too():
    async with open_deck(context=PROD) as stage:
        await opened(stage, ("s",), {"replica_count": "1", "name": "chat"})
        stage.app.screen.confirm.press()
        await stage.settle()
        await stage.later(3)
        await stage.press("U")
        assert stage.app.screen.query_one("#replica_count").value == "2"
        assert stage.app.screen.confirm.disabled
        stage.app.screen.query_one("#name").value = "chat"
        await stage.settle()
        assert not stage.app.screen.confirm.disabled


async def test_a_shift_and_its_way_back_in_production_need_the_routers_name():
    async with open_deck(context=PROD) as stage:
        stage.source._shift = "ABORTED"
        await opened(stage, ("w", "s"), {})
        for call in ("shift", "abort_shift"):
            dialog = stage.app.screen
            assert dialog.confirm.disabled
            dialog.query_one("#name").value = "canary"
            await stage.settle()
            dialog.confirm.press()
            await stage.settle()
            assert stage.source.calls.count(call) == 1
            await stage.press("U")


async def test_enter_goes_from_a_field_to_the_name_and_from_the_name_to_the_button():
    async with open_deck(context=PROD) as stage:
        await opened(stage, ("s",), {})
        await stage.press("1", "enter")
        assert stage.app.focused.id == "name"
        await stage.press("enter")
        assert stage.app.focused.id == "name", "not typed yet"
        await stage.press(*"chat", "enter")
        assert stage.app.focused.id == "confirm"
        assert "scale" not in stage.source.calls
        await stage.press("enter")
        assert "scale" in stage.source.calls


async def test_the_name_of_a_delete_is_simply_typed():
    async with open_deck(context=PROD) as stage:
        await opened(stage, ("D",), {})
        await stage.press(*"chat")
        assert stage.app.focused.id == "name"
        assert not stage.app.screen.confirm.disabled


async def test_an_adapter_for_another_deployment_needs_that_ones_name():
    async with open_deck(context=PROD) as stage:
        await opened(stage, ("M", "end", "a"), {"deployment": "chat", "name": "summarise"})
        assert stage.app.screen.confirm.disabled
        stage.app.screen.query_one("#deployment").value = "summarise"
        await stage.settle()
        assert stage.app.screen.query_one("#name").placeholder == "summarise"


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("verb", "keys", "form", "name", "call"), CHANGES, ids=[one[0] for one in CHANGES])
async def test_the_name_and_the_buttons_are_in_sight_on_every_screen(verb, keys, form, name, call, size):
    async with open_deck(size, context=PROD) as stage:
        await opened(stage, keys, form)
        dialog = stage.app.screen.query_one("#dialog").region
        assert stage.app.screen.size.region.contains_region(dialog)
        for selector in ("#name", "#cancel", "#confirm", "#plan"):
            region = stage.app.screen.query_one(selector).region
            assert region.area > 0
            assert dialog.overlaps(region)
            assert region.y < dialog.bottom - 1, selector
