"""How many replicas a deployment shall have: `decide(policy, memory, history, observed, now)`, and nothing else.

The rules join Fireworks' windows, Knative's panic (https://knative.dev/docs/serving/autoscaling) and the stabilisation
windows of Kubernetes' HPA:
1. Load is averaged over `policy.average_s`; each target wants ceil(mean / target) replicas, the largest want counts.
2. Up when more has been wanted for the whole scale-up window, to the least that was wanted in it.
3. Panic: the short average is twice what is ready, or a request is held too long: for a scale-up window from then the
   count follows the short average up at once, and never down.
4. Down when less has been wanted for the whole scale-down window, to the most that was wanted in it, to no less than
   half of what ran in it, and not to zero.
5. To zero only with a minimum of 0 and no request for the whole scale-to-zero window; from zero only for a request.
6. What is not measured never scales down.
7. A forecast is a floor under a count above zero: it raises at once and is not gone below; waking is the requests' own.
Up, down and zero each are one `Change` with its instant: the same function acts when it is due and announces it before.
"""

from __future__ import annotations

import math
from dataclasses import replace

from engine.control.autoscale_reasons import (
    Change,
    Code,
    Decision,
    Reason,
    Situation,
    most_wanted,
)
from engine.control.autoscale_state import EPSILON_S, MAX_REPLICAS, Memory, Observed, Policy, Track
from engine.control.load import HOLD_S, LoadHistory, LoadSample
from engine.control.targets import TargetReading, demand, read_targets

__all__ = [
    "Decision",
    "LoadHistory",
    "LoadSample",
    "Memory",
    "Observed",
    "Policy",
    "Reason",
    "TargetReading",
    "begin",
    "decide",
    "demand",
    "scale_to",
    "wake",
]


def begin(policy: Policy, count: int, now: float) -> Memory:
    """The memory of a deployment that was told to have `count` replicas before this process knew it."""
    return Memory().set_count(policy.clamp(count), now)


def scale_to(policy: Policy, memory: Memory, count: int, now: float) -> Memory:
    """The `:scale` verb: `count`, within [min, max], at once; windows, panic and idleness start anew from `now`."""
    wanted = memory.wanted if memory.wanted.began_at is None else Track(now, memory.wanted.latest)
    fresh = Memory(wanted=wanted, blind_since=memory.blind_since).set_count(policy.clamp(count), now)
    return replace(fresh, by_hand=True, manual_at=now)


def wake(policy: Policy, memory: Memory, now: float) -> Memory:
    """A request is held at zero replicas: one at once. Idempotent, and of no effect where some are asked for."""
    if memory.count != 0 or policy.max_replicas == 0:
        return memory
    return memory.set_count(policy.clamp(1), now)


def decide(
    policy: Policy, memory: Memory, history: LoadHistory, observed: Observed, now: float
) -> tuple[Decision, Memory]:
    """The count that shall be, its reasons, and the memory for the next call. Any spacing of calls will do."""
    before = memory.count if memory.count is not None else policy.clamp(observed.ready + observed.starting)
    readings = read_targets(policy, history, observed, now)
    short = demand(policy, history, policy.panic_s, now) if policy.panics else None
    memory = _renew_panic(policy, memory, observed, short, now)
    burst = math.ceil(short - 1e-9) if short is not None and memory.panic_until > now else None
    memory = _record(memory, readings, observed, short, burst, before, now)
    count, code = _move(policy, observed, burst, before)
    pending = _changes(policy, memory, observed, count, now)
    due = next((change for change in pending if now >= change.at - EPSILON_S), None)
    if due is not None:
        count, code = due.to, due.code
    if count != memory.count:
        memory = memory.set_count(count, now)
        pending = _changes(policy, memory, observed, count, now)
    idle_since = _idle_since(memory, observed)
    situation = Situation(policy, memory, observed, readings, burst, before, count, code, pending, idle_since, now)
    return Decision(situation), memory


def _renew_panic(policy: Policy, memory: Memory, observed: Observed, short: float | None, now: float) -> Memory:
    """Begin a panic, or prolong it, when the short average or a held request is reason to (rule 3)."""
    # A count set by hand stands for one scale-up window: panic would undo it within a second.
    by_hand = memory.manual_at is not None and now - memory.manual_at < policy.up_window_s - EPSILON_S
    if short is None or by_hand:
        return memory
    late = observed.held > 0 and observed.oldest_held_s > policy.late_s
    # Twice the load, not twice the count: rounded up, any overload of a single replica would want 2 and be a burst,
    # and the scale-up window would never apply to the commonest step of all.
    sudden = short >= 2 * max(1, observed.ready) - 1e-9
    return replace(memory, panic_until=now + policy.up_window_s) if late or sudden else memory


