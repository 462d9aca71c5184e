"""A deployment's replicas: process, stage with progress, slots, cache, speed; and why one is not well."""

from __future__ import annotations

from datetime import datetime

from client.fleet_types import ReplicaView
from tui.core import states, units
from tui.widgets.paint import Piece, Text, tone

_HEAD = f"{'REPLICA':<16}{'STAGE':<14}{'PID':>7}  {'AGE':>6}  {'SLOTS':>6}  {'WAIT':>4}  {'CACHE':>5}  {'TOK/S':>5}"
BUSY_BUT_STILL_S = 10.0  # a replica with running requests that made no progress for this long is suspicious


class ReplicaTable(Text):
    def on_mount(self) -> None:
        self.border_title = "replicas"

    def show_replicas(
        self, replicas: list[ReplicaView], now: datetime, stale_age: str = "", *, exposed: bool = True
    ) -> None:
        """`now` is the engine's clock, standing still when the data is stale: then `stale_age` is its age. `exposed`:
        the source tells of single replicas."""
        self.border_title = f"replicas as of {stale_age} ago" if stale_age else "replicas"
        if not replicas:
            none = "no replica processes: nothing runs, nothing costs"
            self.show([(none if exposed else "single replicas are not exposed by this source", tone("dim"))])
            return
        wide = self.size.width >= 90
        head = _HEAD + ("  RESTARTS  DEVICE" if wide else "")
        self.show([(head, tone("head", bold=True))], *(row for r in replicas for row in _rows(r, now, wide)))


def _rows(replica: ReplicaView, now: datetime, wide: bool) -> list[list[Piece]]:
    look = states.stage(replica.stage)
    slots = f"{units.count(replica.running)}/{units.count(replica.slots)}"
    numbers = (
        f"{units.count(replica.pid):>7}  {units.since(replica.started_at, now):>6}  {slots:>6}  "
        f"{units.count(replica.waiting):>4}  {_cache(replica):>5}  {units.rate(replica.tokens_per_second):>5}"
    )
    more = f"  {replica.restarts:>8}  {units.shorten(replica.device or units.UNKNOWN, 24)}" if wide else ""
    first: list[Piece] = [
        (units.fitted(replica.id, 15) + " ", "bold"), (units.fitted(look.text, 14), tone(look.tone)), numbers + more,
    ]  # fmt: skip
    return [first, *_below(replica)]


def _below(replica: ReplicaView) -> list[list[Piece]]:
    """What needs a line of its own: progress of a download or load, a reason, a stall."""
    lines: list[list[Piece]] = []
    if replica.progress is not None and replica.stage not in ("READY", "FAILED"):
        drawn = units.bar(replica.progress, 20)
        lines.append([" " * 16, (drawn, tone("working")), f" {units.percent(replica.progress)}"])
    stuck = replica.last_progress_age_s
    if replica.running and stuck is not None and stuck > BUSY_BUT_STILL_S:
        lines.append([" " * 16, (f"⚠ no token for {units.age(stuck)}", tone("attention"))])
    if replica.reason:
        lines.append([" " * 16, (replica.reason, tone("attention"))])
    return lines


def _cache(replica: ReplicaView) -> str:
    if replica.kv_used_tokens is None or not replica.kv_capacity_tokens:
        return units.UNKNOWN
    return units.percent(replica.kv_used_tokens / replica.kv_capacity_tokens)
