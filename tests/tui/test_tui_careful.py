"""Every dialog that can change something begins on Cancel, and what is typed there arrives in its first field."""

from __future__ import annotations

import pytest
from textual import events

from client.config import Context
from tests.tui.conftest import SIZES, open_deck
from tui.screens.careful import CarefulDialog

CHANGES = {
    "scale": ("s",), "update": ("e",), "create": ("c",), "delete": ("D",),
    "undelete": ("x", "slash", *"old-chat", "enter", "u"), "scale of several": ("space", "s"),
    "delete of several": ("space", "D"), "roll_back": ("w", "b"),
    "shift": ("w", "s"), "load": ("M", "end", "a"), "unload": ("M", "X"),
}  # fmt: skip
FIELDS = {
    "scale": "replica_count", "update": "min_replica_count", "create": "deployment_id",
    "scale of several": "replica_count", "load": "deployment", "shift": "to",
}  # fmt: skip
VERBS = {"scale", "update", "create", "delete", "undelete", "shift", "abort_shift", "load_adapter", "unload_adapter"}


def burst(stage, *keys):
    """Pressed faster than anything is done."""
    for key in keys:
        stage.app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize("keys", CHANGES.values(), ids=CHANGES)
async def test_a_dialog_begins_on_cancel_and_enter_there_changes_nothing(keys):
    async with open_deck() as stage:
        await stage.press(*keys)
        assert isinstance(stage.app.screen, CarefulDialog)
        assert stage.app.focused.id == "cancel"
        await stage.press("enter")
        assert not stage.app.screen.is_modal
        assert not VERBS & set(stage.source.calls)


@pytest.mark.parametrize(("dialog", "field"), FIELDS.items())
async def test_a_burst_that_is_typed_on_cancel_arrives_whole_and_in_order_in_the_first_field(dialog, field):
    async with open_deck() as stage:
        await stage.press(*CHANGES[dialog])
        burst(stage, *"3142-x.7")
        await stage.settle()
        assert stage.app.focused.id == field
        assert stage.app.focused.value == "3142-x.7"


@pytest.mark.parametrize(
    ("pressed", "held"), [(("backspace", "5"), "5"), (("backspace",), ""), (("7", "home", "1"), "17")]
)
async def test_what_the_field_starts_with_is_typed_over(pressed, held):
    async with open_deck() as stage:
        await stage.press("s")
        burst(stage, *pressed)
        await stage.settle()
        assert stage.app.screen.query_one("#replica_count").value == held


async def test_what_is_pasted_on_a_button_arrives_too():
    async with open_deck() as stage:
        await stage.press("s")
        stage.app.post_message(events.Paste("1"))
        await stage.settle()
        assert stage.app.screen.query_one("#replica_count").value == "1"
        assert stage.app.focused.id == "replica_count"


@pytest.mark.parametrize("key", ["space", "enter"])
async def test_keys_that_press_a_button_are_not_typed(key):
    async with open_deck() as stage:
        await stage.press("s")
        former = stage.app.screen.query_one("#replica_count").value
        dialog = stage.app.screen
        burst(stage, key)
        await stage.settle()
        assert (
            dialog.query_one("#replica_count").value == former if dialog.is_attached else not stage.app.screen.is_modal
        )


async def test_where_nothing_can_be_typed_letters_do_nothing():
    async with open_deck() as stage:
        await stage.press("D")
        burst(stage, *"chat")
        await stage.settle()
        assert stage.app.focused.id == "cancel"
        assert "delete" not in stage.source.calls


async def test_typing_on_the_button_of_a_finished_form_goes_on_with_the_form():
    async with open_deck() as stage:
        await stage.press("s", "1", "enter")
        assert stage.app.focused.id == "confirm"
        await stage.press("0")
        assert stage.app.focused.id == "replica_count"
        assert stage.app.focused.value == "0"
        assert "scale" not in stage.source.calls


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_an_untouched_form_says_what_to_do(size):
    async with open_deck(size) as stage:
        await stage.press("s")
        assert "nothing to send yet: just type" in stage.text
        await stage.press("escape", "c")
        assert "tab to the model, or type the id" in stage.text


async def test_the_name_that_unlocks_is_typed_at_once_and_enter_on_cancel_keeps_the_lock():
    async with open_deck(context=Context(base_url="rehearsal:", name="prod-eu", prod=True)) as stage:
        await stage.press("L")
        assert stage.app.focused.id == "cancel"
        await stage.press("enter")
        assert not stage.app.screen.is_modal
        assert stage.app.locked
        await stage.press("L")
        burst(stage, *"prod-eu", "enter")
        await stage.settle()
        assert not stage.app.locked


@pytest.mark.parametrize("change", ["delete", "delete of several"])
async def test_arrows_go_from_button_to_button_and_stay_at_the_ends(change):
    async with open_deck() as stage:
        await stage.press(*CHANGES[change])
        for key, reached in (("left", "cancel"), ("left", "cancel"), ("right", "confirm"), ("right", "confirm")):
            await stage.press(key)
            assert stage.app.focused.id == reached


async def test_arrows_move_within_a_field_and_past_no_button_that_cannot_be_pressed():
    async with open_deck() as stage:
        await stage.press("s", "right")
        assert stage.app.focused.id == "cancel", "nothing can be sent yet"
        await stage.press("2", "left")
        assert stage.app.focused.id == "replica_count"
