"""A small deployment on a fake clock (`simulate`), and golden traces: known loads, answered to the second.

Other test files import `simulate`. The clock starts at an odd large number, as a monotonic clock does.
"""

import random
from dataclasses import dataclass, field, replace

import pytest

from engine.control.autoscale import (
    Decision,
    LoadHistory,
    LoadSample,
    Memory,
    Observed,
    Policy,
    begin,
    decide,
    scale_to,
    wake,
)

ORIGIN = 1_234_567.3  # seconds; simulated times are told relative to it

PRODUCT_POLICY = Policy(0, 4, 30, 600, 3600, {"concurrent_requests": 3}, slots_per_replica=8)


def policy(**changes) -> Policy:
    return replace(PRODUCT_POLICY, **changes)


@dataclass(frozen=True)
class Trace:
    """Concurrent requests over time, piecewise constant: (at, level), at rising, from 0."""

    steps: tuple[tuple[float, float], ...]

    def level(self, at: float) -> float:
        return next((level for start, level in reversed(self.steps) if start <= at + 1e-9), 0.0)

    def last_request_end(self, at: float) -> float | None:
        """The last instant up to `at` at which a load above zero fell to zero."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return max((t for (_, old), (t, new) in pairs if old > 0 and new == 0 and t <= at + 1e-9), default=None)

    def next_event(self, at: float) -> float:
        return next((start for start, _ in self.steps if start > at + 1e-9), float("inf"))


def trace(*steps: tuple[float, float]) -> Trace:
    return Trace(steps)


def square(low: float, high: float, low_s: float, high_s: float, cycles: int) -> Trace:
    period = low_s + high_s
    return Trace(tuple(step for i in range(cycles) for step in ((i * period, low), (i * period + low_s, high))))


@dataclass
class Run:
    """What happened: `steps` are (second, count) at each change, `log` every decision."""

    steps: list[tuple[float, int]] = field(default_factory=list)
    log: list[tuple[float, Decision]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)

    def count_at(self, at: float) -> int:
        return next(count for t, count in reversed(self.steps) if t <= at + 1e-9)

    def decision_at(self, at: float) -> Decision:
        return next(decision for t, decision in reversed(self.log) if t <= at + 1e-9)

    def codes_at(self, at: float) -> set[str]:
        return {reason.code for reason in self.decision_at(at).reasons}

    def moves(self) -> list[tuple[float, int]]:
        """(second, difference) of every change."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return [(t, new - old) for (_, old), (t, new) in pairs]


def simulate(
    load: Trace,
    spec: Policy,
    *,
    until: float,
    tick: float = 1.0,
    jitter: float = 0.0,
    seed: int = 0,
    count: int = 1,
    start_s: float = 0.0,
    on_time: bool = True,
    missing=lambda at: False,
    room=lambda at: 1000,
    manual: tuple[tuple[float, int], ...] = (),
) -> Run:
    """Run a deployment of `count` replicas under `load`.

    `tick` +- `jitter` (a share) apart, a sample is taken and the autoscaler asked; `on_time` also at the instant it
    announced. A replica takes `start_s` to be ready, and those beyond `room` find no place. The first request at zero
    wakes at once, as the gateway does.
    """
    dice, history = random.Random(seed), LoadHistory(max(spec.average_s, spec.panic_s))
    run = Run(memory=begin(spec, count, ORIGIN))
    started_at = [-start_s] * count  # per replica, when its start began
    by_hand, at = list(manual), 0.0
    while at <= until + 1e-9:
        now, level = ORIGIN + at, load.level(at)
        while by_hand and by_hand[0][0] <= at + 1e-9:
            run.memory = scale_to(spec, run.memory, by_hand.pop(0)[1], now)
        unplaced = max(0, len(started_at) - room(at))
        ready = sum(at - begun >= start_s - 1e-9 for begun in started_at[: len(started_at) - unplaced])
        held = 0 if ready else round(level)
        if held and not started_at:
            run.memory = wake(spec, run.memory, now)
        ended = load.last_request_end(at)
        observed = Observed(
            ready=ready,
            starting=len(started_at) - ready,
            running=round(level) if ready else 0,
            held=held,
            idle_since=ORIGIN if ended is None else ORIGIN + ended,
            missing=bool(ready) and missing(at),
            unplaced=unplaced,
            shortage="2 GiB of memory wanted, 1 GiB free" if unplaced else "",
        )
        history.add(LoadSample(now, 0.0 if observed.missing else level))
        decision, run.memory = decide(spec, run.memory, history, observed, now)
        run.log.append((at, decision))
        if not run.steps or run.steps[-1][1] != decision.desired:
            run.steps.append((round(at, 6), decision.desired))
        started_at = (started_at + [at] * decision.desired)[: decision.desired]
        at = _next_instant(run, load, at, tick * (1 + dice.uniform(-jitter, jitter)), on_time, by_hand)
    return run


