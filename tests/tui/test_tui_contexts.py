"""Several contexts as one fleet: one line a deployment, whatever they are called, and nothing of one in another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from textual.widgets import OptionList

from client.config import Context
from client.errors import Unavailable
from client.fleet_types import Condition
from tests.tui.conftest import REST_S, FakeClock, Pace, Stage
from tui.app import Deck
from tui.core.config import Config, ContextSettings
from tui.core.journal import Journal
from tui.screens.contexts import ContextDialog
from tui.screens.deployment import DeploymentScreen
from tui.screens.fleet import FleetScreen
from tui.screens.unlock import UnlockDialog
from tui.sources.joined import joined
from tui.sources.rehearsal import RehearsalSource

CHAT = "accounts/local/deployments/chat"
EU, US = f"eu:{CHAT}", f"prod-us:{CHAT}"


@dataclass
class Both(Stage):
    """`source` and `pace` are those of eu."""

    us: RehearsalSource
    us_pace: Pace

    async def all_later(self, seconds: int = 1) -> None:
        """Time passes, and both send their next picture, as far as they live."""
        self.clock.now += timedelta(seconds=seconds)
        before = dict(self.app.fleets.pictures)
        for name, source, pace in (("eu", self.source, self.pace), ("prod-us", self.us, self.us_pace)):
            pace.go()
            if source.fault is None and before[name].link.lost_at is None:
                await self.until(lambda name=name: self.app.fleets.pictures[name] is not before[name])
        await self.settle()

    async def until(self, holds) -> None:
        async with asyncio.timeout(REST_S):
            while not holds():
                await asyncio.sleep(0.004)
                await self.settle()


@asynccontextmanager
async def opened(size=(120, 40), journal=None, **options) -> AsyncIterator[Both]:
    clock, paces = FakeClock(), (Pace(), Pace())
    there = [Context(base_url="http://eu", name="eu"), Context(base_url="http://us", name="prod-us", prod=True)]
    eu, us = (RehearsalSource(clock, pace, 150, context) for pace, context in zip(paces, there, strict=True))
    config = Config(contexts={"eu": ContextSettings(colour="violet"), "prod-us": ContextSettings(prod=True)})
    app = Deck(
        joined({"eu": eu, "prod-us": us}), clock=clock, journal=Journal(journal), config=config, **options
    )  # fmt: skip
    async with app.run_test(size=size, notifications=True) as pilot:
        stage = Both(app, pilot, eu, clock, paces[0], us, paces[1])
        await stage.until(lambda: all(part.snapshot is not None for part in app.fleets.pictures.values()))
        await stage.settle()
        yield stage


async def choose(stage, name):
    stage.app.screen.table.choose(name, by_user=True)
    await stage.settle()


async def test_one_line_a_deployment_with_its_context_also_where_names_are_equal():
    async with opened() as stage:
        rows = [(row.id, row.context) for row in stage.app.screen.table.rows]
        assert rows[:4] == [("base", "eu"), ("base", "prod-us"), ("chat", "eu"), ("chat", "prod-us")]
        assert "CONTEXT" in stage.text
        await stage.press("slash")
        stage.app.screen.filter_box.value = "context:us chat"
        await stage.settle()
        assert [row.name for row in stage.app.screen.table.rows] == [US]
        await stage.press("escape")
        stage.app.screen.order = stage.app.screen.order.__class__(sort="id", group="context")
        stage.app.screen.draw()
        await stage.settle()
        assert [row.id for row in stage.app.screen.table.rows if row.state == "GROUP"] == ["eu (4)", "prod-us (4)"]


async def test_a_context_that_dies_keeps_its_rows_with_their_age_and_hides_no_other(monkeypatch):
    monkeypatch.setattr("tui.poller.wait_s", lambda attempt: 0.02)
    async with opened() as stage:
        stage.us.fault = Unavailable("no answer from us", hint="is it up?")
        await stage.all_later()
        await stage.until(lambda: stage.app.fleets.pictures["prod-us"].link.lost_at is not None)
        for _ in range(2):
            await stage.all_later(21)
        top = stage.text.splitlines()[0]
        assert "prod-us ✖ LOST 43s" in top
        assert "● live" in top, "eu lives"
        assert "prod-us: CONNECTION LOST since" in stage.text
        cells = {row.name: row for row in stage.app.screen.table.rows}
        assert cells[US].stale == "43s"
        assert not cells[EU].stale
        assert "prod-us ▲ 43s" in stage.text
        await choose(stage, EU)
        assert not stage.app.screen.has_class("-stale")
        await choose(stage, US)
        assert stage.app.screen.has_class("-stale"), "what is told of the chosen one is old"
        stage.us.fault = None
        await stage.until(lambda: stage.app.fleets.pictures["prod-us"].link.lost_at is None)
        await stage.settle()
        assert "LOST" not in stage.text


async def test_curves_of_a_silent_context_do_not_grow_younger_with_the_pictures_of_others(monkeypatch):
    monkeypatch.setattr("tui.poller.wait_s", lambda attempt: 0.02)
    async with opened() as stage:
        await choose(stage, US)
        await stage.until(lambda: US in stage.app.curves)
        stage.us.fault = Unavailable("no answer from us")
        await stage.all_later()
        await stage.until(lambda: stage.app.fleets.pictures["prod-us"].link.lost_at is not None)
        known = stage.app.curves[US]
        for _ in range(2):
            await stage.all_later(21)
        assert stage.app.curves[US] is known


async def test_a_change_is_told_of_by_pictures_of_its_own_context():
    async with opened() as stage:
        app, now = stage.app, stage.app.clock()
        app._followed[US] = ("scale", now - timedelta(seconds=10))
        app._settle("eu", app.picture, now)
        assert US in app._followed
        app._settle("prod-us", app.picture, now)
        assert US not in app._followed


async def test_a_change_goes_to_its_own_context_is_journalled_there_and_taken_back_there(tmp_path):
    async with opened(journal=tmp_path / "journal.jsonl") as stage:
        await choose(stage, EU)
        await stage.press("s")
        assert "Scale chat on eu" in stage.text
        assert "http://eu" in stage.text, "the same as a command is for that engine"
        stage.app.screen.query_one("#replica_count").value = "1"
        await stage.settle()
        stage.app.screen.confirm.press()
        await stage.until(lambda: "scale" in stage.source.calls)
        await stage.settle()
        assert "scale" not in stage.us.calls
        (entry,) = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
        assert (entry["context"], entry["target"]) == ("eu http://eu", CHAT)
        assert stage.app.undo[0].target == EU
        await choose(stage, US)
        await stage.press("U")
        assert "Scale chat on eu" in stage.text, "taken back where it was made, wherever the cursor is"
        await stage.press("escape", "t")
        assert "scale" not in [moment.what for moment in stage.app.screen.moments], "of the other chat"


async def test_a_production_context_keeps_its_own_lock_and_wants_its_own_name():
    async with opened() as stage:
        await choose(stage, US)
        await stage.press("s")
        assert not stage.app.screen.is_modal
        assert "changes are locked on prod-us" in stage.text
        await stage.press("L")
        assert isinstance(stage.app.screen, UnlockDialog)
        stage.app.screen.query_one("#name").value = "prod-us"
        await stage.settle()
        await stage.press("tab", "enter")
        assert not stage.app.is_locked("prod-us")
        await stage.press("D")
        assert "Delete chat on prod-us" in stage.text
        assert stage.app.screen.query("#name"), "in production the name is typed"
        await stage.press("escape")
        await choose(stage, EU)
        await stage.press("L")
        assert (stage.app.is_locked("eu"), stage.app.is_locked("prod-us")) == (True, False)


async def test_marks_over_two_contexts_are_changed_each_where_it_is():
    async with opened() as stage:
        stage.app.fleets.locks["prod-us"] = False
        stage.app.screen.table.mark(frozenset({EU, US}))
        await stage.press("s")
        stage.app.screen.query_one("#replica_count").value = "1"
        await stage.settle()
        assert "eu:chat: replicas" in stage.text
        assert stage.app.screen.query_one("#confirm").disabled, "the name of the production context is not typed"
        stage.app.screen.query_one("#name").value = "prod-us"
        await stage.settle()
        stage.app.screen.query_one("#confirm").press()
        await stage.until(lambda: "scale" in stage.source.calls and "scale" in stage.us.calls)
        assert stage.app.is_locked("eu") is False


async def test_pages_of_an_engine_say_of_which_context_they_are_and_turn_to_another():
    async with opened() as stage:
        await choose(stage, EU)
        await stage.press("8")
        assert "of eu (K turns to another)" in stage.text
        assert "quotas" not in stage.us.calls
        await stage.press("K")
        assert isinstance(stage.app.screen, ContextDialog)
        assert "● live" in stage.text
        stage.app.screen.query_one(OptionList).highlighted = 1
        await stage.press("enter")
        await stage.until(lambda: "quotas" in stage.us.calls)
        await stage.settle()
        assert "of prod-us" in stage.text
        assert "READ-ONLY" in stage.text.splitlines()[0]
        for key in ("2", "B", "m"):
            await stage.press(key)
            assert "of prod-us" in stage.text, "the next page is of the same context"
        await stage.press("escape")
        assert stage.app.screen.context == "eu", "the fleet's page is of the chosen deployment's"


async def test_a_page_of_a_deployment_is_of_its_context_whatever_was_meant_before():
    async with opened() as stage:
        await choose(stage, EU)
        await stage.press("colon", *"open prod-us:chat", "enter")
        await stage.until(lambda: isinstance(stage.app.screen, DeploymentScreen))
        await stage.settle()
        assert stage.app.screen.deployment == US
        assert stage.app.focus == "prod-us"
        assert "prod-us:chat" in stage.text
        await stage.press("y")
        assert stage.app.clipboard.endswith(f"#{CHAT}"), "what a request names knows no contexts"
        await stage.press("K")
        stage.app.screen.query_one(OptionList).highlighted = 0
        await stage.press("enter")
        assert isinstance(stage.app.screen, FleetScreen), "the page was of the other context"
        assert stage.app.screen.table.cursor.startswith("eu:")


@pytest.mark.parametrize(
    ("line", "told"),
    [("open chat", "chat is in eu and prod-us: write eu:chat"), ("context de", "no context de: there are eu, prod-us")],
)
async def test_a_command_that_could_mean_two_is_refused_with_what_to_write(line, told):
    async with opened() as stage:
        await stage.press("colon", *line, "enter")
        await stage.until(lambda: told in stage.text)


async def test_alerts_of_both_are_in_one_inbox_and_seen_apart():
    async with opened() as stage:
        for source in (stage.source, stage.us):
            source.fleet[CHAT].conditions = [
                Condition(type="CapacityLimited", reason="STOCKOUT", wanted=2, placed=1, since=stage.clock.now)
            ]
        await stage.all_later()
        assert {key[1] for key in stage.app.inbox.alerts if key[0] == "STOCKOUT"} == {EU, US}
        stage.app.keep_inbox(stage.app.inbox.acknowledged(("STOCKOUT", EU)))
        stage.us.fleet[CHAT].conditions = []
        await stage.all_later()
        assert [key for key, _ in [(a.key, at) for a, at in stage.app.inbox.ended]] == [("STOCKOUT", US)]
        assert ("STOCKOUT", EU) in stage.app.inbox.seen
        await stage.press("0")
        assert "eu:chat" in stage.text


async def test_the_small_screen_has_the_contexts_too():
    async with opened((80, 24)) as stage:
        stage.matches("contexts-80x24")
