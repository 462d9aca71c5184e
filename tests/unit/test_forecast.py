"""The forecast: judged by its own past before it says anything, and only ever a floor."""

import math
import random

import pytest

from engine.control.autoscale import LoadHistory, LoadSample, Observed, begin, decide
from engine.control.forecast import STEP_S, WARM_UP_STEPS, Forecast
from tests.unit.test_autoscale_traces import policy


def fed(levels, forecast=None, tick=STEP_S) -> Forecast:
    forecast = forecast or Forecast()
    for i in range(round(len(levels) * STEP_S / tick) + 1):
        at = i * tick
        forecast.put(levels[min(math.ceil(at / STEP_S - 1e-9), len(levels)) - 1], at)
    return forecast


def test_it_says_nothing_before_it_has_been_tested_on_this_deployment():
    horizon = 6
    assert fed([3.0] * (WARM_UP_STEPS + horizon - 1)).demand is None
    assert fed([3.0] * (WARM_UP_STEPS + horizon)).demand == pytest.approx(3.0)


def test_a_steady_rise_is_seen_ahead():
    rising = [i * 0.05 for i in range(200)]
    forecast = fed(rising)
    came = sum(200 * 0.05 + i * 0.05 for i in range(6)) / 6
    assert forecast.demand == pytest.approx(came, rel=0.03)
    assert forecast.demand > rising[-1]


def test_what_repeats_daily_is_expected_a_day_later():
    day = [1.0] * 40 + [9.0] * 20 + [1.0] * 40  # a season of 100 steps
    forecast = fed(day * 6 + day[:39], Forecast(season_s=100 * STEP_S))
    assert forecast.demand == pytest.approx((1 + 5 * 9) / 6, abs=0.5), "one more step of 1, then the peak"


def test_it_beats_saying_that_nothing_changes_on_a_trace_it_was_not_made_for():
    """Back-test: Poisson noise around a slow wave; mean absolute error over the second half."""
    dice = random.Random(7)
    wave = [8 + 4 * math.sin(i / 60) + dice.gauss(0, 1.0) for i in range(1200)]
    forecast, ours, naive = Forecast(), [], []
    for i, level in enumerate(wave):
        forecast.put(level, i * STEP_S)
        came = sum(wave[i + 1 : i + 7]) / 6
        if 600 <= i < 1190 and forecast.demand is not None:
            ours.append(abs(forecast.demand - came))
            naive.append(abs(level - came))
    assert sum(ours) < 0.75 * sum(naive)


@pytest.mark.parametrize("tick", [0.5, 1.0, 5.0])
def test_the_spacing_of_looks_does_not_matter(tick):
    levels = [float(2 + i % 5) for i in range(60)]
    assert fed(levels, tick=tick).demand == pytest.approx(fed(levels).demand)


def test_it_is_never_negative():
    assert fed([10.0 - i * 0.1 for i in range(100)] + [0.0] * 5).demand >= 0


# ------------------------------------------------------------------------------------------- as a floor


def run(expected, count, *, level=1.0, now=0.0, held=0, spec=None):
    spec = spec or policy(max_replicas=9, panic=False)
    history = LoadHistory(60)
    for i in range(61):
        history.add(LoadSample(now - 60 + i, level))
    observed = Observed(ready=count, running=1 if count else 0, held=held, forecast=expected)
    return decide(spec, begin(spec, count, 0), history, observed, now)[0]


def test_it_raises_at_once_and_says_so():
    decision = run(3.2, 1)
    assert decision.desired == 4
    assert "3.2 replicas' worth of load expected: scaled up at once from 1 to 4" in decision.text


def test_it_keeps_what_the_load_alone_would_give_up():
    assert run(2.5, 3, now=601.0).desired == 3
    assert run(None, 3, now=601.0).desired == 3, "a fresh track has not waited yet"
    spec = policy(max_replicas=9, panic=False, down_window_s=0)
    assert (run(2.5, 3, spec=spec).desired, run(None, 3, spec=spec).desired) == (3, 1)
    assert "kept: 2.5 replicas' worth of load expected" in run(2.5, 3, spec=spec).text


def test_it_stays_within_the_maximum_and_never_wakes():
    assert run(99.0, 1).desired == 9
    assert run(5.0, 0, level=0.0).desired == 0
    assert run(5.0, 0, level=1.0, held=1).desired == 5


def test_without_one_nothing_changes():
    assert run(None, 2) == run(None, 2)
    assert run(0.0, 2).desired == run(None, 2).desired == 2
