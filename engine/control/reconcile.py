"""What to do next for one deployment: from (declared, observed, now) to steps. Pure.

Level-triggered: the answer depends only on what is, never on what happened, so losing any event costs at most one
look more. At most one step a replica. Rollouts start new replicas before old ones are drained, so that a change of
settings fails no request.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
FAILURES_UNTIL_FAILED = 5  # starts in a row without one replica that became ready
START_TIMEOUT_S = 600.0  # from process start to ready; a large model loads for minutes
STALLED_AFTER_S = 30.0  # no token and no prefill progress while there is work
SILENT_AFTER_S = 15.0  # no answer from a process that exists (stopped, swapped out, wedged)
TERM_GRACE_S = 35.0  # from SIGTERM to SIGKILL: longer than a replica's own drain
KILL_GRACE_S = 5.0  # the same for a replica that has been found wedged
DRAIN_TIMEOUT_S = 600.0  # how long requests may keep a replica that is no longer wanted
DRAINED = "drained"


class Stage(enum.StrEnum):
    """A replica's way through life, as `client.fleet_types.REPLICA_STAGES` has it."""

    PENDING_SCHEDULING = "PENDING_SCHEDULING"
    DOWNLOADING_MODEL = "DOWNLOADING_MODEL"
    INITIALIZING = "INITIALIZING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"


STARTING = frozenset({Stage.PENDING_SCHEDULING, Stage.DOWNLOADING_MODEL, Stage.INITIALIZING})
SERVING = STARTING | {Stage.READY}


@dataclass(frozen=True, slots=True)
class Declared:
    """What is wanted: `desired` replicas of settings `generation`; none at all when `deleted`."""

    desired: int
    generation: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """One replica as it was last seen. Ages and times are seconds; `in_flight` counts its requests."""

    id: str
    stage: Stage
    generation: str
    alive: bool
    in_flight: int = 0
    started_at: float = 0.0
    stage_since: float = 0.0
    silent_s: float = 0.0
    stalled_s: float = 0.0
    wedged: bool = False
    short: bool = False  # no node has room for it


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failed starts in a row and the instant of the last one."""

    failures: int = 0
    last_failure_at: float = 0.0

    @property
    def wait_s(self) -> float:
        """1, 2, 4 ... 60 seconds."""
        doublings = min(self.failures - 1, 30)  # 2 ** 1024 is no float any more
        return min(BACKOFF_FIRST_S * 2**doublings, BACKOFF_MAX_S) if self.failures else 0.0

    def holds_until(self) -> float:
        return self.last_failure_at + self.wait_s


class Do(enum.StrEnum):
    START = "start"  # one more replica
    DRAIN = "drain"  # take it out of routing, let its requests finish
    KEEP = "keep"  # a draining replica is needed after all
    TERMINATE = "terminate"  # SIGTERM
    KILL = "kill"  # SIGKILL
    BURY = "bury"  # the process is gone: forget it, count it


@dataclass(frozen=True, slots=True)
class Step:
    do: Do
    replica: str = ""
    why: str = ""
    fault: bool = False  # the replica is found wedged: short grace, and somebody should know


def steps(declared: Declared, replicas: Sequence[Observed], backoff: Backoff, now: float) -> list[Step]:
    """At most one step a replica, plus starts; an empty list when everything is as declared."""
    buried = [Step(Do.BURY, r.id, "the process is gone") for r in replicas if not r.alive]
    living = [r for r in replicas if r.alive]
    forced = [step for r in living if (step := _unwell(r, now)) is not None]
    handled = {step.replica for step in forced}
    well = [r for r in living if r.id not in handled]
    return buried + forced + _count(declared, well, backoff, now)


def _unwell(replica: Observed, now: float) -> Step | None:
    """A replica that must go whatever the count: wedged, never ready, or not leaving."""
    in_stage_s = now - replica.stage_since
    if replica.stage == Stage.STOPPING:
        grace = KILL_GRACE_S if replica.wedged else TERM_GRACE_S
        return Step(Do.KILL, replica.id, f"still there {grace:.0f}s after SIGTERM") if in_stage_s > grace else None
    if replica.silent_s > SILENT_AFTER_S and replica.stage in {Stage.READY, Stage.DRAINING}:
        return Step(Do.TERMINATE, replica.id, f"no answer for {replica.silent_s:.0f}s", fault=True)
    if replica.stalled_s > STALLED_AFTER_S:
        return Step(Do.TERMINATE, replica.id, f"has work but made no token for {replica.stalled_s:.0f}s", fault=True)
    if replica.stage == Stage.INITIALIZING and in_stage_s > START_TIMEOUT_S:
        return Step(Do.TERMINATE, replica.id, f"not ready after {START_TIMEOUT_S:.0f}s", fault=True)
    if replica.stage == Stage.DRAINING and in_stage_s > DRAIN_TIMEOUT_S:
        return Step(Do.TERMINATE, replica.id, f"still busy after {DRAIN_TIMEOUT_S:.0f}s of draining")
    return None


def _count(declared: Declared, well: Sequence[Observed], backoff: Backoff, now: float) -> list[Step]:
    """Start, keep or drain until the number is right, and end those that have drained."""
    desired = 0 if declared.deleted else declared.desired
    current = [r for r in well if r.generation == declared.generation]
    serving = [r for r in current if r.stage in SERVING]
    missing = desired - len(serving)
    kept = [r.id for r in current if r.stage == Stage.DRAINING][: max(0, missing)]
    surplus = sorted(serving, key=_victim_order)[: max(0, -missing)]
    return [
        *(Step(Do.KEEP, replica_id, "wanted again") for replica_id in kept),
        *[Step(Do.START)] * _starts(missing - len(kept), serving, backoff, now),
        *(Step(Do.DRAIN, r.id, "scaled down") for r in surplus),
        *(Step(Do.TERMINATE, r.id, DRAINED) for r in well if _has_drained(r) and r.id not in kept),
        *_retire_old(declared, well, serving, desired),
    ]


def _starts(missing: int, serving: Sequence[Observed], backoff: Backoff, now: float) -> int:
    """How many to start now. After a failure one at a time: a broken model must not fork a crowd."""
    if missing <= 0 or now < backoff.holds_until():
        return 0
    if backoff.failures:
        return 0 if any(r.stage in STARTING for r in serving) else 1
    return missing


def _has_drained(replica: Observed) -> bool:
    return replica.stage == Stage.DRAINING and replica.in_flight == 0


def _retire_old(
    declared: Declared, well: Sequence[Observed], serving: Sequence[Observed], desired: int
) -> list[Step]:
    """Old settings' replicas go as new ones become ready: never fewer ready than desired because of a rollout.

    One fewer where the new ones find no room and others still serve: else two sets that fit only one by one would
    wait for each other for ever.
    """
    old = [r for r in well if r.generation != declared.generation and r.stage in SERVING]
    ready_new = sum(r.stage == Stage.READY for r in serving)
    given_up = desired > 1 and any(r.short for r in serving)
    needed = max(0, desired - ready_new - given_up)
    keep = {r.id for r in sorted(old, key=lambda r: (r.stage != Stage.READY, r.started_at))[:needed]}
    return [Step(Do.DRAIN, r.id, "replaced by new settings") for r in old if r.id not in keep]


def _victim_order(replica: Observed) -> tuple[bool, int, float]:
    """Not ready first, then least work, then newest."""
    return (replica.stage == Stage.READY, replica.in_flight, -replica.started_at)
