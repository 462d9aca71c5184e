"""Why there are this many replicas: pipeline, the autoscaler's reasons, its targets, and what comes next."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import explain, units
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus


class Reasons(Text):
    """`now` is the engine's clock, so that the countdown ticks between two snapshots."""

    def on_mount(self) -> None:
        self.border_title = "why this many replicas"

    def show_status(
        self, status: DeploymentStatus, now: datetime, stale_age: str = "", *, explained: bool = True
    ) -> None:
        """`stale_age` is empty while the data is live; `explained`: the source has the autoscaler's reasons."""
        head: list[Piece] = [*stale_mark(stale_age), (explain.headline(status), "bold")]
        lines: list[list[Piece]] = [head, pipeline(status)]
        failure = status.deployment.status
        if status.deployment.state == "FAILED" and failure and failure.message:
            lines.append([("✖ ", tone("failed")), (failure.message, tone("failed"))])
        lines += [[("▲ ", tone("attention", bold=True)), (text, tone("attention"))] for text in troubles(status, now)]
        lines += [[("· ", tone("healthy")), text] for text in explain.reasons(status.autoscaler, explained=explained)]
        if following := coming(status, now, stale_age):
            lines.append([("→ ", tone("attention", bold=True)), (following, tone("attention"))])
        self.show(*lines, *_targets(status))


def troubles(status: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    """What keeps the deployment from being as declared, and what it refuses."""
    return (*explain.conditions(status, now), *explain.quarantine(status, now))


def coming(status: DeploymentStatus, now: datetime, stale_age: str) -> str:
    """What the autoscaler does next; of stale data what it was about to do: by now it may have."""
    following = explain.next_change(status.autoscaler, now)
    return f"{stale_age} ago: {following}" if stale_age and following else following


def stale_mark(age: str) -> list[Piece]:
    """The mark of stale data, before what it is about."""
    return [(f"▲ as of {age} ago ", tone("attention", bold=True))] if age else []


def pipeline(status: DeploymentStatus) -> list[Piece]:
    """`○ pending 0 → ↓ downloading 0 → ◐ loading 1 → ● ready 1`: counts above zero stand out."""
    pieces: list[Piece] = []
    for stage in explain.pipeline(status):
        if pieces:
            pieces.append((" → ", tone("dim")))
        shown = tone(stage.look.tone, bold=True) if stage.count else tone("dim")
        pieces.append((f"{stage.look.text} {units.count(stage.count)}", shown))
    return pieces


def _targets(status: DeploymentStatus) -> list[list[Piece]]:
    """`requests per second: 4.6 now, 3.0 a replica, wants 2`, one line a load target."""
    return [
        [
            (f"{line.name} ", tone("head")), (line.observed, "bold"), (" now, ", tone("dim")), (line.target, "bold"),
            (" a replica, wants ", tone("dim")), (line.wanted, "bold"),
        ]
        for line in explain.targets(status.autoscaler)
    ]  # fmt: skip
