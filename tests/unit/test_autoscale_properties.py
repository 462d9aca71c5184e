"""What holds for every load, policy and clock. Hypothesis prints the seed and the smallest trace that breaks a rule."""

import math
from dataclasses import replace
from itertools import pairwise

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from engine.control.autoscale import LoadHistory, LoadSample, Memory, Observed, Policy, decide
from engine.control.autoscale_state import Track
from tests.unit.test_autoscale_traces import ORIGIN, Run, Trace, policy, simulate, square, trace

TICKS = st.sampled_from([1.0, 2.5, 7.0])
LEVELS = st.integers(0, 40)
DOWN_AT_ONCE = policy(min_replicas=0, max_replicas=5, up_window_s=0.0, down_window_s=0.0, zero_window_s=1.0)


@st.composite
def traces(draw, levels=LEVELS, most=12) -> Trace:
    lengths = draw(st.lists(st.floats(0.5, 200), min_size=1, max_size=most))
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return Trace(tuple((start, draw(levels)) for start in starts))


@st.composite
def policies(draw, panic=(True, False)) -> Policy:
    least = draw(st.integers(0, 3))
    return policy(
        min_replicas=least,
        max_replicas=draw(st.integers(max(1, least), 8)),
        up_window_s=draw(st.sampled_from([0.0, 5.0, 30.0, 60.0])),
        down_window_s=draw(st.sampled_from([0.0, 20.0, 120.0, 600.0])),
        zero_window_s=draw(st.sampled_from([1.0, 60.0, 300.0])),
        targets=draw(st.sampled_from([{}, {"default": 0.5}, {"concurrent_requests": 3}])),
        slots_per_replica=draw(st.sampled_from([1, 4, 8])),
        panic=draw(st.sampled_from(panic)),
    )


def moves(run: Run, sign: int, merge_s: float) -> list[float]:
    """When the count went up (or down); steps less than `merge_s` apart are one move."""
    instants: list[float] = []
    last = -math.inf
    for at, difference in run.moves():
        if difference * sign > 0:
            if at - last > merge_s:
                instants.append(at)
            last = at
    return instants


@given(traces(), policies(), TICKS, st.floats(0, 0.4), st.integers(0, 9), st.sampled_from([0.0, 20.0]))
@settings(max_examples=120, deadline=None)
def test_the_count_stays_within_its_bounds_and_says_why(load, spec, tick, jitter, seed, start_s):
    run = simulate(load, spec, until=900, tick=tick, jitter=jitter, seed=seed, start_s=start_s)
    for _, decision in run.log:
        assert spec.min_replicas <= decision.desired <= spec.max_replicas
        assert decision.reasons
        assert all(reason.text for reason in decision.reasons)
        assert (decision.next_change_at is None) == (not decision.next_change) or decision.desired == 0


@given(traces(), policies(), TICKS)
@settings(max_examples=120, deadline=None)
def test_to_zero_only_after_a_full_idle_window_and_never_with_work(load, spec, tick):
    run = simulate(load, spec, until=2500, tick=tick)
    for (at, count), (_, before) in zip(run.steps[1:], run.steps, strict=False):
        if count == 0:
            assert load.level(at) == 0
            assert at - (load.last_request_end(at) or 0.0) >= spec.zero_window_s - 1e-4
            assert before > 0


@given(traces(), policies(), TICKS)
@settings(max_examples=80, deadline=None)
def test_a_request_at_zero_never_waits_for_a_tick(load, spec, tick):
    run = simulate(load, spec, until=2500, tick=tick)
    assert all(decision.desired > 0 for at, decision in run.log if load.level(at) > 0)


@given(
    low=st.integers(1, 12),
    more=st.integers(1, 12),
    at=st.floats(50, 60),
    window_s=st.sampled_from([0.0, 1.0, 5.0, 30.0, 300.0]),
    tick=TICKS,
)
@settings(max_examples=80, deadline=None)
def test_up_not_before_the_window_and_exactly_at_it(low, more, at, window_s, tick):
    spec = policy(up_window_s=window_s, max_replicas=100, panic=False)
    settled = math.ceil(low / 3)
    run = simulate(trace((0, low), (at, low + more)), spec, until=at + window_s + 60, tick=tick, count=settled)
    wants = [(t, max(r.wanted for r in decision.targets)) for t, decision in run.log]
    above = next((t for t, wanted in wants if wanted > settled), None)
    if math.ceil((low + more) / 3) == settled:
        assert above is None
        assert run.steps == [(0, settled)]
    else:
        assert run.steps[1][0] == round(above + window_s, 6)
        assert run.steps[-1][1] == math.ceil((low + more) / 3)


