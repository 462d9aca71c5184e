"""The tally of requests: `engine.control.tokens` with a clock, a store and a journal around it.

    data   request_usage   sums by minute and payer; older than two days by hour; the newest ROWS_KEPT rows are kept
           UsageJournal    what is newer than the last row, for an engine that is killed
    verbs  bill            one request's account, to be settled once with what it used
           usage, spent    sums of a period; what an account's tokens cost since the month began (UTC)
    near   `engine.gateway.routes` settles, `engine.telemetry.ledger` gives the instant, `engine.prices` the price

A request is in the journal before its client sees its end. So `kill -9` loses nothing that a client saw end; what was
under way then is not charged. The end of the machine loses at most what the database had not taken yet, WRITE_EVERY_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from client.errors import FiredeckError
from engine.control.price import TokenPrice
from engine.control.tokens import COMBINATIONS_MAX, HOUR_MS, MANY, MINUTE_MS, Payer, Spent, charge, tags_of
from engine.keys import Principal
from engine.serverless import is_shared
from engine.store.store import Store
from engine.telemetry.ledger import ALL_MS, month_began
from engine.telemetry.meter import Usage
from engine.telemetry.usage_journal import UsageJournal

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
MINUTES_KEPT_MS = 48 * HOUR_MS  # then they become hours
ROWS_KEPT = 1_000_000
TOKENS_MAX = 1 << 28  # of one request: a replica that tells nonsense spoils no sum
_PAYER = tuple(field.name for field in fields(Payer))
_SPENT = tuple(field.name for field in fields(Spent))
_payer_line, _spent_line = attrgetter(*_PAYER), attrgetter(*_SPENT)  # `astuple` copies all that it finds, deeply

Sums = dict[tuple[int, Payer], Spent]  # by minute (its first millisecond) and payer
Sum = tuple[int, Payer, Spent]  # from when on, whose, what


@dataclass(slots=True)
class Bill:
    """One request's. `settle` counts it; only the first time."""

    _tally: Tally
    _payer: Payer
    settled: bool = False

    def settle(self, used: Usage, *, failed: bool) -> None:
        if not self.settled:
            self.settled = True
            self._tally.post(self._payer, used, failed=failed)


