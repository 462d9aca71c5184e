"""The audit log: who did what to which resource of the control plane, when, and what came of it.

Append-only. Three trails, so that neither those who look nor those who are turned away push changes out: `changes`,
`reads` and `refusals`; what repeats in the latter two comes here as a number (`engine.access.reads`, `.refusals`).
Of each the newest 100,000 records stay, for 30 days at most (longer where the clock was set not long ago). A change is
on disk before it is acknowledged; the others are written once a second, so that `kill -9` may lose the last second of
them, and of nothing else. Bodies are not kept.

Every record carries an HMAC-SHA256 over itself and the digest of the record before it, and the ends of all trails are
written to `audit.head` beside the database: a record changed, removed, inserted or moved, and a tail cut off, are found
by `verify`. This makes tampering evident to whoever holds `secrets.key`; it does not prevent it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from client.access_types import AuditVerification
from client.errors import FiredeckError
from engine.clock import Clock, Settled
from engine.files import write_whole
from engine.store.access import AccessRecords, AuditRecord

log = logging.getLogger(__name__)

HEAD_FILE = "audit.head"
CHANGES, READS, REFUSALS = TRAILS = ("changes", "reads", "refusals")
RECORDS_KEPT = 100_000  # of each trail
KEPT_FOR = timedelta(days=30)
FLUSH_EVERY_S = 1.0
PRUNE_EVERY = 1_000  # records
WAITING_MAX = 10_000  # records, while the disk takes none; then the oldest are lost, and the engine's log says so
TEXT_MAX = 300  # characters of what clients send
_VERIFY_AT_ONCE = 1_000
_KEY = re.compile(r"fd_[\w-]{6,}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened, before it has its place in a trail. Where it made `resource`, `owner` is whose that is now.

    `refused`: it was turned away before anybody was known."""

    change: bool
    account: str
    principal: str
    method: str
    message: str
    resource: str
    code: str
    detail: str
    admin: bool
    key_id: str
    client_ip: str
    user_agent: str
    owner: str | None = None
    refused: bool = False


Waiting = tuple[Seen, str]  # what happened, and when (ISO 8601)


@dataclass(frozen=True, slots=True)
class _Ends:
    """A trail's first and last number, and the digest of the last record."""

    first: int
    last: int
    digest: str


