"""A deployment's replicas: process, stage with progress, slots, cache, speed; and why one is not well."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import states, units
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from client.fleet_types import ReplicaView

_HEAD = f"{'STAGE':<14}{'PID':>7}  {'AGE':>6}  {'SLOTS':>6}  {'WAIT':>4}  {'CACHE':>5}  {'TOK/S':>5}"
_MORE = "  RESTARTS  "
NAME_LEAST, NAME_MOST = 16, 32  # cells of a replica's id and a blank: the most where there is room
DEVICE_LEAST = 8
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
        width = self.size.width
        wide = width >= NAME_LEAST + len(_HEAD + _MORE) + DEVICE_LEAST
        name = min(NAME_MOST, max(NAME_LEAST, *(1 + len(one.id) for one in replicas))) if wide else NAME_LEAST
        device = max(DEVICE_LEAST, width - name - len(_HEAD + _MORE)) if wide else 0
        head = "REPLICA".ljust(name) + _HEAD + (f"{_MORE}DEVICE" if wide else "")
        rows = (row for one in replicas for row in _rows(one, now, name, device))
        self.show([(head, tone("head", bold=True))], *rows)


def _rows(replica: ReplicaView, now: datetime, name: int, device: int) -> list[list[Piece]]:
    """`name` and `device`: cells for those; no device and no restarts where there are none for it."""
    look = states.stage(replica.stage)
    slots = f"{units.count(replica.running)}/{units.count(replica.slots)}"
    numbers = (
        f"{process(replica):>7}  {units.since(replica.started_at, now):>6}  {slots:>6}  "
        f"{units.count(replica.waiting):>4}  {_cache(replica):>5}  {units.rate(replica.tokens_per_second):>5}"
    )
    more = f"  {replica.restarts:>8}  {units.shorten(replica.device or units.UNKNOWN, device)}" if device else ""
    first: list[Piece] = [
        (units.fitted(replica.id, name - 1) + " ", "bold"), (units.fitted(look.text, 14), tone(look.tone)),
        numbers + more,
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


def process(replica: ReplicaView) -> str:
    """Its pid, which the engine tells admins alone."""
    placeless = replica.stage in ("PENDING_SCHEDULING", "DOWNLOADING_MODEL")
    return units.NOT_EXPOSED if replica.pid is None and not placeless else units.count(replica.pid)


def _cache(replica: ReplicaView) -> str:
    if replica.kv_used_tokens is None or not replica.kv_capacity_tokens:
        return units.UNKNOWN
    return units.percent(replica.kv_used_tokens / replica.kv_capacity_tokens)
