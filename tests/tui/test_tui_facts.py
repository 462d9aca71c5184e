"""What a source is, lacks and may be asked is shown; a recording is wound by keys."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.tui.conftest import REST_S, START, FakeClock, open_deck
from tests.tui.screen_text import screen_text
from tests.unit.test_tui_tape import frame, lines, snapshots, source_of, tapes_of, together
from tui.app import Deck
from tui.core.facts import Facts
from tui.core.journal import Journal
from tui.screens.fleet import FleetScreen
from tui.sources.joined import joined
from tui.sources.replay import Reel, ReplaySource

FIREWORKS = Facts(
    "Fireworks", {"scale": "its API has no such verb", "nodes": "its machines are not shown"},
    timedelta(seconds=10), used=4, limit=6, held_until=START + timedelta(seconds=42),
)  # fmt: skip


async def test_the_header_has_the_source_its_budget_and_its_pause_after_a_refusal():
    async with open_deck((160, 40)) as stage:
        stage.source.facts = FIREWORKS
        await stage.later(2)
        top = stage.text.splitlines()[0]
        assert "Fireworks" in top
        assert "4/6 metrics a minute" in top
        assert "▲ refused, asks again in 40s" in top


async def test_what_a_source_lacks_says_why_and_opens_nothing():
    async with open_deck() as stage:
        stage.source.facts = FIREWORKS
        await stage.press("s")
        assert not stage.app.screen.is_modal
        assert "its API has no such verb" in stage.text
        await stage.press("2")
        assert isinstance(stage.app.screen, FleetScreen)
        assert "its machines are not shown" in stage.text
        commands = {command.title: command.help for command in stage.app.get_system_commands(stage.app.screen)}
        assert commands["scale"] == "not here: its API has no such verb"
        await stage.press("question_mark")
        stage.app.screen.query_one("#search").value = "number of replicas"
        await stage.settle()
        assert "not here: its API has no such verb" in stage.text


async def test_keys_of_recordings_are_not_offered_where_there_is_none():
    async with open_deck((200, 60)) as stage:
        assert "rewind" not in stage.text.splitlines()[-1]
        await stage.press("p")
        assert "only a recording can be wound" in stage.text


async def shows(pilot, condition):
    async with asyncio.timeout(REST_S):
        while not condition():
            await pilot.pause(0.02)


async def test_a_recording_is_wound_and_paused_by_keys_and_says_where_it_stands():
    replay = source_of(*lines(snapshots(100)))
    app = Deck(replay, clock=FakeClock(), journal=Journal(None))
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, lambda: app.picture.snapshot is not None)
        await pilot.press("p")
        await shows(pilot, lambda: "‖" in replay.facts.note)
        at = app.picture.snapshot.time
        top = screen_text(app).splitlines()[0]
        assert "recording" in top
        assert "live" not in top, "what was is not what is"
        await pilot.press("right_square_bracket")
        await shows(pilot, lambda: app.picture.snapshot.time >= at + timedelta(seconds=29))
        await pilot.press("left_square_bracket")
        await shows(pilot, lambda: app.picture.snapshot.time < at + timedelta(seconds=2))
        await pilot.press("D")
        assert not app.screen.is_modal


async def test_a_long_recording_is_wound_by_minutes_too():
    replay = source_of(*lines(snapshots(1300)))
    async with Deck(replay, journal=Journal(None)).run_test(size=(80, 24)) as pilot:
        for key, second in (("right_curly_bracket", 600), ("right_square_bracket", 630), ("left_curly_bracket", 30)):
            await pilot.press(key)
            moment = START + timedelta(seconds=second)
            await shows(pilot, lambda moment=moment: pilot.app.picture.snapshot.time == moment)


async def test_a_recording_of_two_contexts_is_one_fleet_that_is_wound_together_and_cannot_be_changed(tmp_path):
    tapes = tapes_of(together(eu=snapshots(100), us=snapshots(100, seed=9)))
    reel = Reel.of(tapes.values(), lambda: 0.0)
    app = Deck(
        joined({name: ReplaySource(tape, reel) for name, tape in tapes.items()}), journal=Journal(tmp_path / "j")
    )
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, lambda: len({row.context for row in app.picture.rows}) == 2)
        await pilot.press("right_square_bracket")
        for name, tape in tapes.items():
            await shows(
                pilot, lambda name=name: app.fleets.pictures[name].snapshot.time == START + timedelta(seconds=30)
            )
            assert len(app.fleets.pictures[name].rows) == len(tape.deployments(frame(tape, 30)))
        await pilot.press("s")
        await shows(pilot, lambda: "scale is not possible here" in screen_text(app))
        assert not app.screen.is_modal
        app.keep_inbox(app.inbox)
        assert list(tmp_path.iterdir()) == [], "its alerts were dealt with then"