class AuditLog:
    """Open with `await open()`, end with `close()`. One writer."""

    def __init__(self, records: AccessRecords, key: bytes, head: Path, clock: Clock) -> None:
        self._records = records
        self._key = key
        self._head = head
        self._clock = clock
        self._settled = Settled(clock)
        self._waiting: deque[Waiting] = deque()
        self._writing = asyncio.Lock()
        self._writers: set[asyncio.Task[None]] = set()
        self._last_seq = 0
        self._ends: dict[str, _Ends] = {}
        self._ends_known = False
        self._unpruned = 0
        self._lost = 0
        self._flushing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._find_ends()
        self._flushing = asyncio.create_task(self._flush_for_ever(), name="flush the audit log")

    async def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        try:
            await self.commit()
        except Exception as error:
            log.error("%d audit records are lost: %s", len(self._waiting), error)

    def add(self, seen: Seen) -> None:
        """To be written with the next commit."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._lose(f"{WAITING_MAX} wait for the disk")
        self._waiting.append((seen, self._clock.wall().isoformat(timespec="milliseconds")))

    async def commit(self) -> None:
        """All that waits is on disk, or the store's Unavailable: then it goes on waiting.

        Whoever is cancelled here leaves the writing to its end: the store's thread would not stop half-way either.
        """
        writer = asyncio.create_task(self._write(), name="write the audit log")
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)
        await asyncio.shield(writer)

    async def _write(self) -> None:
        async with self._writing:
            taken = list(self._waiting)
            if not taken:
                return
            self._waiting.clear()
            try:
                await self._append(taken)
            except FiredeckError:
                self._waiting.extendleft(reversed(taken))
                raise
            except Exception as error:
                await self._append_singly(taken, error)
            await self._write_head()
            if self._unpruned >= PRUNE_EVERY:
                await self._prune()

    async def _append(self, taken: Sequence[Waiting]) -> None:
        """All of them or none."""
        if not self._ends_known:
            await self._find_ends()
        ends, rows = dict(self._ends), []
        for seq, (seen, at) in enumerate(taken, start=self._last_seq + 1):
            row = self._chained(seen, at, seq, ends)
            ends[row.trail] = _Ends(ends[row.trail].first if row.trail in ends else seq, seq, row.digest)
            rows.append(row)
        self._ends_known = False  # a failure may come after the rows are there
        await self._records.add_audit(rows, [(s.resource, s.owner) for s, _ in taken if s.owner])
        self._ends, self._last_seq, self._ends_known = ends, self._last_seq + len(rows), True
        self._unpruned += len(rows)

    async def _append_singly(self, taken: Sequence[Waiting], error: Exception) -> None:
        """What cannot be written while others can is at fault itself, and goes: nothing must wait for it for ever."""
        left: list[Waiting] = []
        for one in taken:
            try:
                await self._append([one])
            except Exception as why:
                left.append(one)
                error = why
        if len(left) == len(taken) or isinstance(error, FiredeckError):
            self._waiting.extendleft(reversed(left))
            raise error
        for number, one in enumerate(left):  # the fault may have ended between two of them
            try:
                await self._append([one])
            except FiredeckError:
                self._waiting.extendleft(reversed(left[number:]))
                raise
            except Exception as why:
                self._lose(f"the database does not take them: {why}")

    def _lose(self, why: str) -> None:
        self._lost += 1
        if self._lost.bit_count() == 1:  # the 1st, 2nd, 4th, ...: a full disk must not fill with this
            log.error("%d audit records are lost: %s", self._lost, why)

    async def _find_ends(self) -> None:
        self._last_seq = await self._records.audit_last_seq()
        for trail in TRAILS:
            ends = await self._records.audit_ends(trail)
            if ends:
                self._ends[trail] = _Ends(*ends, await self._records.audit_digest(ends[1]))
        self._ends_known = True

    async def verify(self) -> AuditVerification:
        """Walk all trails; the first record that is not as it was written, if there is one, or what cannot be told."""
        async with self._writing:
            heads, checked = self._read_head(), 0
            for trail in TRAILS:
                count, bad, reason = await self._verify_trail(trail, heads.get(trail))
                checked += count
                if reason:
                    return AuditVerification(valid=False, checked=checked, first_bad_id=str(bad), reason=reason)
            unsure = f"{HEAD_FILE} is missing: records removed at the end would not be noticed"
            return AuditVerification(valid=True, checked=checked, reason=unsure if checked and not heads else None)

    async def _verify_trail(self, trail: str, head: _Ends | None) -> tuple[int, int, str]:
        """(records checked, number of the bad one, what is wrong with it or "")."""
        former: str | None = None
        first = after = checked = 0
        while rows := await self._records.audit_chain(trail, after, _VERIFY_AT_ONCE):
            first = first or rows[0].seq
            bad = await asyncio.to_thread(self._first_bad, rows, former, head)
            if bad is not None:
                return checked + bad[0], rows[bad[0]].seq, bad[1]
            former, after, checked = rows[-1].digest, rows[-1].seq, checked + len(rows)
        if head and after < head.last:
            return checked, head.last, "the newest records were removed"
        if head and first > head.first:
            return checked, head.first, "the oldest records were removed before their time"
        return checked, 0, ""

    def _first_bad(self, rows: Sequence[AuditRecord], former: str | None, head: _Ends | None) -> tuple[int, str] | None:
        """The place of the first of these that is not as it was written, and what is wrong; `former`: the digest of
        the record before them. At 20 us a record: a thousand on the event loop would hold up every request."""
        for place, row in enumerate(rows):
            if former is not None and row.former != former:
                return place, "a record before this one was removed, inserted or moved"
            if not hmac.compare_digest(row.digest, self._digest(row)):
                return place, "this record was changed"
            if head and row.seq == head.last and row.digest != head.digest:
                return place, f"this record is not the one that {HEAD_FILE} knows"
            former = row.digest
        return None

    def _chained(self, seen: Seen, at: str, seq: int, ends: dict[str, _Ends]) -> AuditRecord:
        trail = REFUSALS if seen.refused else CHANGES if seen.change else READS
        former = ends[trail].digest if trail in ends else ""
        row = AuditRecord(
            seq=seq, trail=trail, account=seen.account, time=at, principal=_clean(seen.principal),
            method=_clean(seen.method), message=seen.message, resource=_clean(seen.resource), code=seen.code,
            detail=_clean(seen.detail), admin=int(seen.admin), key_id=seen.key_id, client_ip=_clean(seen.client_ip),
            user_agent=_clean(seen.user_agent), former=former, digest="",
        )  # fmt: skip
        return AuditRecord(**{**asdict(row), "digest": self._digest(row)})

    def _digest(self, row: AuditRecord) -> str:
        fields = {name: value for name, value in asdict(row).items() if name != "digest"}
        return hmac.digest(self._key, json.dumps(fields, sort_keys=True).encode(), "sha256").hex()

    async def _prune(self) -> None:
        """What is too old or too much goes, oldest first. The head says so before: a crash between must not alarm."""
        since = (self._clock.wall() - KEPT_FOR).isoformat(timespec="milliseconds") if self._settled.holds() else ""
        for trail, ends in list(self._ends.items()):
            kept = await self._records.audit_first_kept(trail, RECORDS_KEPT, since)
            self._ends[trail] = replace(ends, first=max(ends.first, min(kept, ends.last)))
        await self._write_head()
        for trail, ends in self._ends.items():
            await self._records.prune_audit(trail, ends.first)
        self._unpruned = 0

    async def _write_head(self) -> None:
        heads = {trail: asdict(ends) for trail, ends in self._ends.items()}
        try:
            await asyncio.to_thread(write_whole, self._head, json.dumps(heads) + "\n")
        except OSError as error:
            log.error("%s cannot be written: %s", self._head, error.strerror)

    def _read_head(self) -> dict[str, _Ends]:
        try:
            return {trail: _Ends(**ends) for trail, ends in json.loads(self._head.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    async def _flush_for_ever(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self.commit()
                told = ""
            except Exception as error:
                if str(error) != told:
                    log.error("the audit log waits: %s", error, exc_info=not isinstance(error, FiredeckError))
                told = str(error)


def _clean(text: str) -> str:
    """What a client sent, cut, printable, and without a key that it put where none belongs."""
    printable = "".join(c if c.isprintable() else "?" for c in text[:TEXT_MAX])
    return _KEY.sub("fd_***", printable)


def resource_of(path: str) -> str:
    """The path's resource: `accounts/local/deployments/chat`, without version and verb."""
    bare = path.removeprefix("/firedeck").removeprefix("/v1").removeprefix("/")
    head, slash, last = bare.rpartition("/")
    return head + slash + last.partition(":")[0]
