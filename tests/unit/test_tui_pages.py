"""Every page has its rows from every source, or a reason why that source has none."""

from __future__ import annotations

import pytest

from tests.unit.test_tui_fireworks import Account
from tests.unit.test_tui_tape import START, lines, snapshots, source_of
from tui.core.actions import ACTIONS
from tui.core.snapshot import Picture
from tui.screens.sides import SIDES
from tui.sources.rehearsal import RehearsalSource

SOURCES = {
    "rehearsal": RehearsalSource,
    "recording": lambda: source_of(*lines(snapshots(3))),
    "fireworks": lambda: Account().source(),
}
PAGES = [action.name for action in ACTIONS if action.group == "Pages" and action.name in SIDES]


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_every_page_is_answered_or_known_to_be_lacking(make):
    source = make()
    picture = Picture().seen(await source.snapshot(), START)
    answered = {page for page in PAGES if page not in source.facts.lacks}
    for page in answered:
        await SIDES[page].ask(source, picture)
    assert {"events", "journal"} <= answered
    assert all(source.facts.lacks[page] for page in set(PAGES) - answered)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_every_source_has_what_charts_are_made_of(make):
    source = make()
    chat = (await source.snapshot()).deployments[0].deployment.name
    assert (await source.history(chat, 60)).deployment == chat
    await source.events(chat)
    await source.alerts()


def test_what_lacks_is_named_as_the_actions_are():
    names = {action.name for action in ACTIONS}
    for make in SOURCES.values():
        assert set(make().facts.lacks) <= names
