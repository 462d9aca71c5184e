"""`--record FILE`: sources that write down what they show, each context of the fleet into the one file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from client.errors import FiredeckError, InvalidArgument
from client.fleet_types import FleetSnapshot
from tui.core.facts import Facts
from tui.core.tape import Writer
from tui.sources.base import FleetSource

DETAILS_EVERY_S = 10.0  # how often a recorder asks for events and nodes


def recorded(sources: Mapping[str, FleetSource], path: Path) -> dict[str, FleetSource]:
    """These contexts by their names (one alone by an empty one), which also write all that they show to `path`. Raises
    InvalidArgument where that cannot be written."""
    file = RecordFile(path, holders=len(sources))
    return {name: cast(FleetSource, Recorder(source, file, name)) for name, source in sources.items()}


class RecordFile:
    """A new file of its owner alone, written by `holders` recorders and closed when all of them have let go of it."""

    def __init__(self, path: Path, holders: int = 1) -> None:
        self._holders = holders
        try:
            self._file: TextIO | None = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
        except FileExistsError:
            raise InvalidArgument(f"{path} exists already", hint="record to a new file") from None
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be written: {error}", hint="record to another file") from None

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def write(self, line: str) -> None:
        """A full disk ends the recording, never the dashboard."""
        if self._file is None or not line:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            self._file = None

    def let_go(self) -> None:
        self._holders -= 1
        if self._file is not None and self._holders <= 0:
            self._file.close()


class Recorder:
    """Hands every call on; what `watch` brings, with events and nodes, is appended to the file."""

    def __init__(
        self, source: FleetSource, file: RecordFile, of: str = "", now: Callable[[], float] | None = None
    ) -> None:
        """`of`: what the context is called among several; `now`: seconds, of any origin."""
        self._source, self._file, self._writer = source, file, Writer(of)
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._details_at: float | None = None
        every_s = source.facts.every.total_seconds()
        self._file.write(self._writer.head(source.context, source.facts.hidden, every_s))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @property
    def facts(self) -> Facts:
        told = "REC" if self._file.is_open else "recording stopped: the file cannot be written"
        return replace(self._source.facts, note=told)

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        async for snapshot in self._source.watch():
            await self._keep(snapshot)
            yield snapshot

    async def _keep(self, snapshot: FleetSnapshot) -> None:
        self._file.write(self._writer.frame(snapshot, datetime.now(UTC)))
        if self._details_at is None or self._now() - self._details_at >= DETAILS_EVERY_S:
            self._details_at = self._now()
            with suppress(FiredeckError):
                self._file.write(self._writer.events(await self._source.events(None, 500)))
                self._file.write(self._writer.nodes(await self._source.nodes()))

    async def close(self) -> None:
        self._file.write(self._writer.peaks())
        self._file.let_go()
        await self._source.close()
