"""Numbers as text: bounded, never a guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core import units

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
amounts = st.one_of(st.none(), st.floats(0, 1e15, allow_nan=False))


@given(amounts)
def test_numbers_fit_their_columns(value):
    assert len(units.rate(value)) <= 5
    assert len(units.milliseconds(value)) <= 5
    assert len(units.age(value)) <= 6


@given(st.floats(0, 1e15, allow_nan=False, exclude_min=True))
def test_what_is_above_zero_never_reads_as_zero(value):
    assert units.rate(value) != "0"
    assert units.milliseconds(value) != "0ms"


def test_unknown_is_a_dash_and_zero_is_zero():
    assert [units.rate(None), units.milliseconds(None), units.count(None), units.percent(None)] == ["–"] * 4
    assert [units.rate(0), units.count(0), units.percent(0)] == ["0", "0", "0%"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.9, "59s"), (252, "4m12s"), (11_100, "3h05m"), (187_200, "2d04h"), (-5, "0s")]
)
def test_ages(seconds, text):
    assert units.age(seconds) == text


def test_a_countdown_that_has_passed_says_now():
    assert units.countdown(NOW + timedelta(seconds=252), NOW) == "4m12s"
    assert units.countdown(NOW - timedelta(seconds=1), NOW) == "now"
    assert units.countdown(None, NOW) == "–"


@pytest.mark.parametrize(
    ("go", "short"), [("10m0s", "10m"), ("1h0m0s", "1h"), ("30s", "30s"), ("1h5m0s", "1h5m"), ("0s", "0s")]
)
def test_durations_lose_their_zero_parts(go, short):
    assert units.short_duration(go) == short


@given(st.text(alphabet="abc日本é", max_size=30), st.integers(1, 40))
def test_fitted_text_has_just_the_cells_asked_for(text, cells):
    assert units.width(units.fitted(text, cells)) == cells


@given(st.text(max_size=20))
def test_ascii_signs_keep_their_width(text):
    assert len(units.to_ascii(text)) == len(text)


@given(st.text())
def test_text_of_any_kind_becomes_ascii_of_the_same_width(text):
    shown = units.only_ascii(text)
    assert shown.isascii()
    assert len(shown) == units.width(text)


def test_sparks_show_gaps_as_blanks():
    assert units.spark([None, 0.0, 4.0], 3) == " ▁█"
    assert units.spark([], 3) == "   "
