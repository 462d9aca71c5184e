"""The routers page as data: what each target is to have of the requests, what it has had, and the shift's verdicts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime

from client import durations
from client.router_types import SHIFTING, Router, RouterShare, RouterShift
from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.plan import Change, Plan
from tui.core.states import Look, Tone

BAR_CELLS = 10
_SHIFTS = {
    SHIFTING: Look("◐", "SHIFTING", "working", 0), "ROLLED_BACK": Look("✖", "ROLLED BACK", "attention", 1),
    "ABORTED": Look("▼", "ABORTED", "attention", 2), "COMPLETED": Look("●", "COMPLETED", "healthy", 3),
}  # fmt: skip
_STILL = Look("·", "none", "idle", 9)


def rows(found: Iterable[Router]) -> tuple[Entry[Router], ...]:
    """`deployment` is where most requests went: what Enter opens."""
    return tuple(Entry(router.name, router, _busiest(router)) for router in found)


def _busiest(router: Router) -> str:
    shares = [share for share in router.shares or () if not share.gone]
    most = max(shares, key=lambda share: share.requests, default=None)
    return most.deployment if most is not None else next(iter(router.targets), "")


def look(shift: RouterShift | None) -> Look:
    if shift is None:
        return _STILL
    return _SHIFTS.get(shift.state) or Look("?", shift.state, "neutral", 5)


def short(deployment: str) -> str:
    return deployment.rpartition("/")[2]


def _shift(row: Entry[Router]) -> str:
    shift = row.what.shift
    if shift is None or shift.state != SHIFTING:
        return look(shift).text
    return f"{look(shift).text} {shift.step_number}/{shift.steps} to {short(shift.to)}"


def _tone(row: Entry[Router]) -> Tone | None:
    return look(row.what.shift).tone


def _shares(row: Entry[Router]) -> str:
    """`chat 90→88%`: what is wanted and what was measured; of a rule what was measured alone."""
    return "  ".join(_share(one) for one in row.what.shares or ()) or units.UNKNOWN


def _share(one: RouterShare) -> str:
    gone = " gone" if one.gone else ""
    if one.wanted is None:
        return f"{short(one.deployment)} {units.percent(one.measured)}{gone}"
    return f"{short(one.deployment)} {units.percent(one.wanted)}→{units.percent(one.measured)}{gone}"


def _asked(row: Entry[Router]) -> float:
    return sum(share.requests for share in row.what.shares or ())


ROUTERS: Listing[Router] = Listing(
    "routers", "routers",
    (
        Column("router", "ROUTER", lambda r: r.what.id, 0, 8, 24, "left"),
        Column("kind", "KIND", lambda r: "rule" if r.what.complexity else "weights", 3, 7, align="left"),
        Column("shift", "SHIFT", _shift, 0, 12, 40, "left", _tone, lambda r: look(r.what.shift).rank),
        Column("requests", "REQUESTS", lambda r: f"{_asked(r):.0f}", 1, 8, value=_asked),
        Column("shares", "WANTED→MEASURED", _shares, 0, 20, 200, "left"),
    ),
    "no routers; make one with: firedeck router create ID --target A=90 --target B=10",
    lambda r, now: detail(r.what, now, 78), 2.0,
)  # fmt: skip


def detail(router: Router, now: datetime, width: int) -> tuple[str, ...]:
    """A bar a target, then the last shift: its step, its thresholds, its figures, its verdicts newest first."""
    since = "" if router.measured_since is None else f", measured for {units.since(router.measured_since, now)}"
    made = "SIMULATED " if router.simulated else ""
    lines = [f"{made}{router.name}{since}", *(_target(one) for one in router.shares or ())]
    if router.shift is not None:
        lines += _verdicts(router.shift, now)
    return tuple(units.shorten(line, width) for line in lines)


def _target(one: RouterShare) -> str:
    wanted = "" if one.wanted is None else f" wanted {units.percent(one.wanted):>4}"
    counted = f"{one.requests} request{'s' * (one.requests != 1)}"
    gone = ", deleted: it is passed over" if one.gone else ""
    drawn = units.bar(one.measured, BAR_CELLS)
    return (
        f"{units.fitted(short(one.deployment), 20)} {drawn} {units.percent(one.measured):>4}{wanted}  {counted}{gone}"
    )


def _verdicts(shift: RouterShift, now: datetime) -> list[str]:
    step = f"step {shift.step_number} of {shift.steps} for {units.since(shift.step_time, now)}"
    at = f"{look(shift).text} to {short(shift.to)} at {units.percent(shift.share)}"
    head = f"{at}, {step}" if shift.state == SHIFTING else at
    limits = f"goes back beyond {units.percent(shift.max_error_rate)} failed"
    if shift.max_ttft_p95 is not None:
        limits += f" or TTFT p95 {durations.to_go(shift.max_ttft_p95)}"
    lines = [f"{head}; {limits}, judged by {shift.min_requests} requests"]
    if (seen := shift.figures) is not None:
        ttft = units.milliseconds(seen.ttft_p95_ms)
        lines.append(f"in this step: {seen.requests} requests, {seen.failed} failed, TTFT p95 {ttft}")
    if shift.reason:
        lines.append(f"→ {shift.reason}")
    newest = sorted(shift.events, key=lambda event: event.time, reverse=True)
    lines += [f"{units.clock(e.time)} {units.percent(e.share):>4}  {e.message}" for e in newest]
    return lines


def roll_back(router: Router) -> Plan:
    """The end of the shift that goes on: the weights that were before it, at once. Nothing changes without a shift."""
    shift = router.shift
    command = shlex.join(["firedeck", "router", "shift", router.id, "--abort"])
    if shift is None or shift.state != SHIFTING:
        return Plan("roll_back", router.name, (), command)
    to, seen = short(shift.to), shift.figures
    share = Change(f"share of {to}", units.percent(shift.share), units.percent(shift.start_share))
    counted = f": {seen.requests} requests in this step, {seen.failed} failed" if seen is not None else ""
    left = f"of new requests {units.percent(shift.start_share)} go to {to}" if shift.start_share else ""
    blast = (f"{left or f'new requests no longer go to {to}'}{counted}", "requests under way are not cut off")
    return Plan("roll_back", router.name, (share,), command, blast, seen_created=shift.start_time)
