"""The timeline as data: crossings, marks, windows, the report and its pictures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.fleet_types import DeploymentStats, DeploymentStatus, EngineInfo, Event, FleetSnapshot, History
from client.types import Deployment
from tui.core import incident, series, svg
from tui.core.inbox import Inbox
from tui.core.incident import Moment, Report
from tui.core.series import CHARTS, SLOW, Compared, Line, Mark
from tui.core.window import KEPT_S, SPANS_S, Window, is_young

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAME = "accounts/local/deployments/chat"


def history(values, name="ttft_p95_ms", step=1.0):
    times = [NOW.timestamp() - (len(values) - 1 - n) * step for n in range(len(values))]
    return History(deployment=NAME, step_s=step, times=times, series={name: values})


def event(seconds, reason, kind="Normal", of=NAME, seq=1):
    return Event(seq=seq, time=NOW + timedelta(seconds=seconds), deployment=of, kind=kind, reason=reason, message="m")


def test_a_limit_is_crossed_up_and_back_and_a_gap_is_no_crossing():
    found = list(incident.crossings(history([100.0, 300.0, None, 250.0, 150.0]), {SLOW: 0.2}))
    assert [(one.what, one.text) for one in found] == [
        ("TTFT p95", "300ms, above 200ms"), ("TTFT p95", "150ms, back to 200ms"),
    ]  # fmt: skip
    assert not list(incident.crossings(history([100.0, 300.0]), {})), "without a rule there is no limit"
    assert not list(incident.crossings(None, {SLOW: 0.2}))


def test_a_limit_is_crossed_by_p99_where_that_is_known():
    known = history([100.0, 300.0], "ttft_p99_ms")
    known.series["ttft_p95_ms"] = [90.0, 100.0]
    assert [one.what for one in incident.crossings(known, {SLOW: 0.2})] == ["TTFT p99"]


def test_requests_that_wait_are_on_the_timeline():
    found = list(incident.crossings(history([0.0, 3.0, 0.0], "queue"), {}))
    assert [one.text for one in found] == ["3, above 0", "0, back to 0"]


def test_only_what_concerns_the_deployment_is_there_newest_first_and_routine_has_no_mark():
    died, ready, other = event(-9, "ReplicaDied", "Warning"), event(-5, "ReplicaReady"), event(-3, "Other", of="b")
    events = [died, ready, other, event(-1, "Updated")]
    found = incident.moments(NAME, events, (), Inbox(), None, {})
    assert [one.what for one in found] == ["Updated", "ReplicaReady", "ReplicaDied"]
    assert [mark.at - NOW.timestamp() for mark in incident.marks(found)] == [-1, -9]


def test_a_mark_lies_where_it_happened_also_when_the_window_ends_in_the_past():
    marks = [Mark(NOW.timestamp() - 30, "attention"), Mark(NOW.timestamp() - 999, "attention")]
    drawn = series.chart(CHARTS[0], history([1.0] * 100), 60, marks=marks)
    assert drawn.marks == ((59 - 30, "attention"),)
    past = series.chart(CHARTS[0], history([1.0] * 100), 60, marks=marks, back_s=20)
    assert past.marks == ((59 - 10, "attention"),)
    assert not series.chart(CHARTS[0], None, 60, marks=marks).marks


def test_the_past_and_another_history_are_cut_to_the_same_span():
    now = history([float(n) for n in range(100)])
    drawn = series.chart(CHARTS[0], now, 10, back_s=20, compared=Compared("1h ago", now, 50))
    p50, p95, _, before = drawn.lines
    assert (p50.values, p95.values[-1], before.values[-1]) == ((None,) * 10, 79.0, 49.0)
    coarse = Compared("base", history([1.0, 2.0], step=5.0))
    assert series.chart(CHARTS[0], now, 10, compared=coarse).lines[-1].values == (1.0,) * 5 + (2.0,) * 5


def test_a_threshold_is_on_the_axis_in_the_charts_unit():
    drawn = series.chart(CHARTS[0], history([90.0] * 5), 5, rules={SLOW: 0.2, "Other": 1.0})
    assert (drawn.threshold, drawn.top) == (200.0, 200.0)
    assert series.chart(CHARTS[1], history([90.0] * 5), 5, rules={SLOW: 0.2}).threshold is None


@given(st.sampled_from(SPANS_S), st.lists(st.sampled_from([-1, 1]), max_size=40))
def test_a_window_stays_within_what_is_kept(span, steps):
    window = Window(span)
    for step in steps:
        window = window.panned(span, step)
    assert 0 <= window.back_s <= KEPT_S - span
    assert window.asked_s(span) <= KEPT_S


def test_zooming_and_comparing_go_round():
    window = Window(300)
    assert window.zoomed(300, 1).span_s == 900
    assert window.zoomed(300, -1).span_s == 120
    assert window.compared().compared().compared() == window


def report(**given):
    found = (Moment(NOW - timedelta(seconds=5), "warning", "Died", "of a | pipe\nand a line"),
             Moment(NOW - timedelta(hours=5), "event", "LongAgo", ""))  # fmt: skip
    known = {"start": NOW - timedelta(minutes=5), "end": NOW, "facts": ["state READY"], "found": found}
    return incident.markdown(Report(NAME, **{**known, **given}))


def test_the_report_has_what_lies_in_its_span_and_a_cell_stays_a_cell():
    told = report()
    assert "# chat: 2026-11-20 11:55:00 to 2026-11-20 12:00:00 UTC" in told
    assert "| 2026-11-20 11:59:55 | warning | Died | of a \\| pipe and a line |" in told
    assert "LongAgo" not in told
    assert "SIMULATED" not in told
    assert "**SIMULATED**" in report(simulated=True)
    assert "nothing is known to have happened" in report(found=())


@pytest.mark.parametrize("kind", series.ALL_CHARTS)
def test_a_picture_of_no_data_says_so(kind):
    assert "no data" in svg.draw(series.chart(kind, None, 300))


def test_a_picture_has_a_line_a_stretch_its_marks_and_its_limit_and_is_xml():
    known, mark = history([1.0, 2.0, None, 3.0, 4.0, None, 5.0]), Mark(NOW.timestamp(), "failed")
    drawn = series.chart(CHARTS[0], known, 7, rules={SLOW: 0.2}, marks=[mark])
    text = svg.draw(drawn)
    assert text.count("<polyline") == 3
    assert text.count('stroke-dasharray="1 3"') == 1
    assert "limit 200ms" in text
    ElementTree.fromstring(text)
    ElementTree.fromstring(svg.draw(series.Chart("<a>", "&", (Line("<b>", (1.0, 2.0)),))))


@pytest.mark.parametrize(("made_s", "young"), [((), True), ((60,), True), ((None, 60), True), ((60, 240), False)])
def test_an_engine_that_was_started_again_is_as_old_as_its_deployments(made_s, young):
    deployments = [
        DeploymentStatus(
            deployment=Deployment(
                name=f"accounts/local/deployments/d{number}",
                create_time=None if ago is None else NOW - timedelta(seconds=ago),
            ),
            stats=DeploymentStats(window_s=60),
        )
        for number, ago in enumerate(made_s)
    ]
    engine = EngineInfo(version="1", started_at=NOW - timedelta(seconds=10), cores=2)
    assert is_young(FleetSnapshot(time=NOW, engine=engine, deployments=deployments)) is young
