"""Themes, contexts and the last view, on the screen."""

from __future__ import annotations

import pytest

from client.config import Context
from tests.tui.conftest import START, FakeClock, Pace, open_deck
from tui import theme
from tui.app import Deck
from tui.core.config import Config, ContextSettings
from tui.core.journal import Journal
from tui.core.last_view import LastViews
from tui.screens.listing import ListScreen
from tui.sources.rehearsal import RehearsalSource


@pytest.mark.parametrize("name", [one.name for one in theme.THEMES])
async def test_every_theme_draws_the_fleet_and_its_dialogs(name):
    async with open_deck(config=Config(theme=name)) as stage:
        assert stage.app.theme == name
        assert "● READY" in stage.text
        await stage.press("D")
        assert "Delete chat" in stage.text


async def test_a_theme_that_is_not_there_is_told_and_ours_is_taken():
    async with open_deck(config=Config(theme="no-such")) as stage:
        assert stage.app.theme == "firedeck"
        assert "there is no theme no-such" in stage.text


async def test_a_contexts_name_stands_on_its_colour():
    config = Config(contexts={"eu": ContextSettings(colour="orange")})
    async with open_deck(config=config, context=Context(base_url="rehearsal:", name="eu")) as stage:
        svg = stage.app.export_screenshot()
        assert theme.tones(theme.FIREDECK)["tone-attention"] in svg
        assert " eu " in stage.text.splitlines()[0]


async def run(views, *keys, filtered=""):
    """A run of the dashboard that ends by its own key."""
    clock = FakeClock()
    app = Deck(RehearsalSource(clock, Pace()), clock=clock, journal=Journal(None), last_views=views)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        opened = app.screen.side.listing.id if isinstance(app.screen, ListScreen) else app.screen.filter_box.value
        if filtered:
            app.screen.filter_box.value = filtered
        await pilot.press(*keys, "q")
    assert clock.now == START
    return opened


async def test_the_next_run_begins_where_the_last_one_ended(tmp_path):
    views = LastViews(tmp_path / "views.json")
    assert await run(views, filtered="state:ready") == ""
    assert await run(views, "3") == "state:ready"
    assert await run(views, "1") == "events"
    assert await run(views) == "state:ready"
