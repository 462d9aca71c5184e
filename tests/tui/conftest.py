"""A dashboard on the rehearsal fleet, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.widgets import Input

from client.config import Context
from tests.tui.screen_text import screen_text
from tui.app import Deck
from tui.core.journal import Journal
from tui.sources.rehearsal import RehearsalSource
from tui.widgets.chart import ChartView

SIZES = ((80, 24), (120, 40), (200, 60))
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SNAPSHOTS = Path(__file__).parent / "snapshots"
REST_S = 90.0  # how long the screen may take to come to rest: never a statement about speed
NEVER_S = 3600.0
UPDATE = "FIREDECK_UPDATE_SNAPSHOTS"  # set it to 1 to write the .txt files anew, then read the diff


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """No blinking, no animation, one time zone; and nothing comes or goes by the machine's own clock: toasts stay,
    forms are checked when a test says so."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none", raising=False)
    monkeypatch.setattr(Notification, "time_left", property(lambda self: NEVER_S))
    monkeypatch.setattr("tui.screens.dialog.DRY_RUN_AFTER_S", NEVER_S)


class FakeClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Pace:
    """The source's next snapshot comes when the test says so."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self) -> None:
        await self._queue.get()

    def go(self) -> None:
        self._queue.put_nowait(None)


@dataclass
class Stage:
    app: Deck
    pilot: Pilot[None]
    source: RehearsalSource
    clock: FakeClock
    pace: Pace

    async def settle(self) -> None:
        """Until messages, workers and drawings are done."""
        quiet, until = 0, time.monotonic() + REST_S
        while time.monotonic() < until:
            await self.pilot.pause(0)
            await asyncio.sleep(0.004)
            busy = any(worker.is_running and worker.group != "poller" for worker in self.app.workers)
            drawing = any(chart.is_drawing for chart in self.app.screen.query(ChartView))
            quiet = 0 if busy or drawing else quiet + 1
            if quiet >= 4:
                return
        raise AssertionError("the screen does not come to rest")

    async def later(self, seconds: int = 1) -> None:
        """Time passes and the next snapshot arrives; of a source that is lost none is awaited."""
        self.clock.now += timedelta(seconds=seconds)
        before, awaited = self.app.picture, self.source.fault is None and self.app.picture.link.lost_at is None
        self.pace.go()
        until = time.monotonic() + REST_S
        while awaited and self.app.picture is before and time.monotonic() < until:
            await asyncio.sleep(0.004)
        await self.settle()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    @property
    def text(self) -> str:
        return screen_text(self.app)

    def matches(self, name: str) -> None:
        """Compare with tests/tui/snapshots/NAME.txt."""
        path = SNAPSHOTS / f"{name}.txt"
        if os.environ.get(UPDATE):
            path.write_text(self.text + "\n")
        assert self.text + "\n" == path.read_text(), f"if this is wanted: {UPDATE}=1 pytest tests/tui"


def open_deck(
    size: tuple[int, int] = (120, 40), warm_s: int = 150, context: Context | None = None,
    journal: Path | None = None, **options: object,
) -> AbstractAsyncContextManager[Stage]:  # fmt: skip
    @asynccontextmanager
    async def opened() -> AsyncIterator[Stage]:
        clock, pace = FakeClock(), Pace()
        source = RehearsalSource(clock, pace, warm_s, context)
        app = Deck(source, clock=clock, journal=Journal(journal), **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            stage = Stage(app, pilot, source, clock, pace)
            await stage.settle()
            yield stage

    return opened()
