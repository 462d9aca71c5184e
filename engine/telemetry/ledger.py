"""The usage ledger: `engine.control.ledger` with a clock and a store around it.

What has been written survives `kill -9`. What could not be written (a full disk) stays in memory and is tried again
with every look. A beat is written every 30 s while anything runs, so that a killed engine leaves at most that much in
doubt, and what is in doubt is not charged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.errors import FiredeckError
from engine.clock import Clock
from engine.control.growing import Growing, count
from engine.control.ledger import Axis, Beat, Book, Interval, Presence, Terms
from engine.control.price import Totals
from engine.store.store import Store

log = logging.getLogger(__name__)

BEAT_S = 30.0
ALL_MS = 1 << 62  # a span that holds all time
KEPT = 1_000_000  # intervals, the newest: not by age, which a clock that is set wrong would make of all
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc(5)
_TERMS = tuple(field.name for field in fields(Terms))


@dataclass(frozen=True, slots=True)
class Used:
    """What one deployment used of one kind of accelerator, in the span that began at `from_ms`."""

    deployment: str
    accelerator_type: str
    totals: Totals
    from_ms: int = 0


class Ledger:
    """One engine's. `open()` before anything else; times are the clock's."""

    def __init__(self, store: Store, clock: Clock, boot: str | None = None) -> None:
        """`boot` tells which start of the machine the monotonic clock counts from; found out unless given."""
        self._store, self._clock = store, clock
        self._boot = boot or boot_id()
        self._book = Book(Axis.set_by(0, self._boot, 0.0))
        self._unwritten: dict[int, Interval] = {}
        self._refused = ""  # why the disk did not take it the last time
        self._writing = asyncio.Lock()
        self._looked_at = self._beaten_at = clock.monotonic()
        self._month_ms = -1
        self._month: dict[str, Growing] = {}  # by account

    async def open(self) -> None:
        """Read what an earlier engine left: what it had open is held until its replica is seen, or seen to be gone."""
        rows, now = await self._store.fetch("open_intervals"), self._clock.monotonic()
        beats = await self._store.fetch("last_beat")
        last = Beat(**beats[0]) if beats else None
        numbered = (await self._store.fetch("last_interval"))[0]["number"]
        axis = Axis.after(last, self._wall_ms(), self._boot, now)
        self._book = Book(axis, map(_interval, rows), last, numbered)
        self._looked_at = now
        await self._take(self._book.open.values())  # a second kill must not move what is held
        await self._turn_month()

    async def observe(self, replicas: Mapping[str, Presence]) -> None:
        """All replicas that there are, by id, as they were last seen."""
        now = self._clock.monotonic()
        changed = self._book.observe(replicas, now)
        changed += self._book.reset(now, self._wall_ms())
        self._looked_at = now
        if changed or self._unwritten or (self._book.open and now - self._beaten_at >= BEAT_S):
            await self._take(changed)
        await self._turn_month()

    async def close(self) -> None:
        """The engine ends with all its replicas."""
        self._looked_at = self._clock.monotonic()
        await self._take(self._book.close(self._looked_at))

    async def usage(self, account: str, start_ms: int, end_ms: int, per_ms: int = ALL_MS) -> list[Used]:
        """What an account used from `start_ms` until before `end_ms`, by spans of `per_ms`, deployment and kind of
        accelerator; with what could not be written yet."""
        now, newer = self.now_ms(), list(self._unwritten.values())
        period = {
            "account": account, "start": start_ms, "end": end_ms, "now": now, "per_ms": per_ms,
            "newer": json.dumps([one.number for one in newer]),
        }  # fmt: skip
        found: dict[tuple[int, str, str], Totals] = {}
        for row in await self._store.fetch("usage", period):
            _add(found.setdefault((row["from_ms"], row["deployment"], row["accelerator_type"]), Totals()), row)
        for one in newer:
            for from_ms, ms in one.parts(start_ms, min(end_ms, now), per_ms) if one.account == account else ():
                key = (from_ms, one.deployment, one.terms.accelerator_type)
                count(found.setdefault(key, Totals()), one, ms)
        return [Used(deployment, kind, totals, at) for (at, deployment, kind), totals in found.items()]

    def used(self, account: str) -> Totals:
        """What an account has used since the month began (UTC); the same work for any number of replicas, because it is
        asked with every request."""
        now = self.now_ms()
        grown = self._month.get(account)
        if grown is None:
            return Totals()
        return grown.at(now) if month_began(now) == self._month_ms else grown.since(month_began(now), now)

    def now_ms(self) -> int:
        """The instant on the ledger's axis: UTC to within what clocks are adjusted by."""
        return self._book.axis.at(self._clock.monotonic())

    async def _take(self, changed: Iterable[Interval]) -> None:
        for one in changed:
            self._unwritten[one.number] = one
            self._grows(one)
        await self._write()

    def _grows(self, one: Interval) -> None:
        self._month.setdefault(one.account, Growing(self._month_ms)).take(one)

    async def _write(self) -> None:
        """Everything that is not on disk yet, and a beat; what cannot be written is kept for the next time."""
        async with self._writing:
            going = list(self._unwritten.values())
            beat = asdict(self._book.axis.beat(self._looked_at))
            try:
                await self._store.transact([*(("put_interval", _row(one)) for one in going), ("put_beat", beat)])
            except FiredeckError as error:
                if error.text != self._refused:  # once, not with every look
                    log.warning("usage is not written and will be tried again: %s", error.text)
                self._refused = error.text
                return
            self._refused = ""
            self._beaten_at = self._looked_at
            for one in going:
                if self._unwritten.get(one.number) is one:
                    del self._unwritten[one.number]

    async def _turn_month(self) -> None:
        """With a new month (the first look is one): begin to count anew, and drop what is long over."""
        now = self.now_ms()
        month = month_began(now)
        if month == self._month_ms or self._unwritten:
            return
        rows = await self._store.fetch("ended_usage", {"start": month, "end": now})
        self._month_ms, self._month = month, {}
        for row in rows:
            _add(self._month.setdefault(row["account"], Growing(month)).ended, row)
        for one in self._book.open.values():
            self._grows(one)
        with contextlib.suppress(FiredeckError):  # a disk that is full today may not be next month
            await self._store.transact([("prune_intervals", {"keep": KEPT})])

    def _wall_ms(self) -> int:
        return round(self._clock.wall().timestamp() * 1000)


def month_began(at_ms: int) -> int:
    """The first instant of the calendar month in UTC."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * 1000


def boot_id() -> str:
    """The same for as long as this machine runs; where that is not told, never the same (the wall clock then tells how
    much time went by between two engines)."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())


def _add(totals: Totals, row: Mapping[str, Any]) -> None:
    totals.add(row["ms"], accelerators=row["accelerators"], price=row["price"], simulated=bool(row["simulated"]))


def _row(one: Interval) -> dict[str, Any]:
    return {
        "number": one.number, "account": one.account, "deployment": one.deployment, "replica": one.replica,
        "began_ms": one.began_ms, "ended_ms": one.ended_ms, "held_ms": one.held_ms,
        **{name: getattr(one.terms, name) for name in _TERMS},
    }  # fmt: skip


def _interval(row: Mapping[str, Any]) -> Interval:
    terms = Terms(**{name: row[name] for name in _TERMS if name != "simulated"}, simulated=bool(row["simulated"]))
    return Interval(row["number"], row["deployment"], row["replica"], terms, row["began_ms"], held_ms=row["held_ms"])
