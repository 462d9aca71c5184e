"""The time that a report of usage is about: `startTime` and `endTime` of its query.

data   StartTime, EndTime   the query parameters
       Span                 from the one until before the other
verbs  span_of              what was asked for, or this month so far; moment: of milliseconds
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from fastapi import Query

from client import instants
from client.errors import InvalidArgument
from engine.api.common import INSTANT
from engine.telemetry.ledger import month_began

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