def _record(
    memory: Memory,
    readings: tuple[TargetReading, ...],
    observed: Observed,
    short: float | None,
    burst: int | None,
    before: int,
    now: float,
) -> Memory:
    """Put what the load wants now on the track that the windows look back on."""
    # A burst counts as wanted: else the first quiet minute after it would find an old, long covered low window. So does
    # the least count at which the short average is no panic: else what goes down comes up with the next such burst.
    calm = 0 if short is None else math.floor(short / 2) + 1
    wanted = max(most_wanted(readings) or 0, burst or 0, calm)
    blind_since = None
    if observed.missing or any(reading.wanted is None for reading in readings):
        blind_since = now if memory.blind_since is None else memory.blind_since
        # What is seen is a lower bound. The last full sight stands for 15 s, then what runs counts as needed (rule 6).
        known = memory.wanted.began_at is not None and now - blind_since <= HOLD_S
        wanted = max(wanted, memory.wanted.latest if known else before)
    track = memory.wanted.put(min(wanted, MAX_REPLICAS), now)
    if track is memory.wanted and blind_since == memory.blind_since:
        return memory
    return replace(memory, wanted=track, blind_since=blind_since)


def _move(policy: Policy, observed: Observed, burst: int | None, before: int) -> tuple[int, Code | None]:
    """The count before the windows are asked, and what moved it there: bounds, then waking, then panic."""
    code: Code | None = None
    count = policy.clamp(before)
    if count != before:
        code = "AT_MAX" if count < before else "AT_MIN"
    if count == 0:
        if not observed.held or policy.max_replicas == 0:
            return 0, code
        count, code = 1, "WOKEN"
    if burst is not None and policy.clamp(burst) > count:
        count = policy.clamp(burst)
        code = "WOKEN" if code == "WOKEN" else "PANIC"
    if (floor := policy.floor(observed.forecast)) > count:
        count = floor
        code = "WOKEN" if code == "WOKEN" else "FORECAST"
    return count, code


def _changes(policy: Policy, memory: Memory, observed: Observed, count: int, now: float) -> tuple[Change, ...]:
    """What the windows have in store for `count`, the one that goes furthest first."""
    changes = (
        _to_zero(policy, memory, observed, count),
        _up(policy, memory, count, now),
        _down(policy, memory, policy.floor(observed.forecast), count, now),
    )
    return tuple(change for change in changes if change is not None)


def _up(policy: Policy, memory: Memory, count: int, now: float) -> Change | None:
    since = memory.wanted.above_since(count)
    if since is None or not 0 < count < policy.max_replicas:
        return None
    least = memory.wanted.lowest(max(since, now - policy.up_window_s))
    return Change(since + policy.up_window_s, policy.clamp(least), "SCALED_UP")


def _down(policy: Policy, memory: Memory, floor: int, count: int, now: float) -> Change | None:
    """The rate limit is a window too (as HPA's `Percent 50`), else two calls would quarter what one call halves."""
    since = memory.wanted.below_since(count)
    halved_since = memory.counts.below_since(2 * count - 1)  # from here on half of the peak is below `count`
    if since is None or memory.blind_since is not None or count <= max(1, policy.min_replicas, floor):
        return None
    window_s = policy.down_window_s
    at = max(since + window_s, (halved_since or since) + window_s, memory.panic_until)
    start = max(at, now) - window_s
    half = math.ceil(memory.counts.highest(start) / 2) if window_s > 0 else 1  # nothing ran in a window of no length
    most = memory.wanted.highest(max(since, start))
    return Change(at, policy.clamp(max(1, most, half, floor)), "SCALED_DOWN")


def _to_zero(policy: Policy, memory: Memory, observed: Observed, count: int) -> Change | None:
    if policy.min_replicas > 0 or count == 0:
        return None
    idle_since = _idle_since(memory, observed)
    if idle_since is None:
        return None
    return Change(max(idle_since + policy.zero_window_s, memory.panic_until), 0, "SCALED_TO_ZERO")


def _idle_since(memory: Memory, observed: Observed) -> float | None:
    """Since when nothing has been asked of the deployment, be it by request, by hand or by waking it; None: busy."""
    if observed.running or observed.held or observed.missing:
        return None
    began = memory.wanted.began_at if observed.idle_since is None else observed.idle_since
    return max((at for at in (began, memory.manual_at, memory.woken_at) if at is not None), default=None)
