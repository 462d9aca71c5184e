"""What went wrong with one deployment's replicas, as it outlives an engine: starts that failed in a row, requests that
ended replicas, and how many died.

Nothing of a request is kept but the digest of its body. Instants are written on the axis of `engine.fleet.lived`, so
that no clock that was set ends a wait or a quarantine early.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import NamedTuple

from client.errors import FiredeckError
from engine.control.backoff import Backoff
from engine.control.quarantine import Mark
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.rooms import Rooms
from engine.fleet.suspects import Suspects

log = logging.getLogger(__name__)

RETRY_S = 10.0  # after the disk did not take it


class _Known(NamedTuple):
    restarts: int
    starts: dict[str, Backoff]
    marks: list[Mark]


class Faults:
    """`write()` after every look; `unwritten` is why the disk did not take the last one, or ""."""

    def __init__(self, name: str, rooms: Rooms, replicas: ReplicaSet, suspects: Suspects) -> None:
        self.unwritten = ""
        self._name, self._replicas, self._suspects = name, replicas, suspects
        self._store, self._clock, self._lived = rooms.store, rooms.clock, rooms.lived
        self._written = _Known(0, {}, [])
        self._tried_at = float("-inf")

    def restore(self, doc: str) -> None:
        """What an earlier engine wrote down. That of a firedeck that knew other things is no use, and forgotten."""
        try:
            known = self._read(doc)
        except (AttributeError, KeyError, TypeError, ValueError):
            log.warning("%s: what went wrong with its replicas before cannot be read any more", self._name)
            return
        self._replicas.obituaries.restarts = known.restarts
        self._replicas.starts.restore(known.starts)
        self._suspects.quarantine.restore(known.marks)
        self._written = known

    async def write(self) -> None:
        """What is not on disk yet."""
        now = self._clock.monotonic()
        known = _Known(
            self._replicas.obituaries.restarts, self._replicas.starts.all(), self._suspects.quarantine.all(now)
        )  # fmt: skip
        if known == self._written or (self.unwritten and now - self._tried_at < RETRY_S):
            return
        self._tried_at = now
        try:
            await self._store.put_faults(self._name, self._doc(known))
        except FiredeckError as error:
            self.unwritten = error.text
        else:
            self._written, self.unwritten = known, ""

    def _doc(self, known: _Known) -> str:
        starts = {
            generation: asdict(backoff) | {"last_failure_at": self._lived.at(backoff.last_failure_at)}
            for generation, backoff in known.starts.items()
        }
        marks = [asdict(mark) | {"last_at": self._lived.at(mark.last_at)} for mark in known.marks]
        return json.dumps({"restarts": known.restarts, "starts": starts, "marks": marks})

    def _read(self, doc: str) -> _Known:
        read = json.loads(doc)
        starts = {generation: Backoff(**fields) for generation, fields in read["starts"].items()}
        marks = [Mark(fields["digest"], tuple(fields["replicas"]), fields["last_at"]) for fields in read["marks"]]
        here = self._lived.monotonic
        return _Known(
            int(read["restarts"]),
            {name: replace(one, last_failure_at=here(one.last_failure_at)) for name, one in starts.items()},
            [replace(mark, last_at=here(mark.last_at)) for mark in marks],
        )