@given(st.integers(0, 60), policies(), TICKS, st.floats(0, 0.4), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_constant_load_settles_and_then_nothing_changes(level, spec, tick, jitter, seed):
    run = simulate(trace((0, level)), spec, until=4 * 600 + 900, tick=tick * 3, jitter=jitter, seed=seed, count=8)
    settled = 4 * spec.down_window_s + spec.up_window_s + spec.zero_window_s + 30
    assert all(at <= settled for at, _ in run.steps)
    wanted = math.ceil(level / max(spec.per_replica.values()) - 1e-9)
    assert run.steps[-1][1] == spec.clamp(wanted)


@given(traces(most=8), st.lists(st.integers(0, 15), min_size=8, max_size=8), policies(panic=(False,)), TICKS)
@settings(max_examples=60, deadline=None)
def test_more_load_never_has_fewer_replicas(load, extra, spec, tick):
    more = Trace(tuple((at, level + e) for (at, level), e in zip(load.steps, extra, strict=False)))
    # Announced instants differ between the two runs, so both keep to the tick; min 1, so do wake-ups.
    spec = replace(spec, min_replicas=max(1, spec.min_replicas))
    light = simulate(load, spec, until=1500, tick=tick, on_time=False)
    heavy = simulate(more, spec, until=1500, tick=tick, on_time=False)
    assert all(a.desired <= b.desired for (_, a), (_, b) in zip(light.log, heavy.log, strict=True))


@given(traces(most=8), st.integers(0, 40), policies(), TICKS)
@settings(max_examples=60, deadline=None)
def test_in_one_decision_more_load_never_wants_fewer_panic_or_not(load, extra, spec, tick):
    run = simulate(load, spec, until=300, tick=tick)
    decisions = []
    for level in (load.level(300), load.level(300) + extra):
        history = LoadHistory(max(spec.average_s, spec.panic_s))
        history.add(LoadSample(ORIGIN + 295, level))
        history.add(LoadSample(ORIGIN + 301, level))
        observed = Observed(ready=1, running=round(level), idle_since=ORIGIN)
        decisions.append(decide(spec, run.memory, history, observed, ORIGIN + 301)[0].desired)
    assert decisions[0] <= decisions[1]


@given(traces(), policies(), TICKS, st.floats(0, 800))
@settings(max_examples=80, deadline=None)
def test_missing_figures_never_lower_the_count(load, spec, tick, since):
    run = simulate(load, spec, until=1500, tick=tick, count=5, missing=lambda at: at >= since)
    blind = [decision.desired for at, decision in run.log if at >= since]
    if run.count_at(since) > 0:
        assert blind == sorted(blind)


@given(traces(), policies(), st.floats(20, 700))
@settings(max_examples=40, deadline=None)
def test_an_empty_or_stale_history_never_lowers_a_busy_deployment(load, spec, silence_s):
    run = simulate(load, spec, until=700, count=3)
    history, now = LoadHistory(max(spec.average_s, spec.panic_s)), ORIGIN + 700 + silence_s
    history.add(LoadSample(ORIGIN + 700, 0))
    decision, _ = decide(spec, run.memory, history, Observed(ready=3, running=1), now)
    assert decision.desired >= run.steps[-1][1]


@given(traces(), policies(), TICKS, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_a_stockout_never_loses_what_is_wanted(load, spec, tick, room):
    """With fewer replicas than are wanted, the wanted count is never below that with room for all."""
    free = simulate(load, spec, until=900, tick=tick, on_time=False)
    short = simulate(load, spec, until=900, tick=tick, on_time=False, room=lambda at: room)
    both = [(at, a, b) for at, a in free.log if load.level(at) > 0 for t, b in short.log if t == at]
    assert all(b.desired >= a.desired for _, a, b in both)


@given(traces(), policies(), TICKS, LEVELS, st.floats(0, 2000))
@example(Trace(((0, 0), (129.2, 23), (299.7, 0))), DOWN_AT_ONCE, 1.0, 1, 0.0)
@settings(max_examples=60, deadline=None)
def test_asking_again_at_the_same_instant_changes_nothing(load, spec, tick, level, later_s):
    run, now = simulate(load, spec, until=300, tick=tick), ORIGIN + 301 + later_s
    history = LoadHistory(max(spec.average_s, spec.panic_s))
    history.add(LoadSample(now - 5, level))
    history.add(LoadSample(now, level))
    observed = Observed(ready=2, running=round(level), idle_since=ORIGIN + 300)
    first, memory = decide(spec, run.memory, history, observed, now)
    again, same = decide(spec, memory, history, observed, now)
    assert (again.desired, same) == (first.desired, memory)


@given(
    low=st.integers(0, 20),
    high=st.integers(1, 40),
    low_s=st.floats(1, 900),
    high_s=st.floats(1, 900),
    up_s=st.sampled_from([5.0, 15.0, 30.0, 60.0]),
    down_s=st.sampled_from([60.0, 300.0, 600.0]),
    panic=st.booleans(),
    tick=TICKS,
)
@settings(max_examples=60, deadline=None)
def test_flapping_load_makes_at_most_one_move_a_window(low, high, low_s, high_s, up_s, down_s, panic, tick):
    """A move may take several steps, while the mean (15 s at most) passes through or a panic lasts."""
    spec = policy(min_replicas=1, max_replicas=20, up_window_s=up_s, down_window_s=down_s, panic=panic)
    load, settled = square(low, high, low_s, high_s, 1 + int(3000 / (low_s + high_s))), max(1, math.ceil(low / 3))
    run = simulate(load, spec, until=3000, tick=tick, count=settled)
    merge_s = spec.average_s + tick
    ups = moves(run, +1, max(merge_s, spec.up_window_s) if spec.panics else merge_s)
    downs = moves(run, -1, merge_s)
    assert all(b - a >= spec.up_window_s - 1e-3 for a, b in pairwise(ups))
    assert all(b - a >= spec.down_window_s - 1e-3 for a, b in pairwise(downs))
    for down in downs:
        assert not any(down - spec.up_window_s + 1e-3 < up <= down for up in ups), "down within a window of an up"


@given(
    low=st.integers(1, 12),
    high=st.integers(1, 30),
    at=st.floats(100, 120),
    tick=st.sampled_from([1.0, 7.0]),
    jitter=st.floats(0, 0.3),
    seed=st.integers(0, 99),
    panic=st.booleans(),
)
@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))  # a run of 0.1 s is slow to shrink
def test_windows_are_time_whatever_the_tick(low, high, at, tick, jitter, seed, panic):
    """At every instant the count of a 0.1 s loop, to within one tick (before or after) of the slower loop."""
    spec = policy(max_replicas=20, up_window_s=30, down_window_s=60, panic=panic)
    load, until = trace((0, low), (at - 60, high)), 220
    fine = simulate(load, spec, until=until, tick=0.1, count=math.ceil(low / 3))
    coarse = simulate(load, spec, until=until, tick=tick, jitter=jitter, seed=seed, count=math.ceil(low / 3))
    slack = tick * (1 + jitter) + 0.2
    for at_s in range(10, until - 10):
        near = [fine.count_at(at_s - slack), fine.count_at(at_s), fine.count_at(at_s + slack)]
        near += [count for t, count in fine.steps if abs(t - at_s) <= slack]
        assert min(near) <= coarse.count_at(at_s) <= max(near), f"at {at_s} s"