def _next_instant(run: Run, load: Trace, at: float, tick: float, on_time: bool, by_hand) -> float:
    instants = [at + tick]
    announced = run.log[-1][1].next_change_at
    if on_time and announced is not None and announced - ORIGIN > at:
        instants.append(announced - ORIGIN)
    if run.log[-1][1].desired == 0:
        instants.append(load.next_event(at))
    if by_hand:
        instants.append(by_hand[0][0])
    return min(instants)


# ------------------------------------------------------------------------------------------------- golden traces


def test_step_waits_the_window_after_the_15_s_mean_has_crossed_the_target():
    # From 2 to 5 at 100 s: six samples of 5 in fifteen, at 105 s, make the mean 3.2.
    run = simulate(trace((0, 2), (100, 5)), policy(), until=400)
    assert run.steps == [(0, 1), (135, 2)]


def test_step_down_waits_ten_minutes():
    run = simulate(trace((0, 5), (100, 1)), policy(), until=1000, count=2)
    # Eight samples of 1 in fifteen, at 107 s, make the mean 2.9.
    assert run.steps == [(0, 2), (707, 1)]


def test_a_load_twice_what_is_ready_is_a_burst_and_does_not_wait():
    run = simulate(trace((0, 1), (100, 12)), policy(), until=1000)
    # Over 6 s: 2.8, 4.7, then 6.5 at 102 s, twice the 3 of one replica; in panic the mean is followed up: 8.3, 10.2.
    assert run.steps == [(0, 1), (102, 3), (104, 4)]
    assert "PANIC" in run.codes_at(102)


def test_without_panic_the_same_burst_waits_its_window():
    run = simulate(trace((0, 1), (100, 12)), policy(panic=False), until=1000)
    assert run.steps == [(0, 1), (132, 2), (136, 3), (140, 4)]


def test_ramp_adds_one_replica_at_a_time():
    steps = [(i * 10.0, i * 0.3) for i in range(40)]  # 0 to 11.7 in 400 s: one replica more every 100 s
    run = simulate(Trace(tuple(steps)), policy(panic=False), until=600)
    assert [count for _, count in run.steps] == [1, 2, 3, 4]
    assert [round(t - s) for (s, _), (t, _) in zip(run.steps[1:], run.steps[2:], strict=False)] == [100, 100]


def test_square_wave_slower_than_the_windows_is_followed():
    run = simulate(square(1, 5, 1000, 1000, 2), policy(), until=3999)
    assert run.steps == [(0, 1), (1037, 2), (2607, 1), (3037, 2)]


def test_square_wave_faster_than_the_scale_up_window_is_its_mean():
    assert simulate(square(1, 5, 4, 4, 200), policy(panic=False), until=1500).steps == [(0, 1)]


def test_flapping_load_goes_up_once_and_stays():
    run = simulate(square(1, 5, 60, 60, 30), policy(), until=3600)
    assert len(run.steps) == 2
    assert run.steps[-1][1] == 2


def test_bursts_that_only_panic_sees_do_not_make_it_flap():
    # 6 s of 10 requests every minute: the 15 s mean asks for 2, the 6 s mean is a burst to a single replica.
    run = simulate(square(1, 10, 54, 6, 120), policy(), until=7200)
    assert [count for _, count in run.steps] == [1, 3, 4, 3, 2]
    assert run.steps[2][0] < 70, "up with the first burst"
    assert run.steps[3][0] > 600, "down when ten minutes of such bursts have shown that 2 will do, and for good"


def test_idle_to_zero_after_exactly_one_hour_then_woken_by_the_first_request():
    run = simulate(trace((0, 1), (50.5, 0), (5000.25, 1)), policy(), until=5100, start_s=40)
    assert run.steps == [(0, 1), (3650.5, 0), (5000.25, 1)]
    assert run.decision_at(4000).next_change_at is None
    assert run.codes_at(4000) == {"SCALED_TO_ZERO"}
    assert "WOKEN" not in run.codes_at(5050)


