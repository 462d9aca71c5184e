"""Instants are read in one way, wherever they stand: RFC 3339 and what people write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client import instants
from client.access_types import ApiKeySpec
from client.cli.instants import INSTANT, UTC_INSTANT
from client.errors import InvalidArgument
from client.stages import local_time

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
GOOD = [
    ("2026-01-31T12:00:00Z", NOON), ("2026-01-31t12:00:00z", NOON), ("2026-01-31 12:00:00Z", NOON),
    ("2026-01-31T12:00:00", NOON), ("2026-01-31 12:00", NOON), ("2026-01-31T12:00Z", NOON),
    ("2026-01-31", NOON.replace(hour=0)), ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
    ("2026-01-31T13:00:00+01:00", NOON), ("2026-01-31T06:30:00-05:30", NOON), ("2026-02-01T11:59:00+23:59", NOON),
    ("2026-01-31T12:00:00+00:00", NOON), ("2026-01-31T12:00:00-00:00", NOON),
    ("2026-01-31T12:00:00.5Z", NOON + timedelta(milliseconds=500)),
    ("2026-01-31T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
    ("2026-01-31t12:00:00.1234567899z", NOON + timedelta(microseconds=123456)),
    ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
]  # fmt: skip
LEAP = [
    ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ("2015-06-30T23:59:60.75z", datetime(2015, 7, 1, tzinfo=UTC)),
    ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
    ("1990-12-31T15:59:60-08:00", datetime(1991, 1, 1, tzinfo=UTC)),
]
BAD = [
    "", "soon", "2026", "2026-01", "20260131", "2026-1-31", "26-01-31", "2026-W05-6", "2026-02-29", "2026-13-01",
    "2026-01-32", "2026-00-10", "0000-01-01", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:00:61Z",
    "2026-01-31T12", "2026-01-31T1200Z", "2026-01-31T12:00:00,5Z", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00 Z",
    "2026-01-31T12:00:00+1:00", "2026-01-31T12:00:00+0100", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+01",
    "2026-01-31T12:00:00CET", "2026-01-31Z", "2026-01-31_12:00:00Z", " 2026-01-31", "2026-01-31\n", "1769860800",
    "٢٠٢٦-01-31", "2026-01-31T12:00:00.٥Z", "2026-01-31T12:00:00." + "1" * 200 + "Z",
    "2016-12-31T22:59:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00", "2026-01-31T12:00:60Z",
]  # fmt: skip
BEYOND = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_comes_back_to_the_microsecond(given_at):
    shown = ApiKeySpec(expire_time=given_at).to_wire()["expireTime"]
    assert instants.parse(shown) == given_at
    assert len(shown.partition(".")[2]) in (4, 7), "protojson has three or six digits, and the Z"


@pytest.mark.parametrize(("text", "expected"), [*GOOD, *LEAP])
def test_every_form_is_its_instant_in_utc(text: str, expected: datetime) -> None:
    found = instants.parse(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_one_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^startTime .* is not a time$") as refused:
        instants.parse(text, "startTime")
    assert (refused.value.field, refused.value.hint) == ("startTime", instants.HINT)
    assert len(refused.value.text) < 300


@pytest.mark.parametrize("text", BEYOND)
def test_what_no_calendar_in_utc_has_is_out_of_range(text: str) -> None:
    with pytest.raises(InvalidArgument, match="out of range"):
        instants.parse(text)


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["T", "t", " "]),
)
def test_what_any_clock_in_any_zone_writes_comes_back_as_that_instant(at: datetime, offset: int, sign: str) -> None:
    there = at.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert instants.parse(there.isoformat(sep=sign)) == there


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.+\-Zz]{0,20}", fullmatch=True))
def test_whatever_is_written_is_an_instant_or_a_refusal(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert instants.parse(text).tzinfo is UTC


@pytest.mark.parametrize(("text", "expected"), [GOOD[0], GOOD[1], GOOD[3], GOOD[8], GOOD[15], LEAP[0]])
def test_messages_and_options_read_it_the_same_way(text: str, expected: datetime) -> None:
    assert ApiKeySpec.model_validate({"expireTime": text}).expire_time == expected
    assert ApiKeySpec.model_validate_json(f'{{"expireTime": "{text}"}}').expire_time == expected
    assert UTC_INSTANT.convert(text, None, None) == expected


@pytest.mark.parametrize(
    "value", ["soon", "2026-01-31T12:00:60Z", 1769860800, 1.5, True, [], "0001-01-01T00:00:00+14:00"]
)
def test_a_message_refuses_what_is_no_instant_and_says_how_to_write_one(value: object) -> None:
    with pytest.raises(ValidationError, match="write '2027-12-31'"):
        ApiKeySpec.model_validate({"expireTime": value})


def test_a_clock_s_own_instant_is_taken_as_it_is_and_one_without_a_zone_as_utc() -> None:
    for at in (NOON, NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=5)))):
        assert ApiKeySpec(expire_time=at).expire_time == NOON


@pytest.fixture(params=["UTC0", "EST5EDT,M3.2.0,M11.1.0", "IST-5:30"])
def here(request: pytest.FixtureRequest) -> Iterator[str]:
    """This machine's zone, as POSIX writes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize("at", [NOON, NOON.replace(month=7, day=15)])
def test_a_time_that_the_command_line_prints_is_taken_back_by_it_and_by_filters(here: str, at: datetime) -> None:
    printed = local_time(at)
    assert " " not in printed
    assert INSTANT.convert(printed, None, None) == UTC_INSTANT.convert(printed, None, None) == at
    assert instants.parse(printed) == at


def test_a_time_without_a_zone_is_this_machines_as_those_that_are_printed(here: str) -> None:
    assert INSTANT.convert(NOON.astimezone().strftime("%Y-%m-%d %H:%M:%S"), None, None) == NOON
    assert INSTANT.convert("2026-01-31", None, None) == datetime(2026, 1, 31).astimezone()
    assert UTC_INSTANT.convert("2026-01-31 12:00", None, None) == NOON, "what is counted by days of UTC"


def test_what_is_no_time_is_refused_with_whose_zone_it_would_be() -> None:
    for kind, zone in ((INSTANT, "this machine's time"), (UTC_INSTANT, "UTC")):
        with pytest.raises(click.BadParameter, match=zone):
            kind.convert("soon", None, None)
