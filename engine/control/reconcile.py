"""What to do next for one deployment: from (declared, observed, now) to steps. Pure.

Level-triggered: the answer depends only on what is, never on what happened, so losing any event costs at most one
look more. At most one step a replica.

A change of settings rolls out: one replica more than wanted is started, and an old one is drained for each new one
that is ready. When new ones do not start, the roll-out stops: what runs goes on, and what is missing is started with
the settings that served before, until somebody changes the declaration.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.control.backoff import Backoff

SURGE = 1  # replicas more than wanted while a roll-out is under way
START_TIMEOUT_S = 600.0  # from process start to ready; a large model loads for minutes
STALLED_AFTER_S = 30.0  # no token and no prompt chunk while there is work
LOAD_STALLED_AFTER_S = 60.0  # the same of one that starts: no byte and no processor time of its loader, or no answer
STALLED_CALLS = 4  # the same in calls, for models whose single call takes long
SILENT_AFTER_S = 15.0  # no answer from a process that exists (stopped, swapped out, wedged)
TERM_GRACE_S = 35.0  # from SIGTERM to SIGKILL: longer than a replica's own drain
KILL_GRACE_S = 5.0  # the same for a replica that has been found wedged
DRAIN_TIMEOUT_S = 600.0  # how long requests may keep a replica that is no longer wanted
DRAINED = "drained"
SCALED_DOWN = "scaled down"
REPLACED = "replaced by new settings"
GIVEN_UP = "its roll-out was stopped"
DELETED = "the deployment was deleted"


class Stage(enum.StrEnum):
    """A replica's way through life, as `client.fleet_types.REPLICA_STAGES` has it."""

    PENDING_SCHEDULING = "PENDING_SCHEDULING"
    DOWNLOADING_MODEL = "DOWNLOADING_MODEL"
    INITIALIZING = "INITIALIZING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"


# Tuples: a look asks this of every replica, and members of an enum are compared faster than they are hashed.
STARTING = (Stage.PENDING_SCHEDULING, Stage.DOWNLOADING_MODEL, Stage.INITIALIZING)
SERVING = (*STARTING, Stage.READY)
_WITHOUT_PLACE = (Stage.PENDING_SCHEDULING, Stage.DOWNLOADING_MODEL)
# Read once: Python 3.11 runs a function for each `Stage.READY`, and a look would ask that of every replica many times.
_INITIALIZING, _READY, _DRAINING, _STOPPING = Stage.INITIALIZING, Stage.READY, Stage.DRAINING, Stage.STOPPING


@dataclass(frozen=True, slots=True)
class Fallback:
    """The settings that served before those declared, and how their own starts went lately."""

    generation: str
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class Declared:
    """What is wanted: `desired` replicas of settings `generation`; none at all when `deleted`.

    `fallback` is None when the declared settings are themselves those that served last, or none are known. `places`:
    how many replicas the roll-out that is under way has seen stand at once.
    """

    desired: int
    generation: str
    deleted: bool = False
    fallback: Fallback | None = None
    places: int = 0


class Observed(NamedTuple):
    """One replica as it was last seen. Ages and times are seconds; `in_flight` counts its requests.

    `silent_s`: since it answered at all. `stalled_s`: since its last token or prompt chunk, 0 without work. `call_s`:
    what one call of its model takes at most, as measured. `unanswered_s`: how long it has claimed to have no work
    while a request was with it. `cached_tokens`: what its memory holds of prompts and answers.
    """

    id: str
    stage: Stage
    generation: str
    alive: bool
    in_flight: int = 0
    started_at: float = 0.0
    stage_since: float = 0.0
    silent_s: float = 0.0
    stalled_s: float = 0.0
    call_s: float = 0.0
    unanswered_s: float = 0.0
    wedged: bool = False
    short: bool = False  # no node has room for it
    cached_tokens: int = 0


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
    generation: str = ""  # of a START: which settings


