"""Durations: Go's syntax in and out, protojson's out; nothing that Go refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.durations import parse, to_go, to_proto
from client.errors import InvalidArgument

MICROS_MAX = (2**63 - 1) // 1000
DURATIONS = st.integers(-MICROS_MAX, MICROS_MAX).map(lambda n: timedelta(microseconds=n)) | st.integers(
    -7200, 7200
).map(lambda s: timedelta(seconds=s))


def us(n: int) -> timedelta:
    return timedelta(microseconds=n)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        # the table of Go's own time_test.go, as far as microseconds reach
        ("0", 0), ("5s", 5_000_000), ("30s", 30_000_000), ("1478s", 1_478_000_000),
        ("-5s", -5_000_000), ("+5s", 5_000_000), ("-0", 0), ("+0", 0),
        ("5.0s", 5_000_000), ("5.6s", 5_600_000), ("5.s", 5_000_000), (".5s", 500_000), ("1.0s", 1_000_000),
        ("1.00s", 1_000_000), ("1.004s", 1_004_000), ("1.0040s", 1_004_000), ("100.00100s", 100_001_000),
        ("2000ns", 2), ("500ns1500ns", 2), ("11us", 11), ("12µs", 12), ("12μs", 12), ("13ms", 13_000),
        ("14s", 14_000_000),
        ("15m", 900_000_000), ("16h", 57_600_000_000),
        ("3h30m", 12_600_000_000), ("10.5s4m", 250_500_000), ("-2m3.4s", -123_400_000),
        ("1h2m3s4ms5us6000ns", 3_723_004_011), ("39h9m14.425s", 140_954_425_000),
        ("52763797000ns", 52_763_797), ("0.33333333h", 1_199_999_988),
        ("9223372036s", 9_223_372_036_000_000), ("9223372036854775us", 9_223_372_036_854_775),
        ("9223372036s854ms775us", 9_223_372_036_854_775), ("-9223372036854775us", -9_223_372_036_854_775),
        ("0.100000000000000000000h", 360_000_000),
        # what firectl prints and the documents write
        ("5m0s", 300_000_000), ("1h0m0s", 3_600_000_000), ("1h15m30.918s", 4_530_918_000), ("-1.5h", -5_400_000_000),
        ("600s", 600_000_000), ("0.500s", 500_000), ("0s", 0),
    ],
)  # fmt: skip
def test_a_duration_is_read_as_go_reads_it(text, micros):
    assert parse(text) == us(micros)


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "5", "-", "+", "s", ".", "-.", ".s", "+.s", "1d", "1w", "3000000h", "9223372036854775808ns", " 5m",
        "5m ",
        "-9223372036854775809ns", "9223372036854776us", "9223372036854775.808us", "9223372036854ms775us808ns",
        "5 m", "5m\n", "--5m", "+-5m", "-+5s", "5m-3s", "1e3s", "0x5s", "1_000s", "5M", "5S", "1.2.3s", "1,5s", "٥m",
        "५s",
        "\uff15s", "NaN", "inf", "infs", "\x85\x85", "\xffff", "hello \xffff world", "00", "5mm", "P1D", "600",
    ],
)  # fmt: skip
def test_what_go_refuses_is_refused_naming_the_field(text):
    with pytest.raises(InvalidArgument, match="scaleUpWindow") as refused:
        parse(text, "scaleUpWindow")
    assert refused.value.field == "scaleUpWindow"
    assert refused.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "1ns", "-1ns", "10ns", "999ns", "1500ns", "0.0000001s", "300.0000009s", "0.0000000001s", "1h2m3s4ms5us6ns",
        "0.5us",
        "0.3333333333333333333h", "0.8303103483285477580700h", "9223372036854775807ns", "-9223372036854775808ns",
        "-2562047h47m16.854775808s", "0." + "0" * 150 + "1s",
    ],
)  # fmt: skip
def test_what_is_finer_than_a_microsecond_is_refused_and_never_cut_off(text):
    with pytest.raises(InvalidArgument, match=r"scaleUpWindow .* is finer than a microsecond") as refused:
        parse(text, "scaleUpWindow")
    assert refused.value.field == "scaleUpWindow"


@pytest.mark.parametrize("text", ["1000000000000h", "-3000000h", "9223372036854775808ns"])
def test_what_is_longer_than_go_counts_is_too_long_and_no_other_fault(text):
    with pytest.raises(InvalidArgument, match="is too long"):
        parse(text)


@pytest.mark.parametrize("text", ["9" * 5000 + "s", "0." + "1" * 5000 + "s", "9" * 1_000_000, "1s" * 100_000])
def test_an_endless_duration_is_refused_and_not_repeated_in_the_refusal(text):
    with pytest.raises(InvalidArgument) as refused:
        parse(text)
    assert len(refused.value.text) < 300


@pytest.mark.parametrize(
    ("micros", "go", "proto"),
    [
        (0, "0s", "0s"), (1, "1µs", "0.000001s"), (1_100, "1.1ms", "0.001100s"), (2_200_000, "2.2s", "2.200s"),
        (30_000_000, "30s", "30s"), (300_000_000, "5m0s", "300s"), (3_600_000_000, "1h0m0s", "3600s"),
        (86_400_000_000, "24h0m0s", "86400s"), (4_530_918_000, "1h15m30.918s", "4530.918s"),
        (-5_400_000_000, "-1h30m0s", "-5400s"), (-500_000, "-500ms", "-0.500s"),
        (60_000_001, "1m0.000001s", "60.000001s"),
        (245_000_000, "4m5s", "245s"), (245_001_000, "4m5.001s", "245.001s"),
        (18_367_001_000, "5h6m7.001s", "18367.001s"),
        (3_300_000, "3.3s", "3.300s"), (2_200, "2.2ms", "0.002200s"),
        (MICROS_MAX, "2562047h47m16.854775s", "9223372036.854775s"),
        (999_999, "999.999ms", "0.999999s"), (999, "999µs", "0.000999s"), (600_000_000, "10m0s", "600s"),
    ],
)  # fmt: skip
def test_a_duration_is_printed_as_go_and_as_protojson_print_it(micros, go, proto):
    assert to_go(us(micros)) == go
    assert to_proto(us(micros)) == proto


@given(DURATIONS)
def test_what_is_printed_reads_back_as_itself(value):
    assert parse(to_go(value)) == value
    assert parse(to_proto(value)) == value


@given(DURATIONS)
def test_protojson_has_no_three_six_or_zero_digits_other_than_those(value):
    _, dot, fraction = to_proto(value).removesuffix("s").partition(".")
    assert len(fraction) in ({3, 6} if dot else {0})


@given(st.text(max_size=20) | st.text("0123456789.+-smhnuµ", max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except InvalidArgument:
        return
    assert text.isascii() or "µ" in text or "μ" in text


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["ms", "s", "m", "h"])), min_size=1, max_size=5))
def test_parts_add_up_in_any_order(parts):
    unit = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
    text = "".join(f"{n}{u}" for n, u in parts)
    assert parse(text) == us(sum(n * unit[u] for n, u in parts))
    assert parse("-" + text) == -parse(text)
