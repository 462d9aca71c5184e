"""The state that a deployment shows, from what is declared and what is there. Pure.

`CREATING -> READY`, `READY -> UPDATING -> READY`, `-> FAILED`, `-> DELETING -> DELETED`. Scaling alone changes counts,
not the state: a deployment scaled to zero is READY once its settings have answered a request, and one that may have no
replica at all is READY as it is. A FAILED one goes on being tried and may become READY; it is
CREATING again once somebody has changed it. One whose roll-out was stopped is READY as long as the former settings
serve: it answers requests, and nothing moves that would be UPDATING. That the last change did not happen is told beside
the state, by its `status` and by a condition of its own (as Kubernetes has Available beside Progressing).
"""

from __future__ import annotations

from dataclasses import dataclass

CREATING, READY, UPDATING, FAILED, DELETING, DELETED = (
    "CREATING", "READY", "UPDATING", "FAILED", "DELETING", "DELETED",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is: counts are replicas that live; `old` still run with former settings. Of the settings that would
    be started now: `failing`, no replica has stood since the last failure; `hopeless`, again and again."""

    deleted: bool
    desired: int
    living: int
    ready: int
    old: int
    failing: bool = False
    hopeless: bool = False
    stopped: bool = False  # a roll-out was given up
    may_rest: bool = True  # its settings have answered a request, or it is switched off: no replica is as it should be


def state(former: str, facts: Facts) -> str:
    """The state to show now, given the one shown before."""
    if facts.deleted:
        return DELETING if facts.living else DELETED
    if facts.hopeless and not facts.ready:
        return FAILED
    if former == FAILED and facts.failing and not facts.ready:
        return FAILED
    if former in {CREATING, DELETING, DELETED} or (former == FAILED and not facts.ready):
        if facts.ready or (not facts.desired and facts.may_rest):
            return READY
        return FAILED if former == FAILED and not facts.desired else CREATING
    return UPDATING if facts.old and facts.desired and not facts.stopped else READY
