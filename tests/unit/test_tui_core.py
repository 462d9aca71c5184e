"""Rows, states, filters, columns, charts: pure functions of the wire types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.fleet_types import (
    AutoscalerView,
    Condition,
    DeploymentStats,
    DeploymentStatus,
    EngineInfo,
    FleetSnapshot,
    History,
)
from client.types import Deployment, ReplicaStats
from tui.core import columns, explain, query, series, states
from tui.core.actions import ACTIONS, EVERYWHERE, MOVES, footer_fit, search
from tui.core.filter import select
from tui.core.follow import news
from tui.core.plain import fleet_text
from tui.core.query import View
from tui.core.row import Row
from tui.core.snapshot import Picture
from tui.widgets.status_bar import marks

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def status(name="chat", state="READY", ready=1, desired=1, **stats):
    counted = ReplicaStats(ready_replica_count=ready) if ready is not None else None
    deployment = Deployment(
        name=f"accounts/local/deployments/{name}", state=state, desired_replica_count=desired, replica_stats=counted
    )
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60, **stats))


def snapshot(*found, **engine):
    info = EngineInfo(version="1", started_at=NOW, pid=1, data_dir="/d", cores=2, **engine)
    return FleetSnapshot(time=NOW, engine=info, deployments=list(found))


@pytest.mark.parametrize(
    ("state", "ready", "desired", "text", "tone"),
    [
        ("READY", 1, 1, "● READY", "healthy"),
        ("READY", 0, 0, "◌ ZERO", "idle"),
        ("READY", 1, 2, "▲ SCALE 1→2", "attention"),
        ("READY", 2, 1, "▼ SCALE 2→1", "attention"),
        ("READY", 0, 1, "▲ WAKING 0→1", "working"),
        ("READY", None, 1, "● READY", "healthy"),
        ("FAILED", 0, 0, "✖ FAILED", "failed"),
        ("HIBERNATING", 0, 0, "? HIBERNATING", "neutral"),
        ("STATE_UNSPECIFIED", 0, 0, "? UNSPECIFIED", "neutral"),
    ],
)
def test_a_state_has_a_glyph_a_word_and_a_tone(state, ready, desired, text, tone):
    look = states.phase(state, ready, desired)
    assert (look.text, look.tone) == (text, tone)


@pytest.mark.parametrize(
    ("state", "ready", "desired", "text"),
    [
        ("READY", 1, 1, "▲ READY"),
        ("READY", 0, 0, "▲ ZERO"),
        ("READY", 2, 1, "▼ SCALE 2→1"),
        ("READY", 0, 1, "▲ WAKING 0→1"),
        ("FAILED", 0, 0, "✖ FAILED"),
    ],
)
def test_what_looks_well_asks_for_attention_while_a_condition_holds(state, ready, desired, text):
    assert states.phase(state, ready, desired, held_up=True).text == text
    found = status(ready=1, desired=1)
    held = Row(found.model_copy(update={"conditions": [Condition(type="New", reason="NEWER")]}))
    assert (held.look.tone, held.look.rank < Row(found).look.rank) == ("attention", True)


@given(st.text(max_size=20), st.one_of(st.none(), st.integers(0, 1000)), st.one_of(st.none(), st.integers(0, 1000)))
def test_every_state_even_an_unknown_one_has_a_look(state, ready, desired):
    assert len(states.phase(state, ready, desired).glyph) == 1


def test_a_lost_link_keeps_the_picture_and_the_first_instant():
    picture = Picture().seen(snapshot(status()), NOW)
    lost = picture.lost("gone", NOW + timedelta(seconds=3), NOW + timedelta(seconds=4), 1)
    again = lost.lost("gone", NOW + timedelta(seconds=9), NOW + timedelta(seconds=11), 2)
    assert again.rows == picture.rows
    assert again.link.lost_at == NOW + timedelta(seconds=3)
    assert again.stale(NOW + timedelta(seconds=9))
    assert again.seen(snapshot(status()), NOW).link.lost_at is None


def test_countdowns_run_by_the_engines_clock_even_if_ours_is_wrong():
    picture = Picture().seen(snapshot(status()), NOW + timedelta(hours=5))
    assert picture.engine_now(NOW + timedelta(hours=5, seconds=4)) == NOW + timedelta(seconds=4)


def test_time_stands_still_at_the_last_snapshot_when_the_data_is_stale():
    picture = Picture().seen(snapshot(status()), NOW)
    later = NOW + timedelta(seconds=42)
    assert picture.engine_now(later) == NOW
    assert picture.stale_age(later) == "42s"
    assert picture.stale_age(NOW) == ""
    lost = picture.lost("gone", NOW, later, 1)
    assert lost.engine_now(NOW + timedelta(seconds=2)) == NOW
    assert lost.stale_age(NOW + timedelta(seconds=2)) == "2s"


def test_the_trend_follows_a_deployment():
    picture = Picture()
    for second, value in enumerate((None, 1.0, 2.0)):
        picture = picture.seen(snapshot(status(tokens_per_second=value)), NOW + timedelta(seconds=second))
    name = picture.rows[0].name
    assert picture.trend(name) == (None, 1.0, 2.0)
    soon = picture.seen(snapshot(status(tokens_per_second=9.0)), NOW + timedelta(seconds=2.1))
    assert soon.trend(name) == (None, 1.0, 2.0), "a sample a second, however often pictures come"
    assert soon.rows[0].tps == 9.0


def test_what_a_source_hands_on_unchanged_is_not_made_anew_unless_prices_or_what_is_hidden_change():
    same, first = status("a"), NOW + timedelta(seconds=0.1)
    before = Picture().seen(snapshot(same, status("b")), NOW)
    after = before.seen(snapshot(status("b", queue=3), same), first)
    assert after.rows[1] is before.rows[0]
    assert [row.queue for row in after.rows] == [3, before.rows[0].queue]
    hidden = before.seen(snapshot(same), first, frozenset({"tps"}))
    assert "tps" in hidden.rows[0].hidden
    priced = before.priced({"n": 2.0})
    assert priced.seen(snapshot(same), first).rows[0] is not before.rows[0]
    assert priced.seen(snapshot(same), first).repriced is False


@pytest.mark.parametrize("sort", [column.key for column in columns.FLEET])
def test_sorting_loses_no_row_and_puts_the_unknown_last(sort):
    rows = [Row(status("a")), Row(status("b", requests_per_second=2.0)), Row(status("c", ready=None))]
    ordered = select(rows, View(sort=sort))
    assert {row.name for row in ordered} == {row.name for row in rows}
    if sort == "rps":
        assert ordered[0].id == "b"
    if sort == "replicas":
        assert ordered[-1].id == "c"


def test_sorts_go_round():
    view, seen = View(sort="id"), ["id"]
    while (view := query.next_sort(view, columns.FLEET)).sort != "id":
        seen.append(view.sort)
    assert sorted(seen) == sorted(column.key for column in columns.FLEET)


@pytest.mark.parametrize(
    ("text", "ids"),
    [("", "a b"), ("a", "a b"), ("id:a", "a"), ("!id:a", "b"), ("state:zero", "b"), ("state:ready", "a"), ("nope", "")],
)
def test_filters(text, ids):
    rows = [Row(status("a")), Row(status("b", ready=0, desired=0)), Row(status("gone", "DELETED"))]
    assert " ".join(row.id for row in select(rows, View(text, "id"))) == ids


@given(st.integers(20, 250))
def test_columns_never_exceed_the_width_and_numbers_get_all_they_need(width):
    rows = [Row(status("x" * 40, ready=1000, desired=1000, requests_per_second=123_456.0))]
    needs = columns.measure(columns.FLEET, [columns.cells(columns.FLEET, row) for row in rows])
    placed = columns.fit(columns.FLEET, needs, width)
    for place in placed:
        if place.column.most is None:
            assert place.width >= needs[place.column.key]
    total = sum(place.width for place in placed) + columns.GAP * (len(placed) - 1)
    assert total <= max(width, 12 + 10 + 9 + 2 * columns.GAP)


def test_reasons_never_come_empty():
    assert explain.reasons(None) == ("the autoscaler has not decided yet",)


def test_without_counters_and_replicas_the_stages_are_not_known():
    assert [stage.count for stage in explain.pipeline(status(ready=None))] == [None] * 4
    assert [stage.count for stage in explain.pipeline(status(ready=1))] == [0, 0, 0, 1]


def test_the_next_change_counts_down():
    due = NOW + timedelta(seconds=252)
    view = AutoscalerView(desired=1, current=2, next_change="scale down to 1", next_change_at=due)
    assert explain.next_change(view, NOW) == "in 4m12s: scale down to 1"
    assert explain.next_change(view, NOW + timedelta(hours=1)) == "now: scale down to 1"
    assert explain.next_change(None, NOW) == ""


def test_a_short_history_starts_with_a_gap_so_that_the_chart_scrolls():
    history = History(deployment="d", step_s=1, times=[1, 2], series={"tokens_per_second": [5.0, 6.0]})
    chart = series.chart(series.CHARTS[1], history, 10)
    assert chart.lines[0].values == (None,) * 8 + (5.0, 6.0)
    assert series.chart(series.CHARTS[0], history, 10).empty, "a series that is not exposed is empty, not zero"


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=400), st.integers(1, 120), st.booleans())
def test_folding_keeps_the_highest_spike_and_of_ready_replicas_the_deepest_dip(values, wide, lowest):
    folded = series.fold(series.Line("ready", tuple(values), lowest=lowest), wide)
    assert len(folded) <= max(wide, 0) or len(values) <= wide
    before, after = ([one for one in found if one is not None] for found in (values, folded))
    extreme = min if lowest else max
    assert extreme(after, default=None) == extreme(before, default=None)


def test_of_ready_replicas_a_chart_shows_the_dips():
    history = History(deployment="x", step_s=1, times=list(range(9)), series={"ready": [1.0] * 9, "desired": [1.0] * 9})
    (chart,) = (series.chart(kind, history, 10) for kind in series.CHARTS if kind.key == "replicas")
    assert [line.lowest for line in chart.lines] == [True, False]


@given(st.floats(0, 1e12))
def test_the_axis_ends_at_or_above_the_data(value):
    assert series.round_up(value) >= value


@given(st.integers(2, 4000), st.floats(0.5, 60), st.integers(8, 200))
def test_time_ticks_lie_on_the_axis_and_end_now(samples, step, wide):
    positions, labels = series.time_ticks(samples, step, wide)
    assert labels[-1] == "now"
    assert len(positions) == len(labels)
    assert all(-1 <= position <= samples for position in positions)


def test_every_action_has_a_key_of_its_own_and_a_tooltip():
    for place in EVERYWHERE:
        keys = [key for action in ACTIONS if place in action.places for key in action.keys]
        assert len(keys) == len(set(keys))
    assert all(action.tooltip and action.label for action in ACTIONS)
    held = {key for action in ACTIONS for key in action.keys if key.startswith("ctrl+")}
    assert held == {"ctrl+l"}, "terminals and multiplexers take others for themselves"
    assert next(action for action in ACTIONS if action.id == "delete").keys == ("D",)


def test_the_footer_fits_and_hides_changes_while_locked():
    for width in range(0, 200, 7):
        shown = footer_fit("fleet", width, locked=False)
        assert sum(len(a.shown_key) + len(a.label) + 3 for a in shown) <= width
    assert not any(action.changes for action in footer_fit("fleet", 300, locked=True))


@pytest.mark.parametrize("place", EVERYWHERE)
def test_the_footer_tells_of_the_pages_at_any_usual_width_by_name_only_where_all_names_fit(place):
    for width in (80, 100, 120, 160, 200):
        hints = [f"{a.shown_key} {a.label}" for a in footer_fit(place, width, locked=False)]
        assert ("0-9 pages" in hints) != ("9 audit" in hints), hints
        assert ("2 nodes" in hints) == ("9 audit" in hints), hints
        assert "q quit" in hints
        assert "? help" in hints
    named = {a.label for a in footer_fit(place, 600, locked=False)}
    assert {"nodes", "events", "audit"} <= named


def test_help_finds_actions_by_any_word():
    assert [action.id for action in search("deleted back")] == ["undelete"]
    assert search("") == (*MOVES, *ACTIONS)
    assert [action.label for action in search("pgdn")] == ["page down"]


def test_a_change_is_told_once_the_fleet_has_got_there():
    later = timedelta(seconds=14)
    assert news(Row(status(ready=1, desired=2)), "scale", later) is None
    assert news(Row(status(ready=2, desired=2)), "scale", timedelta(seconds=1)) is None
    assert news(Row(status(ready=2, desired=2)), "scale", later).text == "2 of 2 replicas ready, 14s after the change"
    assert news(Row(status(state="FAILED")), "scale", later).severity == "error"


def test_what_was_deleted_or_never_comes_is_not_followed_for_ever():
    later = timedelta(seconds=14)
    assert news(Row(status(state="DELETED")), "scale", later).text == "it is not there any more"
    assert news(None, "create", later) is None, "it may come yet"
    assert news(None, "create", 10 * later).text == "it is not there any more"


def test_a_stopped_roll_out_is_the_failure_of_the_update_and_not_of_a_scale_that_succeeded():
    later = timedelta(seconds=14)
    stopped = Condition(type="RolloutStopped", reason="ROLLOUT_STOPPED", message="no such file")
    row = Row(status(ready=2, desired=2).model_copy(update={"conditions": [stopped]}))
    for verb in ("scale", "undelete"):
        assert news(row, verb, later).text == "2 of 2 replicas ready, 14s after the change"
    found = news(row, "update", later)
    assert (found.severity, found.text) == ("error", "failed: ROLLOUT STOPPED · no such file")


def test_plain_text_has_one_line_a_deployment_and_the_labels():
    text = fleet_text(snapshot(status("a"), status("gone", "DELETED"), synthetic_traffic=True), NOW)
    assert "[SYNTHETIC TRAFFIC]" in text
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text
    assert "gone" not in text


def test_a_label_loses_its_last_word_where_the_context_has_a_long_name():
    picture = Picture().seen(snapshot(synthetic_traffic=True, rehearsal=True), NOW)
    assert marks(picture, 80 - len(" firedeck  local")) == ("SYNTHETIC TRAFFIC", "REHEARSAL LIMITS")
    assert marks(picture, 80 - len(" firedeck   prod-eu   PROD ")) == ("SYNTHETIC TRAFFIC", "REHEARSAL")


def test_plain_text_of_an_empty_fleet_says_what_to_do():
    assert "no deployments yet" in fleet_text(snapshot(), NOW)
