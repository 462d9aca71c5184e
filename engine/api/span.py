"""The time that a report of usage is about: `startTime` and `endTime` of its query.

data   StartTime, EndTime   the query parameters
       Span                 from the one until before the other
verbs  span_of              what was asked for, or this month so far; moment: of milliseconds
       span_ms              how long each group is that a report is told by: an hour, a day, or all of it
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from fastapi import Query

from client import instants
from client.errors import InvalidArgument
from client.usage_types import TIMES
from engine.api.common import INSTANT
from engine.control.tokens import DAY_MS, HOUR_MS
from engine.telemetry.ledger import ALL_MS, month_began

_LENGTHS = {"hour": HOUR_MS, "day": DAY_MS}

StartTime = Annotated[
    str | None, Query(alias="startTime", description="default: the month's first, UTC", json_schema_extra=INSTANT)
]
EndTime = Annotated[
    str | None, Query(alias="endTime", description="not included; default: now", json_schema_extra=INSTANT)
]


class Span(NamedTuple):
    """Milliseconds since 1970; `end_ms` is not in it."""

    start_ms: int
    end_ms: int

    @property
    def start(self) -> datetime:
        return moment(self.start_ms)

    @property
    def end(self) -> datetime:
        return moment(self.end_ms)


def check_times(names: Collection[str]) -> None:
    """InvalidArgument for more than one length of spans."""
    if all(name in names for name in TIMES):
        raise InvalidArgument("usage is grouped by hour or by day", field="groupBy", hint="name one of them")


def span_ms(names: Iterable[str]) -> int:
    return next((_LENGTHS[name] for name in names if name in TIMES), ALL_MS)


def span_of(start: StartTime, end: EndTime, now_ms: int, end_default_ms: int) -> Span:
    """InvalidArgument for what is no instant, and for a start after the end."""
    end_ms = end_default_ms if end is None else _milliseconds(end, "endTime")
    start_ms = month_began(min(end_ms, now_ms)) if start is None else _milliseconds(start, "startTime")
    if start_ms > end_ms:
        raise InvalidArgument("startTime is after endTime", field="startTime", hint="give an earlier one")
    return Span(start_ms, end_ms)


def _milliseconds(text: str, field: str) -> int:
    return max(0, round(instants.parse(text, field).timestamp() * 1000))


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
