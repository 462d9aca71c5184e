"""`--record FILE` and `--replay FILE`: a source that writes down what it shows, and one that shows what was written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from client.config import Context
from client.errors import FailedPrecondition, FiredeckError, InvalidArgument, NotFound, Unavailable
from client.fleet_types import AlertPage, Event, FleetSnapshot, History, NodeView
from client.types import Account, Deployment
from tui.core.facts import CHANGES, Facts
from tui.core.tape import Tape, Writer
from tui.sources.base import FleetSource

DETAILS_EVERY_S = 10.0  # how often a recorder asks for events and nodes
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


def recorded(source: FleetSource, path: Path) -> FleetSource:
    """`source`, which also writes all that it shows to `path`. Raises InvalidArgument where that cannot be written."""
    return cast(FleetSource, Recorder(source, path))


class Recorder:
    """Hands every call on; what `watch` brings, with events and nodes, is appended to a file of its owner alone."""

    def __init__(self, source: FleetSource, path: Path, now: Callable[[], float] | None = None) -> None:
        self._source, self._path, self._writer = source, path, Writer()
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._details_at: float | None = None
        try:
            self._file: TextIO | None = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
        except FileExistsError:
            raise InvalidArgument(f"{path} exists already", hint="record to a new file") from None
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be written: {error}", hint="record to another file") from None
        self._write(self._writer.head(source.context, source.facts.hidden))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @property
    def facts(self) -> Facts:
        told = "REC" if self._file is not None else "recording stopped: the file cannot be written"
        return replace(self._source.facts, note=told)

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        async for snapshot in self._source.watch():
            await self._keep(snapshot)
            yield snapshot

    async def _keep(self, snapshot: FleetSnapshot) -> None:
        self._write(self._writer.frame(snapshot))
        if self._details_at is None or self._now() - self._details_at >= DETAILS_EVERY_S:
            self._details_at = self._now()
            with suppress(FiredeckError):
                self._write(self._writer.events(await self._source.events(None, 500)))
                self._write(self._writer.nodes(await self._source.nodes()))

    def _write(self, line: str) -> None:
        """A full disk ends the recording, never the dashboard."""
        if self._file is None or not line:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            self._file = None

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        await self._source.close()


def replayed(path: Path) -> FleetSource:
    """The recording of `path`. Raises InvalidArgument where it is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            tape = Tape.read(file)
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", hint="name a file made with --record") from None
    return cast(FleetSource, ReplaySource(tape))


class ReplaySource:
    """A `FleetSource` that runs through a recording in its own time; it can be wound and paused."""

    def __init__(self, tape: Tape, clock: Callable[[], float] | None = None) -> None:
        self.tape = tape
        self.context = Context(
            base_url=tape.context["base_url"], account=tape.context["account"], name=tape.context["name"]
        )
        self._at = tape.times[0]
        self._paused = False
        self._moved = asyncio.Event()
        self._clock = clock or (lambda: asyncio.get_running_loop().time())

    @property
    def facts(self) -> Facts:
        sign = "‖" if self._paused else "▶"
        where = f"{sign} {self._at.astimezone():%Y-%m-%d %H:%M:%S} of {self.tape.times[-1].astimezone():%H:%M:%S}"
        return Facts("recording", LACKS, note=where, hidden=self.tape.hidden)

    @property
    def index(self) -> int:
        return self.tape.index(self._at)

    def wind(self, seconds: float) -> None:
        """Forth, or back; never beyond the ends."""
        moved = self._at + timedelta(seconds=seconds)
        self._at = min(max(moved, self.tape.times[0]), self.tape.times[-1])
        self._moved.set()

    def pause(self) -> None:
        """Stand still, or go on; from the end it begins again."""
        if self._at >= self.tape.times[-1]:
            self._at, self._paused = self.tape.times[0], False
        else:
            self._paused = not self._paused
        self._moved.set()

    async def snapshot(self) -> FleetSnapshot:
        return self.tape.snapshot(self.index)

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        last = self._clock()
        while True:
            yield self.tape.snapshot(self.index)
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._moved.wait()
            now = self._clock()
            if not self._paused:
                self._at = min(self._at + timedelta(seconds=now - last), self.tape.times[-1])
            last = now

    async def history(self, deployment: str, seconds: int) -> History:
        return self.tape.history(deployment, self.index, seconds)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        found = [e for e in self.tape.events if e.time <= self._at and deployment in (None, e.deployment)]
        return found[-limit:]

    async def nodes(self) -> list[NodeView]:
        return self.tape.nodes_at(self.index)

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
