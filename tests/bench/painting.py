"""What a picture of a large fleet costs the dashboard in processor time, on a terminal that keeps nothing.

The same fleet and turns as `tests.bench.dashboard`, one after the other as fast as they are painted: no clock of the
wall is read, so that a busy machine does not lengthen the figures.
    python -m tests.bench.painting [--turns 40] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from textual import events
from textual.driver import Driver
from textual.geometry import Size

from client.fleet_types import FleetSnapshot
from tests.bench.dashboarded import DAY_S, EVERY_S, START, Fleet, Timed
from tui.messages import FleetSeen
from tui.screens.fleet import FleetScreen
from tui.widgets.chart import ChartView

SIZE = (160, 50)
TURNS, QUICK_TURNS, UNCOUNTED = 40, 12, 5
LOOK_EVERY_S = 0.005


class Void(Driver):
    """A terminal of `SIZE` that counts what it is sent."""

    sent = 0

    def write(self, data: str) -> None:
        Void.sent += len(data.encode())

    def start_application_mode(self) -> None:
        self._app.post_message(events.Resize(Size(*SIZE), Size(*SIZE)))

    def disable_input(self) -> None:
        """There is none."""

    def stop_application_mode(self) -> None:
        """It has none."""


class Still(Fleet):
    """A fleet whose pictures are handed over by hand, at instants that are reckoned."""

    now = START

    async def watch(self) -> Any:
        yield await self.snapshot()
        await asyncio.Event().wait()

    async def turn(self) -> FleetSnapshot:
        self.step()
        self.now += timedelta(seconds=EVERY_S)
        return (await self.snapshot()).model_copy(update={"time": self.now})

    def clock(self) -> datetime:
        return self.now


class Painted(Timed):
    """Says when a picture is on the screen."""

    CSS_PATH = Timed.CSS_PATH

    def __init__(self, fleet: Fleet, clock: Callable[[], datetime]) -> None:
        super().__init__(fleet, clock)
        self.painted = asyncio.Event()

    def _painted(self, began: float, cpu: float) -> None:
        super()._painted(began, cpu)
        self.painted.set()


@dataclass
class Cost:
    """Of each turn: milliseconds of processor time, bytes to the terminal."""

    cpu_ms: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


async def cost(turns: int, profile: cProfile.Profile | None = None) -> Cost:
    fleet, found = Still(), Cost()
    app = Painted(fleet, fleet.clock)
    app.driver_class = Void
    running = asyncio.create_task(app.run_async(mouse=False))
    await app.painted.wait()
    for number in range(-UNCOUNTED, turns):
        snapshot = await fleet.turn()
        app.painted.clear()
        if profile is not None and number >= 0:
            profile.enable()
        began, sent = time.process_time(), Void.sent
        app.post_message(FleetSeen(snapshot))
        await app.painted.wait()
        took_ms = 1000 * (time.process_time() - began)
        if profile is not None:
            profile.disable()
        if number >= 0:
            found.cpu_ms.append(took_ms)
            found.sent.append(Void.sent - sent)
    app.exit()
    await running
    return found


async def day_opened_s() -> float:
    """Seconds from asking for the last day beside the present until its curves are painted."""
    fleet = Still()
    app = Painted(fleet, fleet.clock)
    app.driver_class = Void
    running = asyncio.create_task(app.run_async(mouse=False))
    await app.painted.wait()
    page = app.screen
    assert isinstance(page, FleetScreen)
    while page.target_name is None or not _drawn(page):
        await asyncio.sleep(LOOK_EVERY_S)
    page.window = replace(page.window, compared_s=DAY_S)
    began = time.perf_counter()
    page.ask_anew()
    while not _drawn(page, "1d ago"):
        await asyncio.sleep(LOOK_EVERY_S)
    painted = asyncio.Event()
    page.call_after_refresh(painted.set)
    await painted.wait()
    took = time.perf_counter() - began
    app.exit()
    await running
    return took


def _drawn(page: FleetScreen, label: str = "") -> bool:
    """All charts show the curves of the newest data; one of them is called so."""
    views = list(page.query(ChartView))
    charts = [view.chart for view in views if view.chart is not None and not view.chart.empty]
    named = all(any(label in line.label for line in chart.lines) for chart in charts)
    return bool(charts) and named and not any(view.is_drawing for view in views)


def _told(found: Cost) -> str:
    worst, middle = max(found.cpu_ms), statistics.median(found.cpu_ms)
    mean, sent = statistics.mean(found.cpu_ms), statistics.mean(found.sent)
    return f"ms of CPU a picture: median {middle:.1f}, mean {mean:.1f}, worst {worst:.1f}; {sent:.0f} bytes a picture"


async def main(*, turns: int = TURNS) -> None:
    print(f"\npictures of 5,000 deployments, {turns} of them, a tenth changed in each, {SIZE[0]}x{SIZE[1]}")
    print(_told(await cost(turns)))
    print(f"a day of history: {await day_opened_s():.2f} s from asking for it to its paint")


async def quickly() -> None:
    await main(turns=QUICK_TURNS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    print(_told(asyncio.run(cost(options.turns, profile))))
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
