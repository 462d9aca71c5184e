"""The last day for charts: bounded, the worst of ten seconds, gaps stay gaps."""

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
def test_the_coarse_ring_has_the_worst_of_what_was_known_of_each_ten_of_rates_the_mean(queue):
    recorder = Recorder()
    for second, value in enumerate(queue):
        recorder.add(float(second), dict.fromkeys(("queue", "ready", "requests_per_second"), value))
    history = recorder.read(NAME, FINE_POINTS + 1)
    tens = [queue[i : i + COARSE_EVERY] for i in range(0, len(queue) - COARSE_EVERY + 1, COARSE_EVERY)]
    known = [[v for v in ten if v is not None] for ten in tens]
    assert history.step_s == 10.0
    assert history.series["queue"] == [max(k, default=None) for k in known]
    assert history.series["ready"] == [min(k, default=None) for k in known]
    means = [pytest.approx(sum(k) / len(k)) if k else None for k in known]
    assert history.series["requests_per_second"] == means
    assert history.times == [float(COARSE_EVERY * (i + 1) - 1) for i in range(len(tens))]


@given(st.lists(st.none() | st.floats(-1e9, 1e9, width=32), max_size=40), st.integers(1, 12))
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


def test_a_quarter_of_an_hour_is_fine_however_long_the_engine_runs():
    for seconds in (FINE_POINTS, FINE_POINTS + 1, 2 * FINE_POINTS):
        history = recorded([1.0] * seconds).read(NAME, FINE_POINTS)
        assert (history.step_s, len(history.times)) == (1.0, FINE_POINTS)


def test_a_series_that_does_not_exist_is_not_recorded():
    recorder = Recorder()
    recorder.add(0.0, {"nonsense": 1.0, "ready": 2.0})
    assert recorder.read(NAME, 10).series == {name: [2.0 if name == "ready" else None] for name in HISTORY_SERIES}


def test_where_nobody_looked_there_are_points_of_none_and_the_spacing_stays():
    recorder = Recorder()
    for second in [0, 1, 2, 100, 101]:
        recorder.add(float(second), {"queue": 1.0})
    history = recorder.read(NAME, 300)
    assert history.times == [float(second) for second in range(102)]
    assert [at for at, value in zip(history.times, history.series["queue"], strict=True) if value] == [
        0,
        1,
        2,
        100,
        101,
    ]


def test_a_late_loop_is_no_gap():
    recorder = Recorder()
    for second in [0, 3, 6, 7]:
        recorder.add(float(second), {"queue": 1.0})
    assert recorder.read(NAME, 300).times == [0, 3, 6, 7]


def test_no_row_is_made_over_a_time_that_nobody_saw():
    recorder = Recorder()
    for second in [*range(5), *range(1000, 1010)]:
        recorder.add(float(second), {"queue": 1.0 if second < 5 else 9.0})
    history = recorder.read(NAME, FINE_POINTS + 1000)
    assert (history.series["queue"][0], history.series["queue"][-1]) == (1.0, 9.0)
    assert set(history.series["queue"][1:-1]) == {None}
    assert history.times[:2] == [4.0, 14.0]


def test_a_clock_that_is_set_back_ends_a_row_too():
    recorder = Recorder()
    for second in [1000, 1001, 500, 501]:
        recorder.add(float(second), {"queue": float(second)})
    assert recorder.coarse_made == 1


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [(0, [140.0]), (85, [140.0]), (95, [100.0, 101.0, 50.0, 51.0, 140.0])],
)
def test_after_a_clock_that_was_set_back_rows_are_read_in_the_order_they_were_added(seconds, rows):
    ring = Ring(9)
    for at in (100.0, 101.0, 50.0, 51.0, 140.0):
        ring.add(at, [at, *(None for _ in SERIES[1:])])
    times, columns = ring.read(seconds)
    assert (times, columns[0]) == (rows, rows)
    assert {len(column) for column in columns} == {len(rows)}


def restored(down_s: float, up_s: int) -> Recorder:
    """An hour of an earlier engine, `down_s` seconds without one, and `up_s` seconds of this one."""
    earlier, recorder = recorded([1.0] * 3600), Recorder()
    recorder.restore(earlier.newest(COARSE_POINTS))
    for second in range(up_s):
        recorder.add(3600 + down_s + second, {"queue": 2.0})
    return recorder


def test_after_a_restart_the_day_is_there_with_the_restart_unknown():
    history = restored(600, 60).read(NAME, 86_400)
    queue = history.series["queue"]
    assert queue[:360] == [1.0] * 360
    assert queue[-6:] == [2.0] * 6
    unknown = queue[360:-6]
    assert set(unknown) == {None}
    assert 59 <= len(unknown) <= 61
    assert history.step_s == 10.0


@pytest.mark.parametrize(("down_s", "unknown"), [(5, 0), (30, 3), (42, 4)])
def test_a_short_restart_is_unknown_too_where_it_is_longer_than_a_late_loop(down_s, unknown):
    queue = restored(down_s, 60).read(NAME, 86_400).series["queue"]
    assert queue.count(None) == unknown


def test_a_short_chart_shows_what_was_before_the_restart_at_the_coarse_step_until_the_fine_one_reaches_back():
    assert restored(20, 30).read(NAME, 300).step_s == 10.0
    assert restored(20, 30).read(NAME, 300).series["queue"][0] == 1.0
    assert restored(20, 400).read(NAME, 300).step_s == 1.0
    assert restored(4000, 30).read(NAME, 300).step_s == 1.0  # the restart is longer ago than the chart is long


def test_right_after_a_long_restart_the_last_known_is_not_shown_as_now():
    history = restored(7200, 3).read(NAME, 86_400)
    assert (history.times[-1], history.series["queue"][-1]) == (3600 + 7200 + 2, 2.0)
    assert history.series["queue"][-2] is None


def test_before_the_first_look_after_a_restart_the_earlier_day_is_all_there_is():
    assert restored(600, 0).read(NAME, 300).series["queue"] == [1.0] * 31


def test_the_newest_records_are_those_that_were_not_handed_over():
    recorder = recorded([float(i // 10) for i in range(50)])
    assert (recorder.coarse_made, len(recorder.newest(2)), len(recorder.newest(99)), recorder.newest(0)) == (
        5,
        2,
        5,
        [],
    )
    assert recorder.newest(2) == recorder.newest(99)[-2:]


def test_what_is_restored_beyond_a_day_pushes_out_the_oldest():
    recorder, day = recorded([1.0] * 20), recorded([0.0] * (10 * COARSE_POINTS))
    recorder.restore(day.newest(COARSE_POINTS))
    assert len(recorder.newest(2 * COARSE_POINTS)) == COARSE_POINTS
    assert recorder.newest(2) == recorded([1.0] * 20).newest(2)
