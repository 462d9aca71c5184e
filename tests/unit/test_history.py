"""The last day for charts: bounded, averaged, gaps stay gaps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.fleet_types import HISTORY_SERIES
from engine.telemetry.history import COARSE_EVERY, COARSE_POINTS, FINE_POINTS, Recorder

NAME = "accounts/local/deployments/chat"


def recorded(queue: list[float | None]) -> Recorder:
    recorder = Recorder()
    for second, value in enumerate(queue):
        recorder.add(float(second), {"queue": value})
    return recorder


def test_nothing_recorded_is_an_empty_chart_of_every_series():
    history = Recorder().read(NAME, 300)
    assert history.times == []
    assert history.series == {name: [] for name in HISTORY_SERIES}


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, 9), max_size=60), st.integers(0, 80))
def test_the_last_seconds_come_back_as_they_were_and_unknown_stays_unknown(queue, seconds):
    history = recorded(queue).read(NAME, seconds)
    assert history.series["queue"] == queue[-seconds - 1 :]
    assert history.series["ready"] == [None] * len(history.times)
    assert history.times == sorted(history.times)
    assert {len(values) for values in history.series.values()} == {len(history.times)}
    assert (history.step_s, history.deployment) == (1.0, NAME)


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, 9), min_size=COARSE_EVERY, max_size=45))
def test_the_coarse_ring_has_the_mean_of_what_was_known_of_each_ten(queue):
    history = recorded(queue).read(NAME, FINE_POINTS + 1)
    tens = [queue[i : i + COARSE_EVERY] for i in range(0, len(queue) - COARSE_EVERY + 1, COARSE_EVERY)]
    known = [[v for v in ten if v is not None] for ten in tens]
    assert history.step_s == 10.0
    assert history.series["queue"] == [pytest.approx(sum(k) / len(k)) if k else None for k in known]
    assert history.times == [float(COARSE_EVERY * (i + 1) - 1) for i in range(len(tens))]


def test_both_rings_are_bounded():
    recorder = recorded([1.0] * (FINE_POINTS + 5))
    assert len(recorder.read(NAME, FINE_POINTS).times) == FINE_POINTS
    assert FINE_POINTS == 900
    assert COARSE_POINTS * COARSE_EVERY == 86_400


def test_a_series_that_does_not_exist_is_not_recorded():
    recorder = Recorder()
    recorder.add(0.0, {"nonsense": 1.0, "ready": 2.0})
    assert recorder.read(NAME, 10).series == {name: [2.0 if name == "ready" else None] for name in HISTORY_SERIES}