def steps(declared: Declared, replicas: Sequence[Observed], backoff: Backoff, now: float) -> list[Step]:
    """At most one step a replica, plus starts; an empty list when everything is as declared.

    `backoff` is that of the declared settings. Settings of which a replica is buried or found at fault get no new one
    before the next look: only then is that counted, and known how long to wait.
    """
    buried = [Step(Do.BURY, r.id, "the process is gone") for r in replicas if not r.alive]
    living = [r for r in replicas if r.alive] if buried else replicas
    forced = [step for r in living if (step := _unwell(r, now)) is not None]
    handled = {step.replica for step in forced}
    faulty = {step.replica for step in forced if step.fault}
    well = [r for r in living if r.id not in handled] if forced else living
    counted = _hold if stopped(declared, well, backoff) else _shift
    uncounted = {r.generation for r in replicas if not r.alive or r.id in faulty} if buried or faulty else ()
    found = counted(declared, well, backoff, now)
    return buried + forced + [step for step in found if step.do != Do.START or step.generation not in uncounted]


def stopped(declared: Declared, replicas: Sequence[Observed], backoff: Backoff) -> bool:
    """Whether a roll-out is given up: starts of the declared settings fail, and former ones serve or are known."""
    if declared.deleted or not backoff.hopeless:
        return False
    return declared.fallback is not None or any(
        r.alive and r.stage == _READY and r.generation != declared.generation for r in replicas
    )


def standing(replicas: Sequence[Observed]) -> int:
    """How many have a place, be it that they leave it."""
    return sum([r.alive and r.stage not in _WITHOUT_PLACE for r in replicas])


def _unwell(replica: Observed, now: float) -> Step | None:
    """A replica that must go whatever the count: wedged, never ready, or not leaving."""
    in_stage_s = now - replica.stage_since
    if replica.stage == _STOPPING:
        grace = KILL_GRACE_S if replica.wedged else TERM_GRACE_S
        return Step(Do.KILL, replica.id, f"still there {grace:.0f}s after SIGTERM") if in_stage_s > grace else None
    why = _late(replica, in_stage_s) if replica.stage == _INITIALIZING else _wedge(replica)
    if why is not None:
        return Step(Do.TERMINATE, replica.id, why, fault=True)
    if replica.stage == _DRAINING and in_stage_s > DRAIN_TIMEOUT_S:
        return Step(Do.TERMINATE, replica.id, f"still busy after {DRAIN_TIMEOUT_S:.0f}s of draining")
    return None


def _late(replica: Observed, in_stage_s: float) -> str | None:
    """Why one that starts is given up, or None. A large model may load for minutes, as long as it goes on."""
    if replica.stalled_s > max(LOAD_STALLED_AFTER_S, STALLED_CALLS * replica.call_s):
        return f"made no progress for {replica.stalled_s:.0f}s while it started"
    if replica.silent_s > LOAD_STALLED_AFTER_S:
        return f"no answer for {replica.silent_s:.0f}s while it started"
    return f"not ready after {START_TIMEOUT_S:.0f}s" if in_stage_s > START_TIMEOUT_S else None


def _wedge(replica: Observed) -> str | None:
    """Why it must be taken for wedged, or None. An answer on a health path proves nothing: tokens do.

    A long prompt is no wedge: each of its chunks is progress, and a model whose single call is slow gets the time of
    several. A replica that says it has nothing to do while a request waits in it has lost that request.
    """
    if replica.silent_s > SILENT_AFTER_S:
        return f"no answer for {replica.silent_s:.0f}s"
    if replica.stalled_s > STALLED_AFTER_S and replica.stalled_s > STALLED_CALLS * replica.call_s:
        return f"has work but made no token for {replica.stalled_s:.0f}s"
    if replica.unanswered_s > STALLED_AFTER_S:
        return f"has had a request for {replica.unanswered_s:.0f}s and says it has no work"
    return None


