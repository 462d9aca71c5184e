"""Every action of the table works: by its key, from the palette, as a `:` command; and with the user's own keys."""

from __future__ import annotations

import asyncio

import pytest
from textual import events
from textual.drivers.headless_driver import HeadlessDriver

from client.config import Context
from tests.tui.conftest import REST_S, open_deck
from tui import mouse
from tui.core import keys
from tui.core.actions import EVERYWHERE, of
from tui.core.config import Config
from tui.core.help_text import PAGES
from tui.keymap import owner
from tui.screens import obey
from tui.screens.change import ChangeDialog
from tui.screens.create import CreateDialog
from tui.screens.deployment import DeploymentScreen
from tui.screens.help import HelpDialog, about
from tui.screens.listing import ListScreen
from tui.screens.palette import Palette
from tui.screens.sides import SIDES

OPENED_BY = {
    "fleet": (), "deployment": ("enter",), "list": ("2",), "audit": ("9",), "alerts": ("0",), "requests": ("r",),
    "request": ("r", "enter"), "routers": ("w",), "costs": ("dollar_sign",), "timeline": ("t",),
    "matrix": ("M",), "playground": ("A", "escape"),
}  # fmt: skip
DIALOGS = (
    ("s",), ("e",), ("c",), ("D",), ("h",), ("V",), ("i",), ("space", "s"), ("w", "b"), ("w", "s"),
    ("r", "slash"), ("slash",),
    ("M", "a"), ("A", "escape", "o"),
)  # fmt: skip


def test_every_place_is_opened_here():
    assert set(OPENED_BY) == set(EVERYWHERE)


async def test_every_action_of_a_page_is_bound_to_its_keys_and_is_in_the_palette():
    async with open_deck() as stage:
        for place, opened in OPENED_BY.items():
            await to_fleet(stage)
            await stage.press(*opened)
            screen = stage.app.screen
            assert screen.place == place
            bound = {key: found.binding.action for key, found in screen.active_bindings.items()}
            titles = [command.title for command in stage.app.get_system_commands(screen)]
            for action in of(place):
                for key in action.keys:
                    assert bound[key].partition(".")[2] == action.id or bound[key] == action.id, (place, key)
                if action.name != "command_palette":
                    assert action.label in titles
                whose = stage.app if owner(action) == "app" else screen
                assert hasattr(whose, f"action_{action.id.partition('(')[0]}")


async def to_fleet(stage):
    """Away from whatever was opened."""
    async with asyncio.timeout(REST_S):
        while len(stage.app.screen_stack) > 1 or stage.app.screen.filter_box.display:
            await stage.press("escape")


async def test_no_page_and_no_dialog_listens_to_what_multiplexers_take():
    async with open_deck() as stage:
        for opened in ((), ("enter",), ("escape", "s"), ("escape", "c"), ("escape", "question_mark"), ("escape", "9")):
            await stage.press(*opened)
            assert not set(stage.app.screen.active_bindings) & keys.NEVER


async def line(stage, text):
    """Typed at `:` in one burst, Enter included."""
    await stage.press("colon")
    for key in (*text, "enter"):
        stage.app.post_message(events.Key("space" if key == " " else key, key if len(key) == 1 else None))
    async with asyncio.timeout(REST_S):
        while isinstance(stage.app.screen, Palette):
            await stage.settle()
    await stage.settle()


async def test_a_line_opens_the_dialog_of_the_deployment_it_names_filled_in_and_sends_nothing():
    async with open_deck() as stage:
        await stage.press("9")
        await line(stage, "scale deployment summarise 3")
        assert isinstance(stage.app.screen, ChangeDialog)
        assert "Scale summarise" in stage.text
        assert stage.app.screen.query_one("#replica_count").value == "3"
        assert "scale" not in stage.source.calls


async def test_lines_open_pages_and_forms_from_anywhere():
    async with open_deck() as stage:
        await line(stage, "list nodes")
        assert isinstance(stage.app.screen, ListScreen)
        await line(stage, "get deployment judge")
        assert isinstance(stage.app.screen, DeploymentScreen)
        assert "judge" in stage.text
        await line(stage, "create deployment gemma-3-270m --max-replica-count 2")
        assert isinstance(stage.app.screen, CreateDialog)
        assert stage.app.screen.query_one("#base_model").value == "accounts/fireworks/models/gemma-3-270m"
        assert stage.app.screen.query_one("#max_replica_count").value == "2"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("scale nobody 3", "there is no deployment nobody"),
        ("scale", "scale which deployment?"),
        ("freeze", "freeze is for another page"),
        ("delete old-chat", "old-chat is deleted"),
    ],
)
async def test_a_line_that_cannot_be_done_says_why(typed, told):
    async with open_deck() as stage:
        await stage.press("2")
        await line(stage, typed)
        async with asyncio.timeout(REST_S):  # what the line says is done after the palette has gone
            while told not in stage.text:
                await stage.settle()
        assert not stage.app.screen.is_modal


async def test_what_is_typed_is_completed_with_the_deployments_there_are():
    async with open_deck() as stage:
        assert [title for title, _, _ in obey.lines(stage.app, "scale s")] == ["scale summarise"]


