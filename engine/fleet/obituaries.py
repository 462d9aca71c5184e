"""How replicas of one deployment ended: told as an event of each, and kept for the starts that are to come.

verbs  tell     of one whose process is gone
       died     of one that ends by a fault, once for each
       failed   of a start that came to nothing
near   `engine.fleet.replica_set` ends and buries them, `engine.control.backoff` says when the next may start
"""

from __future__ import annotations

from engine.control.backoff import Starts
from engine.control.reconcile import Stage
from engine.fleet.last_words import without_folders
from engine.fleet.replica import Replica
from engine.fleet.rooms import Announce, Rooms
from engine.placement.port import Taken
from engine.telemetry.deaths import DEATHS

LAST_WORDS_LINES = 20
PREEMPTED = "it gave its place to a replica that is not preemptible, and is placed again when there is room"
REASON_CHARS = 900  # of how a replica ended and what it logged last, in a status or an event


class Obituaries:
    """`starts`: how those with each settings went, where their ends are written. `restarts`: replicas that died after
    they had been ready."""

    def __init__(self, rooms: Rooms, announce: Announce, starts: Starts) -> None:
        self.restarts = 0
        self._driver, self._clock = rooms.driver, rooms.clock
        self._announce, self._starts = announce, starts

    async def tell(self, replica: Replica) -> None:
        """The process is gone: as it should be when it was told to end, else a failure with its last words."""
        told = replica.stage == Stage.STOPPING
        if told and not replica.wedged and not replica.broken:
            how = ("Warning", "Preempted") if replica.reason == PREEMPTED else ("Normal", "ReplicaStopped")
            await self._announce(*how, replica.reason or "stopped", replica.id)
        elif not replica.counted and (taken := self._taken(replica)) is not None:
            await self._taken_away(replica, taken)
        else:
            serving = replica.stage in (Stage.READY, Stage.DRAINING)  # then its reason is not that of a failure
            reason = "" if serving else replica.reason
            await self.died(replica, reason or self._ending(replica), told=told)

    async def died(self, replica: Replica, why: str, *, told: bool) -> None:
        """`told`: it was told to end, for that fault."""
        if replica.counted:
            return
        replica.counted = True
        if replica.ready_at is None:
            await self.failed(replica, why)
            return
        self.restarts += 1
        DEATHS.tell(replica.id, why)
        own_fault = replica.crashed or replica.wedged or replica.broken
        now = self._clock.monotonic()
        self._starts.died(replica.generation, replica.ready_at, now, why, own_fault=own_fault)
        what = "it was ended and is replaced" if told else "the process died and is replaced"
        await self._announce("Warning", "ReplicaDied", f"{what}: {why}", replica.id)

    async def failed(self, replica: Replica, why: str) -> None:
        self._starts.failed(replica.generation, self._clock.monotonic(), why)
        backoff = self._starts.of(replica.generation)
        message = f"start {backoff.failures} failed, the next not before {backoff.wait_s:.0f}s from now: {why}"
        await self._announce("Warning", "ReplicaFailed", message, replica.id)

    def _taken(self, replica: Replica) -> Taken | None:
        return self._driver.taken(replica.placed) if replica.placed else None

    async def _taken_away(self, replica: Replica, taken: Taken) -> None:
        """That says nothing of its settings: it is no failure, and the next one starts at once."""
        ending = self._ending(replica)
        DEATHS.tell(replica.id, ending)
        await self._announce("Warning", taken.value, f"its place was taken, it is replaced: {ending}", replica.id)

    def _ending(self, replica: Replica) -> str:
        """How its process ended, and the end of its log where there is one."""
        ending = self._driver.ending(replica.placed) if replica.placed else "it never had a process"
        lines = without_folders(self._driver.last_words(replica.id)).splitlines()[-LAST_WORDS_LINES:]
        intro = f"{ending}; log: "
        return intro + " | ".join(lines)[len(intro) - REASON_CHARS :] if lines else ending
