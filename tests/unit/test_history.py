"""The last day for charts: bounded, averaged, gaps stay gaps."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.fleet_types import HISTORY_SERIES
from engine.telemetry.history import COARSE_EVERY, COARSE_POINTS, FINE_POINTS, SERIES, Recorder, Ring

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


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=40), st.integers(1, 12))
def test_a_ring_holds_the_newest_rows_in_their_order_however_often_it_has_gone_round(values, most):
    ring = Ring(most)
    for at, value in enumerate(values):
        ring.add(float(at), [value, None, *(float(at) for _ in SERIES[2:])])
    times, columns = ring.read(1e9)
    assert times == [float(at) for at in range(len(values))][-most:]
    assert columns == [values[-most:], [None] * len(times), *(times for _ in SERIES[2:])]


def test_a_whole_day_takes_less_than_a_megabyte():
    tracemalloc.start()
    try:
        recorder, before = Recorder(), tracemalloc.get_traced_memory()[0]
        for ring, points in ((recorder._fine, FINE_POINTS), (recorder._coarse, COARSE_POINTS)):
            for at in range(points + 1):
                ring.add(at + 0.5, [at + 0.25 for _ in SERIES])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 1_000_000


def test_both_rings_are_bounded():
    recorder = recorded([1.0] * (FINE_POINTS + 5))
    assert len(recorder.read(NAME, FINE_POINTS).times) == FINE_POINTS
    assert FINE_POINTS == 900
    assert COARSE_POINTS * COARSE_EVERY == 86_400


def test_a_series_that_does_not_exist_is_not_recorded():
    recorder = Recorder()
    recorder.add(0.0, {"nonsense": 1.0, "ready": 2.0})
    assert recorder.read(NAME, 10).series == {name: [2.0 if name == "ready" else None] for name in HISTORY_SERIES}