async def test_the_users_own_keys_work_and_are_the_ones_that_are_told():
    config = Config(keys={"scale": ["f6"], "nodes": ["f7"], "command_palette": ["f8"]})
    async with open_deck((200, 40), config=config) as stage:
        assert "f6 scale" in stage.text
        await stage.press("s")
        assert not stage.app.screen.is_modal
        await stage.press("f6")
        assert isinstance(stage.app.screen, ChangeDialog)
        await stage.press("escape", "f7")
        assert isinstance(stage.app.screen, ListScreen)
        await stage.press("escape", "question_mark")
        stage.app.screen.query_one("#search").value = "number of replicas"
        await stage.settle()
        assert "f6" in stage.text
        await stage.press("escape", "f8")
        assert stage.app.screen.id == "--command-palette"


@pytest.mark.parametrize(
    ("opened", "told"),
    [
        ((), "Each line is a deployment"),
        (("tab",), "What happened, newest first"),
        (("9",), "Who did what and how it ended"),
        (("s",), "What is typed here goes into the first field"),
        (("s", "tab"), "How many replicas are asked for now"),
        (("e", "tab", "tab", "tab"), "How long the load must ask for more"),
    ],
)
async def test_the_help_begins_with_what_has_the_focus(opened, told):
    async with open_deck() as stage:
        await stage.press(*opened)
        await stage.press("f1")
        assert told in stage.text.partition("GO")[0]
        await stage.press("f1")
        assert not isinstance(stage.app.screen, HelpDialog)


async def test_the_unlock_dialog_and_the_command_line_have_help_for_their_fields_too():
    prod = Context(base_url="rehearsal:", name="prod-eu", prod=True)
    async with open_deck(context=prod) as stage:
        fields = ((("L", "tab"), "it shows that this place is meant"), (("colon",), "the command line's own words"))
        for opened, told in fields:
            await stage.press(*opened, "f1")
            assert isinstance(stage.app.screen, HelpDialog), opened
            assert told in " ".join(stage.text.split())
            await stage.press("f1", "escape")


async def test_whatever_can_have_the_focus_has_a_text_in_the_help():
    async with open_deck() as stage:
        stage.app.screen.table.choose("accounts/local/deployments/chat", by_user=True)
        for opened in (*OPENED_BY.values(), *DIALOGS):
            await to_fleet(stage)
            await stage.press(*opened)
            for widget in stage.app.screen.focus_chain:
                assert about(widget), f"{widget!r} after {opened}"
            if opened in DIALOGS:
                await stage.press("f1")
                assert isinstance(stage.app.screen, HelpDialog), opened
                assert "HERE" in stage.text


def test_every_page_has_a_text_of_its_own_in_the_help():
    assert set(SIDES) == set(PAGES)


MOUSE_ON, MOUSE_OFF = ("".join(f"\x1b[?{mode}{end}" for mode in (1000, 1003, 1015, 1006)) for end in "hl")


@pytest.fixture
def written(monkeypatch):
    """What is sent to the terminal besides the picture."""
    found = []
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, data: found.append(data))
    return found


async def test_a_key_leaves_the_mouse_to_the_terminal_and_takes_it_back(written):
    async with open_deck() as stage:
        await stage.press("T")
        assert MOUSE_OFF in written
        assert "the mouse is the terminal's" in stage.text
        written.clear()
        await stage.press("T")
        assert MOUSE_ON in written


async def test_a_key_draws_the_whole_screen_anew(written, monkeypatch):
    monkeypatch.setattr(HeadlessDriver, "is_headless", False)  # pictures are sent as well
    async with open_deck() as stage:
        shown = [word for line in stage.text.splitlines() for word in line.split() if word.isascii() and len(word) > 5]
        assert shown
        written.clear()
        await stage.press("ctrl+l")
        assert [word for word in shown if word not in "".join(written)] == []
        await stage.press("question_mark")
        written.clear()
        await stage.press("ctrl+l")
        assert "HERE" in "".join(written), "in a dialog as well"


@pytest.mark.parametrize(
    ("starts_with", "on_stop", "on_return", "at_end"),
    [(True, [], [MOUSE_OFF], []), (False, [MOUSE_OFF], [MOUSE_ON], [MOUSE_OFF])],
)
async def test_who_has_the_mouse_keeps_it_over_a_stop_of_the_process_and_a_shell_never_gets_its_moves(
    written, starts_with, on_stop, on_return, at_end
):
    def reported():
        found = [one for one in written if one in (MOUSE_ON, MOUSE_OFF)]
        written.clear()
        return found

    async with open_deck(config=Config(mouse=starts_with)) as stage:
        await stage.press("T")
        reported()
        stage.app.app_suspend_signal.publish(stage.app)
        assert reported() == on_stop
        stage.app.app_resume_signal.publish(stage.app)
        assert reported() == on_return
    assert reported() == at_end


async def test_where_the_driver_is_not_what_it_was_the_key_says_what_else_can_be_done(monkeypatch):
    async with open_deck() as stage:
        with monkeypatch.context() as gone:
            gone.delattr(stage.app, "_driver")
            assert not mouse.report(stage.app, on=True)
        monkeypatch.setattr("tui.mouse.report", lambda app, *, on: False)
        await stage.press("T")
        assert "mouse = false" in stage.text
        assert stage.app.has_mouse, "nothing has changed hands"
