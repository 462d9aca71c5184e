"""The product's windows: defaults, limits, and the sentences that refuse."""

import math

import pytest

from engine.control.windows import DOWN_FIELD, PRODUCT, UP_FIELD, ZERO_FIELD, Windows, check, rehearsal, span, spell


def test_defaults_are_those_of_the_product():
    assert PRODUCT.resolve(None, None, None) == Windows(up_s=30, down_s=600, zero_s=3600)


def test_a_scale_to_zero_window_of_0_means_unset_but_the_other_two_may_be_0():
    assert PRODUCT.resolve(0, 0, 0) == Windows(up_s=0, down_s=0, zero_s=3600)


def test_what_is_set_is_kept():
    assert PRODUCT.resolve(15, 1800, 300) == Windows(up_s=15, down_s=1800, zero_s=300)


@pytest.mark.parametrize(
    ("up_s", "down_s", "zero_s"),
    [
        pytest.param(None, None, None, id="unset"),
        pytest.param(30, 600, 3600, id="the defaults"),
        pytest.param(0, 0, 0, id="zeros"),
        pytest.param(3600, 3600, 300, id="exactly at the limits"),
        pytest.param(1, 1, 7 * 86400, id="no upper limit to scale-to-zero"),
    ],
)
def test_allowed(up_s, down_s, zero_s):
    assert check(PRODUCT, up_s, down_s, zero_s) == []


def test_five_minutes_is_fine_and_four_minutes_fifty_nine_is_refused():
    assert check(PRODUCT, None, None, 300) == []
    [(field, sentence)] = check(PRODUCT, None, None, 299)
    assert field == "autoscalingPolicy.scaleToZeroWindow"
    assert sentence == "must be at least 5 minutes (0 means the default of 1h)"


@pytest.mark.parametrize("zero_s", [0.001, 1, 299.999, -1, math.nan, math.inf])
def test_scale_to_zero_windows_out_of_limits_are_refused(zero_s):
    assert [field for field, _ in check(PRODUCT, None, None, zero_s)] == [ZERO_FIELD]


@pytest.mark.parametrize("value_s", [-1, -0.001, 3600.001, 7200, math.nan, math.inf])
def test_up_and_down_windows_out_of_limits_are_refused(value_s):
    assert [field for field, _ in check(PRODUCT, value_s, value_s, None)] == [UP_FIELD, DOWN_FIELD]


def test_all_problems_are_reported_at_once():
    assert len(check(PRODUCT, 3601, -1, 1)) == 3


def test_a_rehearsal_lowers_the_minimum_and_nothing_else():
    limits = rehearsal()
    assert check(limits, None, None, 1) == []
    assert [field for field, _ in check(limits, 3601, 3601, 0.5)] == [UP_FIELD, DOWN_FIELD, ZERO_FIELD]
    assert limits.resolve(None, None, None) == PRODUCT.defaults


def test_a_rehearsal_may_bring_its_own_defaults():
    limits = rehearsal(defaults=Windows(2, 5, 10))
    assert limits.resolve(None, None, 0) == Windows(2, 5, 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.5, "0.5s"), (9.97, "10s"), (12, "12s"), (59.7, "1m"), (60, "1m"), (299, "4m59s"), (600, "10m"),
        (3600, "1h"), (3900, "1h5m"), (90061, "25h1m1s"), (-5, "-5s"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_spans_are_written_for_people(seconds, text):
    assert span(seconds) == text


def test_whole_minutes_are_spelled_as_the_product_spells_them():
    assert [spell(300), spell(60), spell(90), spell(1)] == ["5 minutes", "1m", "1m30s", "1s"]
