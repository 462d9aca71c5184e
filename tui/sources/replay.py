"""`--replay FILE`: sources that show what was recorded, every context of the fleet at the same instant."""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

from client.config import Context
from client.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from client.fleet_types import AlertPage, Event, FleetSnapshot, History, NodeView
from client.types import Account, Deployment
from tui.core.facts import CHANGES, Facts
from tui.core.played import Tape
from tui.sources.base import FleetSource

TICK_S = 1.0
RECORDED = "this is a recording: nothing can be changed in it"
NOT_KEPT = (
    "users", "keys", "quotas", "audit", "requests", "routers", "costs", "models", "jobs", "adapters", "speculation",
    "matrix", "playground",
)  # fmt: skip
LACKS = {
    **dict.fromkeys(CHANGES, RECORDED),
    **{page: f"a recording has pictures, events and nodes, no {page}" for page in NOT_KEPT},
}


def replayed(path: Path) -> dict[str, FleetSource]:
    """The contexts of this recording by their names, one alone by an empty one. Raises InvalidArgument where it is no
    recording."""
    try:
        with path.open("rb") as file:
            # A pipe has no size, and cannot be mapped.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else file.read()
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", hint="name a file made with --record") from None
    tapes = Tape.read(data)
    reel = Reel.of(tapes.values())
    return {name: cast(FleetSource, ReplaySource(tape, reel)) for name, tape in tapes.items()}


class Reel:
    """The instant that is shown, by the recorder's clock. It begins to run when it is first watched."""

    def __init__(self, start: datetime, end: datetime, clock: Callable[[], float] = time.monotonic) -> None:
        self.start, self.end, self.paused = start, end, False
        self._clock = clock
        self._from, self._since = start, -1.0  # below zero: it stands yet
        self._moved: list[asyncio.Event] = []

    @classmethod
    def of(cls, tapes: Iterable[Tape], clock: Callable[[], float] = time.monotonic) -> Reel:
        """As long as all of them together."""
        moments = [moment + tape.skew for tape in tapes for moment in (tape.first, tape.last) if moment is not None]
        return cls(min(moments), max(moments), clock)

    def moved(self) -> asyncio.Event:
        """One that is set whenever the instant jumps, stops or goes on."""
        self._moved.append(asyncio.Event())
        return self._moved[-1]

    @property
    def at(self) -> datetime:
        if self.paused or self._since < 0:
            return self._from
        return min(self._from + timedelta(seconds=self._clock() - self._since), self.end)

    def run(self) -> None:
        if self._since < 0:
            self._since = self._clock()

    def wind(self, seconds: float) -> None:
        """Forth, or back; never beyond the ends."""
        self._go(min(max(self.at + timedelta(seconds=seconds), self.start), self.end), paused=self.paused)

    def pause(self) -> None:
        """Stand still, or go on; from the end it begins again."""
        if self.at >= self.end:
            self._go(self.start, paused=False)
        else:
            self._go(self.at, paused=not self.paused)

    def _go(self, moment: datetime, *, paused: bool) -> None:
        self._from, self.paused = moment, paused
        if self._since >= 0:
            self._since = self._clock()
        for one in self._moved:
            one.set()


class ReplaySource:
    """A `FleetSource` that shows a recording as it was at the instant of its reel; it can be wound and paused."""

    def __init__(self, tape: Tape, reel: Reel) -> None:
        self.tape, self._reel = tape, reel
        named = tape.context
        self.context = Context(base_url=named["base_url"], account=named["account"], name=named["name"])
        self._moved = reel.moved()
        self.wind, self.pause = reel.wind, reel.pause

    @property
    def facts(self) -> Facts:
        sign, now, last = "‖" if self._reel.paused else "▶", self._reel.at.astimezone(), self._reel.end.astimezone()
        end = f"{last:%H:%M:%S}" if last.date() == now.date() else f"{last:%m-%d %H:%M:%S}"
        where = f"{sign} {now:%Y-%m-%d %H:%M:%S} of {end}"
        return Facts("recording", LACKS, every=self.tape.every, note=where, hidden=self.tape.hidden)

    @property
    def _at(self) -> datetime:
        """The instant by the engine's own clock."""
        return self._reel.at - self.tape.skew

    @property
    def _begun(self) -> bool:
        return self.tape.first is not None and self._at >= self.tape.first

    @property
    def position(self) -> int:
        """Of the frame that is shown."""
        return self.tape.position(self._at)

    def _silent(self) -> bool:
        """The context has not been heard of for longer than it is when it lives."""
        return self._at - self.tape.time(self.position) > self.facts.stale_after

    def _known(self) -> int:
        """The frame of now. Raises Unavailable before the first one."""
        if not self._begun:
            raise Unavailable(f"nothing had been recorded of {self.context.name} by then", hint="wind the recording")
        return self.position

    async def snapshot(self) -> FleetSnapshot:
        return self.tape.snapshot(self._known())

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        """In its own time. While the context was silent there is no picture, as there was none then; after a jump there
        is the one that was the newest."""
        self._reel.run()
        jumped = True
        while True:
            if self._begun and (jumped or self._reel.paused or not self._silent()):
                yield self.tape.snapshot(self.position)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._moved.wait()
            jumped = self._moved.is_set()
            self._moved.clear()

    async def history(self, deployment: str, seconds: int) -> History:
        return await asyncio.to_thread(self.tape.history, deployment, self._known(), seconds)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        known = await asyncio.to_thread(self.tape.events, self._at)  # gigabytes may lie before it
        found = [event for event in known if deployment in (None, event.deployment)]
        return found[-limit:]

    async def nodes(self) -> list[NodeView]:
        return await asyncio.to_thread(self.tape.nodes_at, self.position) if self._begun else []

    async def alerts(self) -> AlertPage:
        """Those of now, in its own time; rules are not recorded."""
        return AlertPage(alerts=(await self.snapshot()).alerts)

    async def account(self) -> Account:
        return Account(name=f"accounts/{self.context.account}")

    async def get(self, deployment: str) -> Deployment:
        status = (await self.snapshot()).deployments
        found = next((one.deployment for one in status if one.deployment.name == deployment), None)
        if found is None:
            raise NotFound(f"{deployment} is not in the recording at {self._at.astimezone(UTC).isoformat()}")
        return found

    def __getattr__(self, name: str) -> Any:
        """Everything else is a change, or was not recorded."""
        if name.startswith("_"):
            raise AttributeError(name)

        async def refuse(*_: object, **__: object) -> NoReturn:
            if name in CHANGES:
                raise FailedPrecondition(RECORDED)
            raise Unavailable(f"a recording has no {name.replace('_', ' ')}")

        return refuse

    async def close(self) -> None:
        """Nothing is open."""