def _shift(declared: Declared, well: Sequence[Observed], backoff: Backoff, now: float) -> list[Step]:
    """Towards `desired` replicas of the declared settings. Old ones that are ready stay until new ones are.

    Where new ones find no room and others still serve, one fewer stays of what there is room for, and no more new ones
    are asked for than are wanted: else two sets that fit only one by one would wait for each other for ever.
    """
    desired = 0 if declared.deleted else declared.desired
    current = [r for r in well if r.generation == declared.generation]
    old = [r for r in well if r.generation != declared.generation and r.stage in SERVING]
    serving = [r for r in current if r.stage in SERVING]
    ready_new = [r.stage for r in serving].count(_READY)
    useful = sorted((r for r in old if r.stage == _READY), key=lambda r: r.started_at)
    short = bool(useful) and any(r.short for r in serving)
    needed = _fewer(desired, max(declared.places, standing(well))) if short else desired
    staying = {r.id for r in useful[: max(0, needed - ready_new)]}
    room = min(desired, desired + SURGE - len(staying)) - len(serving)
    missing = desired - len(staying) - len(serving) if short else room
    return [
        *_fill(declared.generation, current, serving, missing, backoff, now),
        *_drain(serving, -room, DELETED if declared.deleted else SCALED_DOWN),
        *(Step(Do.DRAIN, r.id, DELETED if declared.deleted else REPLACED) for r in old if r.id not in staying),
        *_end_drained(well, declared.generation, missing),
    ]


def _fewer(desired: int, places: int) -> int:
    """One fewer than there is room for, but never none: the last one serves until another does."""
    return max(min(desired, 1), min(desired, places) - 1)


def _hold(declared: Declared, well: Sequence[Observed], backoff: Backoff, now: float) -> list[Step]:
    """The roll-out is stopped: all that serve count, whatever their settings; more come with the former ones."""
    spare = declared.fallback or Fallback(declared.generation, backoff)
    serving = [r for r in well if r.stage in SERVING]
    room = declared.desired - len(serving)
    same = [r for r in well if r.generation == spare.generation]
    under_way = [r for r in same if r.stage in SERVING]
    given_up = {r.id for r in serving if r.generation != spare.generation and r.stage in STARTING}
    leaving = _drain(serving, -room)
    return [
        *_fill(spare.generation, same, under_way, room, spare.backoff, now),
        *(replace(step, why=GIVEN_UP) if step.replica in given_up else step for step in leaving),
        *_end_drained(well, spare.generation, room),
    ]


def _fill(
    generation: str, same: Sequence[Observed], serving: Sequence[Observed], room: int, backoff: Backoff, now: float
) -> list[Step]:
    """At most `room` more replicas of these settings: those that drain are wanted again, then new ones."""
    if room <= 0:
        return []
    kept = _kept(same, room)
    starts = _starts(room - len(kept), serving, backoff, now)
    return [
        *(Step(Do.KEEP, replica_id, "wanted again") for replica_id in kept),
        *[Step(Do.START, generation=generation)] * starts,
    ]


def _kept(same: Sequence[Observed], room: int) -> list[str]:
    return [r.id for r in same if r.stage == _DRAINING][: max(0, room)]


def _starts(missing: int, serving: Sequence[Observed], backoff: Backoff, now: float) -> int:
    """How many to start now. While they fail one at a time: a broken model must not fork a crowd."""
    if missing <= 0 or now < backoff.holds_until():
        return 0
    if backoff.failing:
        return 0 if any(r.stage in STARTING for r in serving) else 1
    return missing


def _drain(serving: Sequence[Observed], surplus: int, why: str = SCALED_DOWN) -> list[Step]:
    if surplus <= 0:
        return []
    return [Step(Do.DRAIN, r.id, why) for r in sorted(serving, key=_victim_order)[:surplus]]


def _end_drained(well: Sequence[Observed], generation: str, room: int) -> list[Step]:
    """End those whose last request has ended, unless they are wanted again."""
    drained = [r for r in well if r.stage == _DRAINING and r.in_flight == 0]
    kept = _kept([r for r in well if r.generation == generation], room) if drained else []
    return [Step(Do.TERMINATE, r.id, DRAINED) for r in drained if r.id not in kept]


def _victim_order(replica: Observed) -> tuple[bool, int, int, float]:
    """Not ready first, then least work, then the least that later prompts could reuse, then newest."""
    return (replica.stage == _READY, replica.in_flight, replica.cached_tokens, -replica.started_at)