@given(traces(), policies(), st.floats(0, 1e9))
@settings(max_examples=40, deadline=None)
def test_only_differences_of_time_matter(load, spec, shift):
    """No absolute time, hence no wall clock, takes part: another origin, the same decisions."""
    history = {
        0.0: LoadHistory(max(spec.average_s, spec.panic_s)),
        shift: LoadHistory(max(spec.average_s, spec.panic_s)),
    }
    memory = {0.0: Memory(), shift: Memory()}
    for at in range(0, 400, 2):
        desired = set()
        for origin, ring in history.items():
            ring.add(LoadSample(origin + at, load.level(at)))
            observed = Observed(ready=1, running=round(load.level(at)), idle_since=origin)
            decision, memory[origin] = decide(spec, memory[origin], ring, observed, origin + at)
            desired.add(decision.desired)
        assert len(desired) == 1


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), min_size=1, max_size=40), st.integers(0, 10))
def test_a_track_answers_as_the_full_list_would(puts, count):
    track, spans, now = Track(), [], 0
    for gap, value in puts:
        now += gap
        track = track.put(value, now)
        spans = [*((v, a, min(b, now)) for v, a, b in spans), (value, now, math.inf)]
    for since in range(spans[0][1], now + 1):
        inside = [v for v, _, ended in spans if ended > since]
        assert (track.lowest(since), track.highest(since)) == (min(inside), max(inside))
    above = [ended for v, _, ended in spans if v <= count]
    assert track.above_since(count) == (None if math.inf in above else max(above, default=spans[0][1]))
    below = [ended for v, _, ended in spans if v >= count]
    assert track.below_since(count) == (None if math.inf in below else max(below, default=spans[0][1]))
    assert len(track.lows) <= 10
    assert len(track.highs) <= 10
