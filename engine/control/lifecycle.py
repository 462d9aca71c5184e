"""The state that a deployment shows, from what is declared and what is there. Pure.

`CREATING -> READY`, `READY -> UPDATING -> READY`, `-> FAILED`, `-> DELETING -> DELETED`. Scaling alone changes counts,
not the state: a deployment scaled to zero is READY. A FAILED one goes on being tried and may become READY.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.control.reconcile import FAILURES_UNTIL_FAILED

CREATING, READY, UPDATING, FAILED, DELETING, DELETED = (
    "CREATING", "READY", "UPDATING", "FAILED", "DELETING", "DELETED",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is: counts are replicas that live; `old` still run with former settings."""

    deleted: bool
    desired: int
    living: int
    ready: int
    old: int
    failures: int


def state(former: str, facts: Facts) -> str:
    """The state to show now, given the one shown before."""
    if facts.deleted:
        return DELETING if facts.living else DELETED
    if facts.failures >= FAILURES_UNTIL_FAILED and not facts.ready:
        return FAILED
    if former == FAILED:
        return READY if facts.ready else FAILED
    if former in {CREATING, DELETING, DELETED}:
        return READY if facts.ready or not facts.desired else CREATING
    return UPDATING if facts.old and facts.desired else READY