def test_a_deployment_never_used_goes_to_zero_an_hour_after_its_creation():
    assert simulate(trace((0, 0)), policy(), until=4000).steps == [(0, 1), (3600, 0)]


def test_one_request_within_the_hour_starts_the_hour_again():
    run = simulate(trace((0, 0), (3599, 1), (3600, 0)), policy(), until=8000)
    assert run.steps == [(0, 1), (7200, 0)]


def test_from_four_to_zero_with_the_defaults_halves_once_in_ten_minutes():
    run = simulate(trace((0, 12), (100, 0)), policy(), until=4000, count=4)
    assert run.count_at(699) == 4
    assert run.count_at(720) == 2
    assert run.count_at(1290) == 2
    assert run.count_at(1330) == 1
    assert run.steps[-1] == (3700, 0)


def test_a_short_scale_to_zero_window_does_not_wait_for_the_scale_down_window():
    run = simulate(trace((0, 12), (100, 0)), policy(zero_window_s=300), until=1000, count=4)
    assert run.steps == [(0, 4), (400, 0)]


def test_scale_by_hand_is_at_once_and_every_window_starts_anew():
    run = simulate(trace((0, 5)), policy(), until=1000, count=2, manual=((200.5, 4), (400.5, 1)))
    # 4 by hand at 200.5 would come down at 800.5; 1 by hand at 400.5 lasts one scale-up window, panic or not.
    assert run.steps == [(0, 2), (200.5, 4), (400.5, 1), (430.5, 2)]
    assert "MANUAL" in run.codes_at(300)
    assert "MANUAL" not in run.codes_at(500)


def test_scale_up_by_hand_comes_down_after_the_scale_down_window():
    run = simulate(trace((0, 5)), policy(), until=1000, count=2, manual=((200.5, 4),))
    assert run.steps == [(0, 2), (200.5, 4), (800.5, 2)]


def test_scale_up_by_hand_on_an_idle_deployment_buys_a_full_idle_window():
    run = simulate(trace((0, 0)), policy(), until=9000, manual=((5000, 1),))
    assert run.steps == [(0, 1), (3600, 0), (5000, 1), (8600, 0)]


def test_scale_to_zero_by_hand_stays_zero_until_a_request():
    run = simulate(trace((0, 1), (100, 0), (900, 2)), policy(), until=1000, manual=((200, 0),))
    assert run.steps == [(0, 1), (200, 0), (900, 1)]


def test_slow_starts_do_not_cascade():
    run = simulate(trace((0, 2), (100, 5)), policy(), until=1000, start_s=200)
    assert run.steps == [(0, 1), (135, 2)]


def test_no_figures_from_a_replica_is_not_no_load():
    """The load looks like zero while a replica is silent, for an hour."""
    run = simulate(trace((0, 5)), policy(), until=5000, count=2, missing=lambda at: 100 <= at < 3700)
    assert run.steps == [(0, 2)]
    assert "METRICS_MISSING" in run.codes_at(2000)


def test_a_blip_of_missing_figures_does_not_restart_the_scale_down_window():
    quiet = simulate(trace((0, 5), (100, 1)), policy(), until=1000, count=2)
    blip = simulate(trace((0, 5), (100, 1)), policy(), until=1000, count=2, missing=lambda at: 300 <= at < 310)
    assert blip.steps == quiet.steps


def test_a_long_silence_restarts_the_scale_down_window():
    run = simulate(trace((0, 5), (100, 1)), policy(), until=2000, count=2, missing=lambda at: 300 <= at < 400)
    assert run.steps == [(0, 2), (1000, 1)]


def test_a_stockout_keeps_what_is_wanted_and_says_so_until_there_is_room():
    run = simulate(trace((0, 2), (100, 8)), policy(), until=900, room=lambda at: 1 if at < 500 else 9)
    assert [count for _, count in run.steps] == [1, 2, 3]
    assert run.steps[-1][0] < 120
    assert "no room for 2 of 3 replicas (2 GiB of memory wanted, 1 GiB free)" in run.decision_at(400).text
    assert "STOCKOUT" not in run.codes_at(501)


@pytest.mark.parametrize("tick", [0.1, 1.0, 7.0])
def test_an_announced_change_happens_when_it_was_announced(tick):
    run = simulate(trace((0, 2), (100, 5)), policy(), until=200, tick=tick)
    [(at, _)] = run.moves()
    [announced] = {d.next_change_at for t, d in run.log if 120 < t < at - 0.01}
    assert announced == pytest.approx(ORIGIN + at, abs=1e-3)
