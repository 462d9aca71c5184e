"""What is told of one deployment: an event in its list and a line in the log.

verbs  announce        an event that a change or a keeper's look tells
       announce_soon   one that a request tells, without waiting for the disk
"""

from __future__ import annotations

import asyncio
import logging

from engine.fleet.notes import Notes

log = logging.getLogger(__name__)


class Herald:
    """`forgotten`: the deployment is gone for good, and one of the same name must not be taken for it."""

    def __init__(self, name: str, notes: Notes) -> None:
        self.forgotten = False
        self._name, self._notes = name, notes
        self._telling: set[asyncio.Task[None]] = set()

    async def announce(self, kind: str, reason: str, message: str, replica: str | None = None) -> None:
        """An event; a disk that does not take it now stops nothing."""
        log.info("%s: %s: %s", self._name, reason, message, extra={"action": reason, "replica": replica})
        if not self.forgotten:
            await self._notes.event(self._name, kind, reason, message, replica)

    def announce_soon(self, kind: str, reason: str, message: str, replica: str) -> None:
        """The same for requests: with its answer one ends, and with it whatever waits there."""
        telling = asyncio.create_task(self.announce(kind, reason, message, replica))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Once all is told."""
        await asyncio.gather(*self._telling)
