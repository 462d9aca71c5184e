"""The costs page as data: the last hour, today, this month and its forecast, this week beside the one before. Pure.

Two things cost: the time of replicas (by deployment or type of accelerator), and, where a price list says so, the
tokens of requests (by user, key, model, adapter, tags). A cost that is not known is not zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from client.usage_tokens_types import TokenRow, TokenUsage
from client.usage_types import ACCELERATOR_TYPE, DEPLOYMENT, NO_ACCELERATOR, TIMES, Usage, UsageRow
from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.states import Tone

REPLICAS = (DEPLOYMENT, ACCELERATOR_TYPE)
GROUPINGS = (*REPLICAS, "tags", "user", "key", "model", "adapter", *TIMES)
WORDS = {ACCELERATOR_TYPE: "accelerator type", "tags": "tag"}
WEEK, HOUR = timedelta(days=7), timedelta(hours=1)
RISING = 1.2  # times the week before: the product's own limit for a rise that is told of
PERIODS = ("hour", "today", "month", "week", "before")
Books = Mapping[str, Usage | TokenUsage]  # by period


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one group, in USD; None where nothing of it has a price. `used`: today's use, in words and as a number."""

    hour: float | None
    today: float | None
    month: float | None
    week: float | None
    before: float | None
    used: str
    used_value: float

    @property
    def change(self) -> float | None:
        """This week by the one before; None where there is nothing to compare with."""
        return self.week / self.before if self.week is not None and self.before else None


def spans(now: datetime) -> dict[str, tuple[datetime, datetime]]:
    """The periods of the books, in UTC: from, until before."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "hour": (now - HOUR, now), "today": (today, now), "month": (today.replace(day=1), now),
        "week": (now - WEEK, now), "before": (now - 2 * WEEK, now - WEEK),
    }  # fmt: skip


def rows(books: Books) -> tuple[Entry[Cost], ...]:
    """The dearest of this month first."""
    parts = {period: {_name(row): row for row in book.rows} for period, book in books.items()}
    names = dict.fromkeys(name for rows in parts.values() for name in rows)
    found = [(name, _cost({period: part.get(name) for period, part in parts.items()})) for name in names]
    found.sort(key=lambda pair: (-(pair[1].month or 0.0), pair[0]))
    return tuple(Entry(name, cost, name if "/deployments/" in name else "") for name, cost in found)


def _name(row: UsageRow | TokenRow) -> str:
    if isinstance(row, UsageRow):
        if row.deployment is not None:
            return row.deployment
        none = row.accelerator_type in (None, NO_ACCELERATOR)
        return "none (CPU)" if none else str(row.accelerator_type)
    if row.tags is not None:
        return " ".join(f"{tag}={value}" for tag, value in sorted(row.tags.items())) or "(none)"
    return row.user or row.key or row.model or row.adapter or row.deployment or "(none)"


def _cost(parts: Mapping[str, UsageRow | TokenRow | None]) -> Cost:
    dollars = {period: None if row is None else row.cost_usd for period, row in parts.items()}
    used, value = _used(parts.get("today"))
    return Cost(
        dollars.get("hour"), dollars.get("today"), dollars.get("month"), dollars.get("week"), dollars.get("before"),
        used, value,
    )  # fmt: skip


def _used(row: UsageRow | TokenRow | None) -> tuple[str, float]:
    if row is None:
        return "nothing today", 0.0
    if isinstance(row, UsageRow):
        hours, gpus = row.replica_seconds / 3600, row.accelerator_seconds / 3600
        return f"{hours:.2f} replica-h" + (f", {gpus:.2f} GPU-h" if gpus else ""), row.replica_seconds
    tokens = f"{units.rate(row.prompt_tokens)} tokens in, {units.rate(row.generated_tokens)} out"
    return f"{units.rate(row.requests)} requests, {tokens}", float(row.requests)


def usd(value: float | None) -> str:
    """Dollars and cents; what is above nothing never shows as 0.00."""
    if value is None:
        return units.UNKNOWN
    return "<0.01" if 0 < value < 0.005 else f"{value:,.2f}"


def change(cost: Cost) -> str:
    """`+12%` against the week before."""
    return units.UNKNOWN if cost.change is None else f"{(cost.change - 1) * 100:+.0f}%"


def _tone(row: Entry[Cost]) -> Tone | None:
    rising = row.what.change is not None and row.what.change > RISING
    return "attention" if rising else None


def _shown(name: str) -> str:
    return name.rpartition("/")[2] if name.startswith("accounts/") else name


COSTS: Listing[Cost] = Listing(
    "costs", "costs",
    (
        Column("name", "WHAT", lambda r: _shown(r.name), 0, 10, 32, "left"),
        Column("hour", "LAST HOUR", lambda r: usd(r.what.hour), 1, 9, value=lambda r: r.what.hour),
        Column("today", "TODAY", lambda r: usd(r.what.today), 0, 6, value=lambda r: r.what.today),
        Column("month", "MONTH", lambda r: usd(r.what.month), 0, 6, value=lambda r: r.what.month),
        Column("week", "7 DAYS", lambda r: usd(r.what.week), 2, 6, value=lambda r: r.what.week),
        Column("change", "TO WEEK BEFORE", lambda r: change(r.what), 1, 14, tone=_tone, value=lambda r: r.what.change),
        Column("used", "USED TODAY", lambda r: r.what.used, 3, 16, 60, "left", value=lambda r: r.what.used_value),
    ),
    "nothing was used this month", lambda r, now: (r.name,), 30.0,
)  # fmt: skip


def totals(books: Books, now: datetime) -> tuple[str, ...]:
    """The sums of all groups, the month's forecast, and what must be known to read them."""
    sums = {period: book.total.cost_usd for period, book in books.items()}
    week, before = sums.get("week"), sums.get("before")
    against = f" ({(week / before - 1) * 100:+.0f}% to the week before)" if week is not None and before else ""
    ahead = forecast(sums.get("month"), sums.get("hour"), now)
    told = "not known" if ahead is None else f"{usd(ahead)}, at the last hour's pace"
    lines = [
        f"USD  last hour {usd(sums.get('hour'))}  today {usd(sums.get('today'))}  "
        f"month {usd(sums.get('month'))}  7 days {usd(week)}{against}",
        f"forecast of the month: {told}",
        *_notes(books),
    ]
    return tuple(lines)


def forecast(month: float | None, hour: float | None, now: datetime) -> float | None:
    """What the month (UTC) will have cost if every hour that is left costs what the last one did."""
    if month is None or hour is None:
        return None
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return month + hour * ((following - now) / HOUR)


def _notes(books: Books) -> Iterator[str]:
    month = books.get("month")
    if isinstance(month, Usage):
        if month.total.unpriced_replica_seconds:
            hours = month.total.unpriced_replica_seconds / 3600
            yield f"{hours:.2f} replica-hours have no price (firedeck serve --price-per-hour USD)"
        if month.total.simulated_replica_seconds:
            yield "SIMULATED: no machine worked these hours, and nobody pays for them"
    elif month is not None and month.total.unpriced_requests:
        yield f"{month.total.unpriced_requests} requests have no price (firedeck serve --prices FILE.toml)"


def next_grouping(by: str) -> str:
    return GROUPINGS[(GROUPINGS.index(by) + 1) % len(GROUPINGS)]
