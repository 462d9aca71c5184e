"""What requests used, as `firedeck usage --by` prints it: a table, or rows for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from client.cli import output as out
from client.usage_tokens_types import TAG, TokenRow, TokenSums, TokenUsage
from client.usage_types import TIMES

_FIELDS = (
    "requests", "failed_requests", "prompt_tokens", "cached_prompt_tokens", "generated_tokens",
    "accepted_draft_tokens", "rejected_draft_tokens",
)  # fmt: skip
TIME = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d"}
_TIME_IN_FULL = "%Y-%m-%dT%H:%M:%SZ"
_HEADER = ("REQUESTS", "FAILED", "PROMPT", "CACHED", "GENERATED", "ACCEPTED", "REJECTED", "COST USD")


def tokens_text(usage: TokenUsage, start: datetime | None = None, end: datetime | None = None) -> str:
    """A table of tokens, its sum, and what must be known to read it; `start` and `end` as they were asked for."""
    by = usage.group_by
    header = (*(name.upper() for name in by or ("",)), *_HEADER)
    rows: list[Sequence[str]] = [(*_names(row, by, short=True), *_cells(row)) for row in usage.rows]
    total = ("TOTAL", *[""] * (len(by) - 1), *_cells(usage.total))
    period = f"{usage.start_time:%Y-%m-%d %H:%M:%S} to {usage.end_time:%Y-%m-%d %H:%M:%S} UTC"
    if (start or usage.start_time, end or usage.end_time) != (usage.start_time, usage.end_time):
        period += " (counted in whole minutes, more than two days ago in whole hours: later than asked for)"
    lines = [period, out.table(header, [*rows, total])]
    if usage.total.unpriced_requests:
        lines.append(f"without a price: {usage.total.unpriced_requests} requests (firedeck serve --prices FILE.toml)")
    if any(row.simulated for row in usage.rows):
        lines.append(out.SIMULATED)
    return "\n".join(lines)


def as_rows(usage: TokenUsage) -> str:
    """Comma-separated values, names in full; no cost is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*usage.group_by, "simulated", *_FIELDS, "unpriced_requests", "cost_usd"])
    for row in usage.rows:
        cost = "" if row.cost_usd is None else f"{row.cost_usd:.10f}"
        figures = [getattr(row, name) for name in _FIELDS]
        simulated = "true" if row.simulated else "false"
        writer.writerow([*_names(row, usage.group_by, short=False), simulated, *figures, row.unpriced_requests, cost])
    return text.getvalue().removesuffix("\n")


def _names(row: TokenRow, by: Sequence[str], *, short: bool) -> list[str]:
    return [_name(row, name, short=short) or ("-" if short else "") for name in by]


def _name(row: TokenRow, name: str, *, short: bool) -> str:
    if name.startswith(TAG):
        return (row.tags or {}).get(name.removeprefix(TAG), "")
    if name == "tags":
        return " ".join(f"{tag}={value}" for tag, value in sorted((row.tags or {}).items()))
    if name in TIMES:
        return "" if row.time is None else f"{row.time:{TIME[name] if short else _TIME_IN_FULL}}"
    value: str = getattr(row, name, None) or ""
    return value.rpartition("/")[2] if short else value


def _cells(part: TokenSums) -> tuple[str, ...]:
    cost = "-" if part.cost_usd is None else f"{part.cost_usd:.6f}"
    return (*(str(getattr(part, name)) for name in _FIELDS), cost)
