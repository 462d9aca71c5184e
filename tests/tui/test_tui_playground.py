"""The playground on the screen: an answer streams with its figures, two sides, stopping, other models."""

from __future__ import annotations

import asyncio

import pytest

from client.errors import Unavailable
from tests.tui.conftest import open_deck
from tui.screens.playground import ChoiceDialog, PlaygroundScreen


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("tui.sources.rehearsal_models.WORD_S", 0.0)


async def asked(stage, prompt):
    stage.app.screen.prompt.value = prompt
    await stage.press("enter")


async def test_a_deployment_answers_with_what_it_took_and_the_conversation_goes_on():
    async with open_deck((120, 40)) as stage:
        await stage.press("A")
        screen = stage.app.screen
        assert isinstance(screen, PlaygroundScreen)
        assert "SIMULATED: no model answers" in stage.text
        await asked(stage, "Why is the sky blue?")
        assert "You asked 5 words: Why is the sky blue?." in stage.text
        assert "cached 0 of 13" in stage.text
        await asked(stage, "And at night?")
        assert "cached 8 of" in stage.text
        assert [who for who, _ in screen.seats[0].lines()] == ["user", "assistant"] * 2
        await stage.press("escape", "n")
        assert "Why is the sky blue" not in stage.text
        assert "nothing asked yet" in stage.text


async def test_the_same_beside_without_drafts_is_asked_after_the_first():
    async with open_deck((120, 40)) as stage:
        await stage.press("A", "escape", "o")
        assert isinstance(stage.app.screen, ChoiceDialog)
        labels = [choice.label for choice in stage.app.screen._offered]
        assert labels[:2] == ["chat", "summarise"]
        assert "brand-voice on chat" in labels
        await stage.press("down", "enter", "x")
        assert "summarise, no drafts" in stage.text
        assert "asked one after the other" in stage.text
        await stage.press("enter")
        await asked(stage, "Hello")
        assert "drafts accepted" in stage.text
        assert "no drafts  " in stage.text or "no drafts\n" in stage.text or stage.text.count("no drafts") >= 2
        assert stage.source.calls.count("chat") == 2


async def test_an_answer_can_be_stopped_and_what_failed_is_told():
    async with open_deck((120, 40)) as stage:
        await stage.press("A")
        begun = asyncio.Event()

        async def endless(body):
            yield {"choices": [{"delta": {"content": "first words"}}]}
            begun.set()
            await asyncio.Event().wait()

        stage.source.chat = endless
        stage.app.screen.prompt.value = "Go on"
        await stage.pilot.press("enter")
        await begun.wait()
        assert stage.app.screen.busy
        await stage.press("escape")
        assert "✖ stopped" in stage.text
        assert "first words" in stage.text

        async def broken(body):
            raise Unavailable("no replica is ready")
            yield {}

        stage.source.chat = broken
        await asked(stage, "Again")
        assert "no replica is ready" in stage.text
        assert not stage.app.screen.busy


async def test_what_was_said_is_there_again_after_another_page():
    async with open_deck((80, 24)) as stage:
        await stage.press("A")
        await asked(stage, "Remember this")
        await stage.press("escape", "2", "A")
        assert "Remember this" in stage.text
        stage.matches("playground-80x24")


async def test_while_a_prompt_is_typed_the_bottom_line_has_the_keys_that_are_no_letters():
    async with open_deck((80, 24)) as stage:
        await stage.press("A")
        assert stage.text.splitlines()[-1] == " enter send  esc to the keys  f1 help"
        await stage.press("escape")
        assert "o left side" in stage.text.splitlines()[-1]
        await stage.press("enter")
        assert stage.text.splitlines()[-1] == " enter send  esc to the keys  f1 help"


async def test_until_something_was_said_it_is_with_whom_the_cursor_is_on():
    async with open_deck((120, 40)) as stage:
        await stage.press("A")
        assert stage.app.screen.seats[0].choice.label == "chat"
        await stage.press("escape", "escape", "end", "A")
        assert stage.app.screen.seats[0].choice.label == "summarise"
        await asked(stage, "Hello")
        await stage.press("escape", "escape", "home", "down", "A")
        assert stage.app.screen.seats[0].choice.label == "summarise", "the conversation goes on"
