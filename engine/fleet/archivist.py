"""Keeps the charts' last day across restarts: brings it back once, and hands over what is new twice a minute.

All reading and writing of files is done in a thread. What a disk does not take stays in memory and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence

from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.telemetry.archive import FOLDER, Archive, Subject

log = logging.getLogger(__name__)


class Archivist:
    """`restore()` once, then `save()`; one at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._archive = Archive(fleet.settings.data_dir / FOLDER)
        self._saved: dict[Keeper, int] = {}  # of each one's coarse points
        self._unwritten = ""
        self._writing = threading.Lock()  # a thread goes on though whoever waited for it was cancelled

    async def restore(self) -> None:
        """One deployment after the other: the engine serves meanwhile."""
        now = self._fleet.rooms.clock.wall().timestamp()
        for keeper in self._fleet.keepers():
            try:
                keeper.recorder.restore(await asyncio.to_thread(self._archive.load, _subject(keeper), now))
            except OSError as error:
                log.warning("the charts of %s begin anew: %s", keeper.name, error)

    async def save(self) -> None:
        keepers = self._fleet.keepers()
        made = {keeper: keeper.recorder.coarse_made for keeper in keepers}
        new = {
            keeper: keeper.recorder.newest(made[keeper] - self._saved.get(keeper, 0))
            for keeper in keepers
            if made[keeper] > self._saved.get(keeper, 0)
        }
        batch = {_subject(keeper): records for keeper, records in new.items()}
        failed = await asyncio.to_thread(self._write, batch, {_subject(keeper) for keeper in keepers})
        self._saved = {
            keeper: self._saved.get(keeper, 0) if _subject(keeper) in failed else made[keeper] for keeper in keepers
        }
        self._complain(next(iter(failed.values()), ""))

    def _write(self, batch: Mapping[Subject, Sequence[bytes]], all_of_them: set[Subject]) -> dict[Subject, str]:
        """Why the disk did not take which; runs in a thread."""
        failed: dict[Subject, str] = {}
        with self._writing:
            for subject, records in batch.items():
                try:
                    self._archive.save(subject, records)
                except OSError as error:
                    failed[subject] = error.strerror or str(error)
            with contextlib.suppress(OSError):  # what is left is no danger, and is tried again
                self._archive.keep_only(all_of_them)
        return failed

    def _complain(self, unwritten: str) -> None:
        """Once, not twice a minute, until it changes."""
        if unwritten and unwritten != self._unwritten:
            log.warning("the charts are not written down: %s", unwritten)
        self._unwritten = unwritten


def _subject(keeper: Keeper) -> Subject:
    created = keeper.deployment.create_time
    return Subject(keeper.name, created.isoformat(timespec="milliseconds") if created else "")  # the store's precision
