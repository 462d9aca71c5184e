"""A router as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from client import durations
from client.cli import output as out
from client.router_types import SHIFTING, ComplexityRule, Router, RouterShare, RouterShift
from client.stages import percent, shift_stage, short

HEADER = ("NAME", "KIND", "TARGETS", "MEASURED", "SHIFT", "CREATE TIME")


def row(one: Router) -> Sequence[str]:
    shift = one.shift
    shares = one.shares or ()
    if one.complexity is not None:
        targets = f"small {short(one.complexity.small or '')}, large {short(one.complexity.large or '')}"
    else:
        targets = ", ".join(f"{short(share.deployment)} {percent(share.wanted)}" for share in shares)
    measured = ", ".join(f"{short(share.deployment)} {percent(share.measured)}" for share in shares)
    state = "" if shift is None else shift.state
    if shift is not None and shift.state == SHIFTING:
        state = f"{state} to {short(shift.to)}, step {shift.step_number} of {shift.steps}"
    return (one.id, _kind(one), targets, measured, state, out.local_time(one.create_time))


def text(one: Router) -> str:
    """All of it, one `Key: value` a line; then the steps of the last shift."""
    told = [out.lines(_pairs(one))]
    if one.shift is not None:
        steps = [(out.local_time(e.time), e.reason, percent(e.share), e.message) for e in one.shift.events]
        told.append(out.table(("TIME", "STEP", "SHARE", "WHY"), steps))
    return "\n\n".join([*told, *([out.SIMULATED] if one.simulated else [])])


def _pairs(one: Router) -> Iterator[tuple[str, str]]:
    yield "Name", one.name
    if one.display_name and one.display_name != one.id:
        yield "Display Name", one.display_name
    if one.description:
        yield "Description", one.description
    yield "Kind", _kind(one)
    if one.weighted is not None:
        yield "Sticky", "by session" if one.weighted.sticky is not False else "no: each request is drawn by itself"
    if one.complexity is not None:
        yield "Simple", _rule(one.complexity)
    for share in one.shares or ():
        yield _target(one, share), _share(share)
    if one.shares is None and one.weighted is not None:
        for target in one.weighted.targets or ():
            yield f"Target {short(target.deployment)}", f"weight {target.weight:g}"
    if one.measured_since is not None:
        yield "Measured Since", out.local_time(one.measured_since)
    yield "Create Time", out.local_time(one.create_time)
    if one.shift is not None:
        yield from _shift(one.shift)


def _shift(shift: RouterShift) -> Iterator[tuple[str, str]]:
    yield "Shift", shift_stage(shift)
    yield "Shift Duration", durations.to_go(shift.over)
    limits = f"at most {percent(shift.max_error_rate)} failed"
    if shift.max_ttft_p95 is not None:
        limits += f", TTFT p95 at most {durations.to_go(shift.max_ttft_p95)}"
    yield "Thresholds", f"{limits}, judged by {shift.min_requests} requests of a step or more"
    if shift.reason:
        yield "Reason", shift.reason


def _kind(one: Router) -> str:
    return "complexity" if one.complexity is not None else "weighted"


def _rule(rule: ComplexityRule) -> str:
    limits = (
        (rule.max_prompt_chars, "characters of prompt"), (rule.max_tokens, "max_tokens"), (rule.max_turns, "turns"),
    )  # fmt: skip
    told = [f"at most {most} {what}" for most, what in limits if most is not None]
    told += [] if rule.allow_tools else ["no tools"]
    told += [] if rule.allow_response_format else ["no response_format"]
    return ", ".join(told) or "every request of text"


def _target(one: Router, share: RouterShare) -> str:
    rule = one.complexity
    which = "" if rule is None else "Small " if share.deployment == rule.small else "Large "
    return f"{which}Target {short(share.deployment)}"


def _share(share: RouterShare) -> str:
    wanted = "" if share.wanted is None else f"wanted {percent(share.wanted)}, "
    gone = "; deleted: it is passed over" if share.gone else ""
    counted = f"{share.requests} request{'s' * (share.requests != 1)}"
    return f"{wanted}measured {percent(share.measured)} ({counted}){gone}"
