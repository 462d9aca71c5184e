"""Moves a router's traffic from what it was to one deployment, step by step, and back when that does badly.

    data   the router's record: where the shift stands and all its steps, written down before or right after each
    verbs  begun (the record of a new shift), ended (of one that is over), step (look once, and act)
    near   `engine.control.shift` decides; `engine.fleet.routers` begins, ends and keeps a task for each that goes on

A decision is in force before it is written: a disk that is full must not hold up a roll-back. What could not be written
is written at the next look. An engine that was killed goes on with the step that was written last; its figures begin
anew, so that it takes no next step on the strength of what it does not know any more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from client.errors import FiredeckError
from client.router_types import (
    ABORTED,
    COMPLETED,
    ROLLED_BACK,
    Router,
    RouterEvent,
    RouterShift,
    RouterTarget,
    WeightedRoutes,
)
from engine.clock import Clock
from engine.control.shift import Decision, Progress, Verdict, decide, percent
from engine.fleet.live_router import LiveRouter
from engine.router_rules import plan_of

log = logging.getLogger(__name__)

TICK_S = 0.5
_REASONS = {COMPLETED: "RouterShiftCompleted", ROLLED_BACK: "RouterRolledBack", ABORTED: "RouterShiftAborted"}

Tell = Callable[[str, Router, RouterEvent], Awaitable[None]]  # an event of this kind: Normal or Warning
Put = Callable[[Router], Awaitable[None]]


def begun(router: Router, shift: RouterShift, now: datetime, by: str) -> Router:
    """The router with its first step taken."""
    given = plan_of(shift)
    kept = f"at most {percent(given.max_error_rate)} of its requests fail"
    if given.max_ttft_p95_s is not None:
        kept += f" and its TTFT p95 is at most {given.max_ttft_p95_s * 1000:.0f} ms"
    steps = f"{given.steps} step{'s' * (given.steps != 1)} of {given.interval_s:g} s"
    message = f"by {by}: to {shift.to} in {steps}, as long as {kept}, judged by {given.min_requests} or more in a step"
    event = RouterEvent(time=now, reason="RouterShiftBegan", share=shift.share, message=message)
    taken = shift.model_copy(update={"start_time": now, "step_time": now, "events": [event]})
    return router.model_copy(update={"shift": taken, "update_time": now})


def ended(live: LiveRouter, state: str, why: str, now: datetime) -> Router:
    """The router when its shift is over: all with the new one, or as it was before."""
    router, shift = live.record, live.record.shift
    assert shift is not None
    share = 1.0 if state == COMPLETED else shift.start_share
    changes = {"state": state, "share": share, "end_time": now, "reason": why}
    if live.tally is not None:
        changes |= {"figures": live.tally.shown()}
    over = _with(shift.model_copy(update=changes), _REASONS[state], share, why, now)
    made = router.model_copy(update={"shift": over, "update_time": now})
    if state != COMPLETED:
        return made
    assert router.weighted is not None
    alone = WeightedRoutes(targets=[RouterTarget(deployment=shift.to, weight=100)], sticky=router.weighted.sticky)
    return made.model_copy(update={"weighted": alone})


async def step(live: LiveRouter, clock: Clock, put: Put, tell: Tell) -> None:
    """One look. Raises nothing that a disk can do."""
    shift = live.record.shift
    if shift is None or live.tally is None:  # over, but perhaps not written yet
        await _write(live, put, wanted=False)
        return
    now = clock.monotonic()
    if not live.lives(shift.to):
        await _end(live, ROLLED_BACK, f"{shift.to} is gone", clock, put, tell)
        return
    decision = decide(plan_of(shift), Progress(shift.step_number, live.step_at), live.tally.figures(), now)
    if decision.verdict is Verdict.WAIT:
        live.waits = f"step {shift.step_number} of {shift.steps}: {decision.why}"
        await _write(live, put, wanted=False)
    elif decision.verdict is Verdict.STEP:
        await _next(live, decision, clock, put, tell)
    else:
        state = COMPLETED if decision.verdict is Verdict.COMPLETE else ROLLED_BACK
        await _end(live, state, decision.why, clock, put, tell)


async def _next(live: LiveRouter, decision: Decision, clock: Clock, put: Put, tell: Tell) -> None:
    shift, now = live.record.shift, clock.wall()
    assert shift is not None
    assert live.tally is not None
    number = decision.progress.number
    why = f"step {number} of {shift.steps}, after {decision.why}"
    moved = shift.model_copy(update={"share": decision.share, "step_number": number, "step_time": now})
    moved = _with(moved, "RouterShifted", decision.share, why, now)
    live.take(live.record.model_copy(update={"shift": moved, "update_time": now}), now)
    live.tally.begin()
    live.step_at = decision.progress.since
    await _write(live, put)
    await tell("Normal", live.record, moved.events[-1])


async def _end(live: LiveRouter, state: str, why: str, clock: Clock, put: Put, tell: Tell) -> None:
    now = clock.wall()
    live.take(ended(live, state, why, now), now)
    await _write(live, put)
    assert live.record.shift is not None
    await tell("Normal" if state == COMPLETED else "Warning", live.record, live.record.shift.events[-1])


async def _write(live: LiveRouter, put: Put, *, wanted: bool = True) -> None:
    """What is `wanted` to be written, or was before and could not be."""
    if not wanted and not live.unwritten:
        return
    live.unwritten = True
    try:
        await put(live.record)
    except FiredeckError as error:
        log.warning("%s: what became of its shift is not written down: %s", live.name, error.text)
        return
    live.unwritten = False


def _with(shift: RouterShift, reason: str, share: float, message: str, now: datetime) -> RouterShift:
    event = RouterEvent(time=now, reason=reason, share=round(share, 6), message=message)
    return shift.model_copy(update={"events": [*shift.events, event]})
