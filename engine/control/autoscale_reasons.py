"""What a decision says of itself: codes for programs, sentences for an operator at 3 a.m."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from engine.control.autoscale_state import DEFAULT_TARGETS, EPSILON_S, TTFT_TARGET, Memory, Observed, Policy
from engine.control.targets import TargetReading
from engine.control.windows import span

Code = Literal[
    "STEADY", "LOAD_ABOVE_TARGET", "LOAD_BELOW_TARGET", "WAITING_SCALE_UP_WINDOW", "SCALED_UP", "PANIC",
    "WAITING_SCALE_DOWN_WINDOW", "SCALED_DOWN", "IDLE", "WAITING_SCALE_TO_ZERO", "SCALED_TO_ZERO",
    "AT_MAX", "AT_MIN", "METRICS_MISSING", "WOKEN", "MANUAL", "FORECAST", "STOCKOUT",
]  # fmt: skip

_UNITS = {
    "default": "concurrent requests",
    "concurrent_requests": "concurrent requests",
    "requests_per_second": "requests per second",
    "tokens_generated_per_second": "generated tokens per second",
    "prompt_tokens_per_second": "prompt tokens per second",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code and a sentence."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there shall be, why, and the earliest instant at which that can change if the load stays.

    Sentences are made when they are read: a decision is taken twice a second, and few of them are looked at.
    """

    situation: Situation

    @property
    def desired(self) -> int:
        return self.situation.count

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return explain(self.situation)

    @property
    def targets(self) -> tuple[TargetReading, ...]:
        return self.situation.readings

    @property
    def next_change_at(self) -> float | None:
        return announce(self.situation)[0]

    @property
    def next_change(self) -> str:
        return announce(self.situation)[1]

    @property
    def text(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the count that is due at `at` if nothing else happens; `code` names it once done."""

    at: float
    to: int
    code: Code


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a sentence may mention: the inputs, the decision `before -> count` and what is pending after it."""

    policy: Policy
    memory: Memory  # after the decision
    observed: Observed
    readings: tuple[TargetReading, ...]
    burst: int | None  # replicas the short average asks for, while there is panic
    before: int
    count: int
    code: Code | None  # what moved the count, None when nothing did
    pending: tuple[Change, ...]
    idle_since: float | None
    now: float


def most_wanted(readings: tuple[TargetReading, ...]) -> int | None:
    """Several targets: the one that wants most wins. None when nothing is known."""
    return max((r.wanted for r in readings if r.wanted is not None), default=None)


def explain(s: Situation) -> tuple[Reason, ...]:
    """The reasons for a decision, the most telling first; never empty."""
    if s.count == 0:
        return _at_zero(s)
    reasons = [*_manual(s), *_load(s), *_moved(s), *_kept(s), *_waiting(s)]
    if not reasons or [r.code for r in reasons] == ["METRICS_MISSING"]:
        reasons.insert(0, Reason("STEADY", f"stays at {s.count}"))
    return tuple(reasons)


def announce(s: Situation) -> tuple[float | None, str]:
    """When the count can change next, and how."""
    if s.count == 0:
        return None, "" if s.policy.max_replicas == 0 else "the next request starts a replica"
    if not s.pending:
        return None, ""
    change = min(s.pending, key=lambda c: (c.at, c.to))
    verb = {"SCALED_UP": "scales up", "SCALED_DOWN": "scales down", "SCALED_TO_ZERO": "scales"}[change.code]
    return max(change.at, s.now), f"{verb} from {s.count} to {change.to or 'zero'}"


def _at_zero(s: Situation) -> tuple[Reason, ...]:
    if s.policy.max_replicas == 0:
        return (Reason("AT_MAX", "the maximum is 0: no replica runs whatever the load"),)
    if s.code == "SCALED_TO_ZERO":
        text = f"no requests for {span(s.policy.zero_window_s)}: scaled from {s.before} to zero"
        return (Reason("SCALED_TO_ZERO", text),)
    return (*_manual(s), Reason("SCALED_TO_ZERO", "at zero replicas; the next request starts one"))


def _manual(s: Situation) -> list[Reason]:
    """Who set the count, where it was not the load."""
    if not s.memory.by_hand:
        return []
    at = s.now if s.memory.manual_at is None else s.memory.manual_at
    return [Reason("MANUAL", f"set to {s.count} by hand {span(s.now - at)} ago")]


def _load(s: Situation) -> list[Reason]:
    """The load against its target, then what is not known of it."""
    reasons = []
    wanted = most_wanted(s.readings)
    if wanted is not None:
        reading = max((r for r in s.readings if r.wanted == wanted), key=lambda r: r.observed or 0.0)
        code: Code = "STEADY"
        if wanted != s.before:
            code = "LOAD_ABOVE_TARGET" if wanted > s.before else "LOAD_BELOW_TARGET"
        if wanted or s.idle_since is None or s.policy.min_replicas:  # else IDLE says it better
            reasons.append(Reason(code, _sentence(reading, s.policy)))
    if s.memory.blind_since is not None:
        since = span(s.now - s.memory.blind_since)
        who = "a ready replica has not reported" if s.observed.missing else "the load is not measured yet"
        reasons.append(Reason("METRICS_MISSING", f"{who} ({since}): nothing is scaled down"))
    return reasons


def _sentence(reading: TargetReading, policy: Policy) -> str:
    how = ""
    if reading.name == TTFT_TARGET:
        seen = "no first token" if reading.observed is None else f"p99 TTFT {_figure(reading.observed)} ms"
        return f"{seen} over {span(policy.average_s)}, target {_figure(reading.target)} ms: {reading.wanted} wanted"
    if reading.name == "default":
        share = (policy.targets or DEFAULT_TARGETS)["default"]
        how = f" ({share:.0%} of {_plural(policy.slots_per_replica, 'slot')})"
    return (
        f"{_figure(reading.observed or 0.0)} {_UNITS[reading.name]} over {span(policy.average_s)}, "
        f"target {_figure(reading.target)}{how} per replica: {reading.wanted} wanted"
    )


def _moved(s: Situation) -> list[Reason]:
    """What changed the count in this decision."""
    move = f"from {s.before} to {s.count}"
    if s.code == "WOKEN":
        held = _plural(s.observed.held, "request")
        return [Reason("WOKEN", f"{held} held at zero replicas: {s.count} started at once")]
    if s.code == "PANIC":
        return [Reason("PANIC", f"{_burst(s)}: scaled up at once {move}")]
    if s.code == "SCALED_UP":
        return [Reason("SCALED_UP", f"the load has lasted {span(s.policy.up_window_s)}: scaled up {move}")]
    if s.code == "SCALED_DOWN":
        lasted = span(s.policy.down_window_s)
        return [Reason("SCALED_DOWN", f"the load has been lower for {lasted}: scaled down {move}")]
    if s.code == "FORECAST":
        return [Reason("FORECAST", f"{_expected(s)}: scaled up at once {move}")]
    if s.code == "AT_MAX":
        return [Reason("AT_MAX", f"the maximum is {s.policy.max_replicas}: lowered {move} at once")]
    if s.code == "AT_MIN":
        return [Reason("AT_MIN", f"the minimum is {s.policy.min_replicas}: raised {move} at once")]
    return []


def _expected(s: Situation) -> str:
    return f"{_figure(s.observed.forecast or 0.0)} replicas' worth of load expected"


def _burst(s: Situation) -> str:
    if s.observed.oldest_held_s > s.policy.late_s:
        held = span(s.observed.oldest_held_s)
        return f"a request has been held for {held}: the last {span(s.policy.panic_s)} want {s.burst}"
    return f"burst: the last {span(s.policy.panic_s)} want {s.burst}, {_plural(s.observed.ready, 'replica')} ready"


def _kept(s: Situation) -> list[Reason]:
    """What keeps the count where it is: a bound, a start under way, a burst not long past."""
    reasons = []
    wanted = most_wanted(s.readings)
    if wanted is not None and wanted > s.count == s.policy.max_replicas and s.code != "AT_MAX":
        reasons.append(Reason("AT_MAX", f"the maximum is {s.policy.max_replicas}"))
    if wanted is not None and wanted < s.count == s.policy.min_replicas and s.code != "AT_MIN":
        reasons.append(Reason("AT_MIN", f"kept at the minimum of {s.policy.min_replicas}"))
    if s.policy.floor(s.observed.forecast) == s.count > max(wanted or 0, s.policy.min_replicas) and not s.code:
        reasons.append(Reason("FORECAST", f"kept: {_expected(s)}"))
    if s.observed.unplaced:
        short = f"{s.observed.unplaced} of {_plural(s.count, 'replica')}"
        reasons.append(Reason("STOCKOUT", f"no room for {short} ({s.observed.shortage}): asked for again"))
    if s.observed.held and not s.observed.ready + s.observed.starting and s.code != "WOKEN":
        text = f"{_plural(s.observed.held, 'request')} held, no replica started yet of {s.count} asked for"
        reasons.append(Reason("WOKEN", text))
    if s.memory.panic_until > s.now and s.code != "PANIC":
        reasons.append(Reason("PANIC", f"no scale-down for {_left(s.memory.panic_until, s.now)} after a burst"))
    return reasons


def _waiting(s: Situation) -> list[Reason]:
    """The windows that are counting, with what is left of each."""
    reasons = []
    if s.idle_since is not None and s.policy.min_replicas == 0:
        reasons.append(Reason("IDLE", _idle(s, s.idle_since)))
    for change in s.pending:
        left = f"({_left(change.at, s.now)} left)"
        if change.code == "SCALED_UP":
            lasts = span(s.policy.up_window_s)
            reasons.append(Reason("WAITING_SCALE_UP_WINDOW", f"waits until the load has lasted {lasts} {left}"))
        elif change.code == "SCALED_DOWN":
            lasts = span(s.policy.down_window_s)
            text = f"scales down to {change.to} when the load has been lower for {lasts} {left}"
            reasons.append(Reason("WAITING_SCALE_DOWN_WINDOW", text))
        else:
            text = f"scales to zero after {span(s.policy.zero_window_s)} without requests {left}"
            reasons.append(Reason("WAITING_SCALE_TO_ZERO", text))
    return reasons


def _idle(s: Situation, since: float) -> str:
    """The window counts from later than the last request where a replica started or somebody set the count since."""
    asked_at = s.observed.last_request_at
    if asked_at is None or since - asked_at < 1:
        return f"no requests for {span(s.now - since)}"
    counted = f"of which the last {span(s.now - since)} count, since the count was set or a replica started"
    return f"no requests for {span(s.now - asked_at)}, {counted}"


def _left(at: float, now: float) -> str:
    """Whole seconds, rounded up: what is left is never shown as 0s."""
    return span(max(1, math.ceil(at - now - EPSILON_S)))


def _figure(value: float) -> str:
    """Three digits that matter, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