class Tally:
    """One engine's. `open()` before anything else. `now_ms` is the ledger's instant, `price` that of a model's tokens,
    serverless or not."""

    def __init__(
        self, store: Store, folder: Path, now_ms: Callable[[], int], price: Callable[[str, bool], TokenPrice | None]
    ) -> None:
        self._store, self._now_ms, self._price = store, now_ms, price
        self._journal = UsageJournal(folder)
        self._number = 0  # of the newest request
        self._pending: Sums = {}
        self._refused = ""  # why the disk did not take it the last time
        self._writing = asyncio.Lock()
        self._month_ms = self._hour_ms = -1
        self._charges: defaultdict[str, int] = defaultdict(int)  # this month's, by account
        self._tags: defaultdict[str, set[str]] = defaultdict(set)
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take what an earlier engine left in its journal."""
        taken = (await self._store.fetch("last_request"))[0]["number"]
        self._journal.open()
        self._number = taken
        await self._turn_month()
        for entry in self._journal.left():
            with contextlib.suppress(TypeError, ValueError):
                self._take_over(entry, taken)
        await self.write()
        self._loop = asyncio.create_task(self._run(), name="write usage of requests")

    async def close(self) -> None:
        if self._loop is not None:
            async with self._writing:  # a transaction that nobody waits for any more may be done or not
                self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self.write()
        self._journal.close()

    def bill(
        self,
        caller: Principal,
        deployment: str,
        model: str,
        adapter: str | None,
        metadata: object,
        *,
        simulated: bool,
        guard: str = "",
    ) -> Bill:
        """For a request that goes to a deployment now; names in full. `guard`: which of them makes it."""
        tags = self._bounded(caller.account, tags_of(metadata))
        payer = Payer(
            caller.account, caller.user, caller.key_id, deployment, model, adapter or "", tags, simulated, guard
        )  # fmt: skip
        return Bill(self, payer)

    def post(self, payer: Payer, used: Usage, *, failed: bool) -> None:
        price = self._price(payer.model, is_shared(payer.deployment))
        prompt, cached, generated = map(_sane, (used.prompt, used.cached, used.generated))
        cost = charge(price, prompt, cached, generated)
        spent = Spent(
            1, int(failed), prompt, cached, generated, _sane(used.accepted), _sane(used.rejected),
            int(price is None), cost,
        )  # fmt: skip
        minute = self._now_ms() // MINUTE_MS * MINUTE_MS
        self._number += 1
        self._journal.add([self._number, minute, *_payer_line(payer), *_spent_line(spent)])
        self._add(minute, payer, spent)

    def spent(self, account: str) -> int:
        """TOKEN_UNITS of a US dollar since the month began."""
        return self._charges[account] if account in self._charges and self._is_this_month() else 0

    def whole(self, at_ms: int) -> int:
        """The instant to which a period's end is counted, or from which its beginning: the next whole minute, of the
        time before the last two days the next whole hour."""
        span = HOUR_MS if at_ms <= self._minutes_from() else MINUTE_MS
        return -(-at_ms // span) * span

    async def usage(self, account: str, start_ms: int, end_ms: int, per_ms: int = ALL_MS) -> list[Sum]:
        """Sums by span of `per_ms` (whole hours, as far as they have been used) and payer over the minutes (of the time
        before the last two days: hours) that begin in the period."""
        async with self._writing:  # nothing is on its way: each request is in the database or in memory
            period = {"account": account, "start": start_ms, "end": end_ms, "per_ms": per_ms}
            newer = [
                (at // per_ms * per_ms, payer, replace(spent))
                for (at, payer), spent in self._pending.items()
                if payer.account == account and start_ms <= at < end_ms
            ]
            rows = await self._store.fetch("request_usage", period)
        found = [(r["from_ms"], _payer(account, r), Spent(**{name: r[name] for name in _SPENT})) for r in rows]
        return found + newer

    async def write(self) -> None:
        """All that is pending, in one transaction; what cannot be written is tried again the next time."""
        async with self._writing:
            await self._turn_month()
            if not self._pending:
                return
            self._journal.turn()
            going, self._pending, number = self._pending, {}, self._number
            rows = [("add_request_usage", _row(*key, spent)) for key, spent in going.items()]
            try:
                await self._store.transact([*rows, ("put_last_request", {"number": number}), *self._roll_up()])
            except Exception as error:
                for key, spent in going.items():
                    self._pending.setdefault(key, Spent()).add(spent)
                if not isinstance(error, FiredeckError):
                    raise
                if error.text != self._refused:  # once, not every second
                    log.warning("usage of requests is not written and will be tried again: %s", error.text)
                self._refused = error.text
            else:
                self._refused = ""
                self._hour_ms = self._now_ms() // HOUR_MS
                self._journal.taken()

    def _roll_up(self) -> list[tuple[str, dict[str, Any]]]:
        """Once an hour: old minutes become hours, and what is too old goes."""
        now = self._now_ms()
        if now // HOUR_MS == self._hour_ms:
            return []
        until = {"until": self._minutes_from()}
        return [("roll_up_usage", until), ("drop_rolled_up", until), ("prune_request_usage", {"keep": ROWS_KEPT})]

    def _minutes_from(self) -> int:
        """What is older is told by the hour."""
        return (self._now_ms() - MINUTES_KEPT_MS) // HOUR_MS * HOUR_MS

    def _take_over(self, entry: list[Any], taken: int) -> None:
        number, minute, *rest = entry
        if len(rest) == len(_PAYER) + len(_SPENT) - 1:  # of an engine that knew no requests of guards
            rest.insert(_PAYER.index("guard"), "")
        payer, spent = Payer(*rest[: len(_PAYER)]), Spent(*rest[len(_PAYER) :])
        if number <= taken:
            return
        if not all(isinstance(value, int) for value in (minute, *astuple(spent))):
            raise ValueError("it was torn")
        self._number = max(self._number, number)
        self._add(minute, payer, spent)

    def _add(self, minute: int, payer: Payer, spent: Spent) -> None:
        self._pending.setdefault((minute, payer), Spent()).add(spent)
        self._note(minute, payer, spent)

    def _note(self, minute: int, payer: Payer, spent: Spent) -> None:
        if minute >= self._month_ms:
            self._charges[payer.account] += spent.charge
            self._know(payer.account, payer.tags)

    def _know(self, account: str, tags: str) -> None:
        if tags and tags != MANY:
            self._tags[account].add(tags)

    def _bounded(self, account: str, tags: str) -> str:
        known = self._tags[account]
        if tags and tags not in known:
            if len(known) >= COMBINATIONS_MAX:
                return MANY
            known.add(tags)
        return tags

    def _is_this_month(self) -> bool:
        return month_began(self._now_ms()) == self._month_ms

    async def _turn_month(self) -> None:
        """With a new month (the first look is one): count charges and combinations of tags anew."""
        month = month_began(self._now_ms())
        if month == self._month_ms:
            return
        rows = await self._store.fetch("charged", {"start": month})
        tags = await self._store.fetch("known_tags", {"start": month})
        self._month_ms = month
        self._charges, self._tags = defaultdict(int), defaultdict(set)
        for row in rows:
            self._charges[row["account"]] += row["charge"]
        for row in tags:
            self._know(row["account"], row["tags"])
        for (minute, payer), spent in self._pending.items():
            self._note(minute, payer, spent)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except Exception:
                log.exception("writing the usage of requests met an error and goes on")


def _sane(tokens: int) -> int:
    return min(max(0, tokens), TOKENS_MAX)


def _row(minute: int, payer: Payer, spent: Spent) -> dict[str, Any]:
    return {"at_ms": minute, **asdict(payer), **asdict(spent)}


def _payer(account: str, row: dict[str, Any]) -> Payer:
    named = {name: row[name] for name in _PAYER if name not in ("account", "simulated")}
    return Payer(account, **named, simulated=bool(row["simulated"]))
