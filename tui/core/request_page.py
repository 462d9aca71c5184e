"""The requests page as data, and one request explained: sentences, then its spans over the time of the whole."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.states import Look, Tone

if TYPE_CHECKING:
    from client.trace_types import RequestSummary, RequestTrace, TraceSpan

CLIENT_LEFT = 499
LEAST_BAR, MOST_BAR = 10, 60
_OPEN = Look("◐", "open", "working", 1)


def rows(found: Iterable[RequestSummary]) -> tuple[Entry[RequestSummary], ...]:
    """As they come: newest first."""
    return tuple(Entry(one.request_id, one, one.deployment or "") for one in found)


def look(status: int | None) -> Look:
    """The look of an answer's HTTP status; None while it is under way."""
    if status is None:
        return _OPEN
    if status == CLIENT_LEFT:
        return Look("◌", "left", "idle", 20)
    if status >= 500:
        return Look("✖", str(status), "failed", 0)
    return Look("▲", str(status), "attention", 10) if status >= 400 else Look("●", str(status), "healthy", 30)


def _tone(row: Entry[RequestSummary]) -> Tone | None:
    return look(row.what.status).tone


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _id(name: str | None) -> str:
    return (name or "").rpartition("/")[2] or units.UNKNOWN


def _took(row: Entry[RequestSummary]) -> float:
    return row.what.duration_s * 1000


def _first(row: Entry[RequestSummary]) -> float | None:
    return _ms(row.what.ttft_s)


REQUESTS: Listing[RequestSummary] = Listing(
    "requests", "requests",
    (
        Column("time", "TIME", lambda r: units.clock(r.what.start_time), 0, 8, align="left",
               value=lambda r: r.what.start_time.timestamp()),
        Column("status", "STATUS", lambda r: look(r.what.status).text, 0, 6, 6, "left", _tone,
               lambda r: r.what.status),
        Column("deployment", "DEPLOYMENT", lambda r: _id(r.deployment), 0, 10, 24, "left"),
        Column("router", "ROUTER", lambda r: _id(r.what.router), 3, 6, 20, "left"),
        Column("took", "TOOK", lambda r: units.milliseconds(_took(r)), 1, 5, value=_took, unit="ms"),
        Column("ttft", "TTFT", lambda r: units.milliseconds(_first(r)), 0, 5, value=_first, unit="ms"),
        Column("in", "IN", lambda r: units.count(r.what.prompt_tokens), 2, 4, value=lambda r: r.what.prompt_tokens),
        Column("cached", "CACHED", lambda r: units.count(r.what.cached_tokens), 4, 6,
               value=lambda r: r.what.cached_tokens),
        Column("out", "OUT", lambda r: units.count(r.what.generated_tokens), 2, 4,
               value=lambda r: r.what.generated_tokens),
        Column("tries", "TRIES", lambda r: str(r.what.tries), 5, 5, value=lambda r: r.what.tries),
        Column("replica", "REPLICA", lambda r: r.what.replica or units.UNKNOWN, 6, 10, 24, "left"),
        Column("user", "USER", lambda r: r.what.user or units.UNKNOWN, 7, 6, 20, "left"),
        Column("error", "ERROR", lambda r: r.what.error or "", 2, 10, 120, "left", lambda r: "attention"),
    ),
    "no requests yet; the engine keeps the newest in memory", lambda r, now: detail(r.what), 2.0,
)  # fmt: skip


def detail(one: RequestSummary) -> tuple[str, ...]:
    whose = f"user {one.user or units.UNKNOWN}, key {one.key_id or units.UNKNOWN}"
    kind = "streamed" if one.stream else "whole"
    made = ", SYNTHETIC" if one.synthetic else ""
    asked = f"{one.model or units.UNKNOWN}{f' with {one.adapter}' if one.adapter else ''}"
    first = f"{one.request_id}  {one.route}, {kind}{made}, {whose}"
    return (first, f"asked for {asked}" + (f": {one.error}" if one.error else ""))


# One request.


def sentences(found: RequestTrace, width: int) -> list[str]:
    """What happened, in order, each sentence in lines of at most `width` cells."""
    told: list[str] = []
    for sentence in found.explanation or ["the engine tells nothing of it"]:
        told += textwrap.wrap(sentence, max(20, width - 2), initial_indent="· ", subsequent_indent="  ")
    return told


def spans(found: RequestTrace, width: int) -> list[tuple[str, bool]]:
    """A line a span, below its parent: name, when it began, how long it took, a bar over the time of the whole, what
    happened in it; and whether it failed."""
    whole_ms = max([_whole(found), *(one.offset_ms + (one.duration_ms or 0) for one in found.spans)])
    named = [(f"{'  ' * depth}{span.name}", span) for depth, span in _depths(found.spans)]
    first = min(max((units.width(name) for name, _ in named), default=0), max(12, width // 3))
    cells = max(LEAST_BAR, min(MOST_BAR, width - first - 18 - width // 4))
    return [(_span(units.fitted(name, first), span, whole_ms, cells), span.error is not None) for name, span in named]


def _whole(found: RequestTrace) -> float:
    return found.request.duration_s * 1000


def _depths(found: Iterable[TraceSpan]) -> list[tuple[int, TraceSpan]]:
    depth: dict[str, int] = {}
    told = []
    for span in found:
        depth[span.span_id] = depth.get(span.parent_span_id, -1) + 1
        told.append((depth[span.span_id], span))
    return told


def _span(name: str, span: TraceSpan, whole_ms: float, cells: int) -> str:
    lasted = "open" if span.duration_ms is None else units.milliseconds(span.duration_ms)
    happened = [event.name.removeprefix("firedeck.").replace("_", " ") for event in span.events]
    notes = "; ".join([*([f"✖ {span.error}"] if span.error else []), *happened])
    bar = _bar(span, whole_ms, cells)
    return f"{name} {units.milliseconds(span.offset_ms):>6} {lasted:>6}  {bar}  {notes}".rstrip()


def _bar(span: TraceSpan, whole_ms: float, cells: int) -> str:
    scale = cells / whole_ms if whole_ms > 0 else 0.0
    start = min(cells - 1, int(span.offset_ms * scale))
    lasted = whole_ms - span.offset_ms if span.duration_ms is None else span.duration_ms
    filled = max(1, min(cells - start, round(lasted * scale)))
    return "░" * start + "█" * filled + "░" * (cells - start - filled)


def facts(found: RequestTrace, now: datetime) -> list[tuple[str, str]]:
    """What is known of it, label and value."""
    one = found.request
    return [
        ("status", look(one.status).text), ("took", units.milliseconds(_whole(found))),
        ("TTFT", units.milliseconds(_ms(one.ttft_s))), ("in", units.count(one.prompt_tokens)),
        ("cached", units.count(one.cached_tokens)), ("out", units.count(one.generated_tokens)),
        ("tries", str(one.tries)), ("replica", one.replica or units.UNKNOWN), ("router", _id(one.router)),
        ("ago", units.since(one.start_time, now)),
    ]  # fmt: skip
