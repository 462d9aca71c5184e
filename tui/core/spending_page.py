"""What was used and what it cost, hour by hour or day by day: replicas' time and requests' tokens. Pure.

Hours and days are those of UTC, as they are counted; the newest one is not over yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from client.usage_types import UsageRow
from tui.core import units
from tui.core.columns import Column
from tui.core.cost_page import usd
from tui.core.lists import Entry, Listing

if TYPE_CHECKING:
    from client.usage_tokens_types import TokenRow

HOUR, DAY = "hour", "day"
COUNTS = {HOUR: (24, timedelta(hours=1)), DAY: (14, timedelta(days=1))}
BAR_CELLS = 10


@dataclass(frozen=True, slots=True)
class Slot:
    """An hour or a day from `start` on. `tokens` is None where nothing was asked. `share`: of the busiest one's
    replica-hours."""

    start: datetime
    by: str
    time: UsageRow
    tokens: TokenRow | None
    share: float


def starts(by: str, now: datetime) -> tuple[datetime, ...]:
    """When the last hours or days began, the newest first."""
    count, length = COUNTS[by]
    now = now.astimezone(UTC)
    first = now.replace(hour=0 if by == DAY else now.hour, minute=0, second=0, microsecond=0)
    return tuple(first - length * n for n in range(count))


def rows(by: str, used: Iterable[UsageRow], asked: Iterable[TokenRow], now: datetime) -> tuple[Entry[Slot], ...]:
    """One a slot, newest first, also where nothing was used."""
    times = {row.time.astimezone(UTC): row for row in used if row.time is not None}
    tokens = {row.time.astimezone(UTC): row for row in asked if row.time is not None}
    most = max((row.replica_seconds for row in times.values()), default=0.0)

    def slot(start: datetime) -> Slot:
        time = times.get(start, UsageRow())
        return Slot(start, by, time, tokens.get(start), time.replica_seconds / most if most else 0.0)

    return tuple(Entry(start.isoformat(), slot(start)) for start in starts(by, now))


def when(slot: Slot) -> str:
    """`Fri 2026-11-20` or `2026-11-20 14:00`."""
    return f"{slot.start:%a %Y-%m-%d}" if slot.by == DAY else f"{slot.start:%Y-%m-%d %H:%M}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _replica_s(row: Entry[Slot]) -> float:
    return row.what.time.replica_seconds


def _gpu_s(row: Entry[Slot]) -> float:
    return row.what.time.accelerator_seconds


def _cost(row: Entry[Slot]) -> float | None:
    return row.what.time.cost_usd


def _count(row: Entry[Slot], name: str) -> float | None:
    """Of tokens or requests; nothing asked is 0 where anything can be counted."""
    return 0.0 if row.what.tokens is None else float(getattr(row.what.tokens, name))


def _told(row: Entry[Slot], name: str) -> str:
    return units.rate(_count(row, name)).removesuffix(".0")


def _token_cost(row: Entry[Slot]) -> float | None:
    return None if row.what.tokens is None else row.what.tokens.cost_usd


SPENDING: Listing[Slot] = Listing(
    "spending", "costs",
    (
        Column("when", "UTC", lambda r: when(r.what), 0, 16, align="left", value=lambda r: r.what.start.timestamp()),
        Column("bar", "", lambda r: units.bar(r.what.share, BAR_CELLS), 5, BAR_CELLS, align="left"),
        Column("replicas", "REPLICA-H", lambda r: _hours(_replica_s(r)), 0, 9, value=_replica_s),
        Column("gpu", "GPU-H", lambda r: _hours(_gpu_s(r)), 4, 6, value=_gpu_s),
        Column("cost", "USD", lambda r: usd(_cost(r)), 0, 6, value=_cost),
        Column("requests", "REQUESTS", lambda r: _told(r, "requests"), 1, 8,
               value=lambda r: _count(r, "requests")),
        Column("prompt", "TOKENS IN", lambda r: _told(r, "prompt_tokens"), 2, 9,
               value=lambda r: _count(r, "prompt_tokens")),
        Column("cached", "CACHED", lambda r: _told(r, "cached_prompt_tokens"), 6, 6,
               value=lambda r: _count(r, "cached_prompt_tokens")),
        Column("generated", "TOKENS OUT", lambda r: _told(r, "generated_tokens"), 2, 10,
               value=lambda r: _count(r, "generated_tokens")),
        Column("tokens", "USD OF TOKENS", lambda r: usd(_token_cost(r)), 3, 13, value=_token_cost),
    ),
    "nothing was used", lambda r, now: tuple(_detail(r, now)), 30.0,
)  # fmt: skip


def _detail(row: Entry[Slot], now: datetime) -> Iterator[str]:
    slot = row.what
    end = slot.start + COUNTS[slot.by][1]
    over = "" if end <= now else ", not over yet"
    yield f"{when(slot)} to {end:%Y-%m-%d %H:%M} UTC{over}"
    time = slot.time
    if time.unpriced_replica_seconds:
        yield f"{_hours(time.unpriced_replica_seconds)} replica-hours of it have no price"
    if time.simulated_replica_seconds:
        yield "SIMULATED: no machine worked these hours, and nobody pays for them"
