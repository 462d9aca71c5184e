"""The fleet as plain text (`firedeck --once`): no colours, no cursor moves, one deployment a line, words for states."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.facts import ENGINE, Facts
from tui.core.filter import select
from tui.core.row import Row

if TYPE_CHECKING:
    from client.fleet_types import EngineInfo, FleetSnapshot

_HEAD = (
    "STATE", "DEPLOYMENT", "MODEL", "READY/DESIRED", "MIN-MAX", "REQ/S", "QUEUE", "TTFT-P50", "TTFT-P95", "TOK/S",
    "WHY",
)  # fmt: skip


def labels(engine: EngineInfo) -> tuple[str, ...]:
    """What must be said about this engine's data wherever it is shown."""
    marks = (
        (engine.synthetic_traffic, "SYNTHETIC TRAFFIC"),
        (engine.simulated, "SIMULATED"),
        (engine.rehearsal, "REHEARSAL LIMITS"),
    )
    return tuple(text for is_so, text in marks if is_so)


def fleet_text(snapshot: FleetSnapshot, now: datetime, facts: Facts = ENGINE) -> str:
    """The whole fleet, deleted deployments left out; ends without a newline."""
    rows = select(Row(status, facts.hidden) for status in snapshot.deployments)
    found = [_HEAD, *(_cells(row) for row in rows)]
    if any(row.context for row in rows):
        named = ["CONTEXT", *(row.context for row in rows)]
        found = [(context, *cells) for context, cells in zip(named, found, strict=True)]
    lines = [_title(snapshot, now, facts), *table(found)]
    deleted = sum(status.deployment.delete_time is not None for status in snapshot.deployments)
    if deleted:
        lines.append(f"and {deleted} deleted: firedeck deployment list --show-deleted")
    if not rows:
        lines.append("no deployments yet; make one with: firedeck deployment create MODEL")
    return "\n".join(lines)


def _title(snapshot: FleetSnapshot, now: datetime, facts: Facts) -> str:
    engine = snapshot.engine
    marks = "".join(f"  [{mark}]" for mark in labels(engine))
    if facts.kind not in ("engine", "rehearsal"):
        return f"firedeck, {facts.kind}, as of {snapshot.time.isoformat(timespec='seconds')}{marks}"
    return f"firedeck engine {engine.version}, up {units.since(engine.started_at, now)}{marks}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.look.word,
        row.id,
        row.model or units.UNKNOWN,
        f"{units.count(row.ready)}/{units.count(row.desired)}",
        f"{units.count(row.minimum)}-{units.count(row.maximum)}",
        row.told("rps", units.rate),
        row.told("queue", units.count),
        row.told("ttft_p50_ms", units.milliseconds),
        row.told("ttft_p95_ms", units.milliseconds),
        row.told("tps", units.rate),
        row.why,
    )


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Left-aligned columns two blanks apart; nothing is cut."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
