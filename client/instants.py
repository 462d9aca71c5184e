"""Instants as text, read in one way everywhere: RFC 3339, and the shorter forms that people write.

Taken besides: a day alone (its first moment), a time without seconds, a blank for the `T`, and no zone.
A leap second is the moment after it, as on clocks that have none; digits beyond microseconds are cut off.
Source: https://www.rfc-editor.org/rfc/rfc3339#section-5.6
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from client.errors import InvalidArgument

_FORMS = "write '2027-12-31' or '2027-12-31T23:59:59+02:00'"
HINT = f"{_FORMS}; UTC unless it has an offset"
_HINT_LOCAL = f"{_FORMS}; this machine's time unless it has an offset"
_CHARS_MAX = 100
_DAY, _MINUTE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND, _ZONE = r"(?::(?:[0-5][0-9]|60)(?:\.[0-9]+)?)?", rf"(?:[Zz]|[+-]{_MINUTE})?"
_FORM = re.compile(rf"{_DAY}(?:[Tt ]{_MINUTE}{_SECOND}{_ZONE})?")
_LEAP = slice(16, 19)  # `:60`


def parse(text: str, field: str = "", *, local: bool = False) -> datetime:
    """`2026-01-31T12:00:00Z`, `2026-01-31t13:00:00.25+01:00`, `2026-01-31` -> the instant in UTC.

    `local`: one without a zone is this machine's time, as a command line has it, and not UTC.
    InvalidArgument, with `field`, for what is not one, or lies outside the years 1 to 9999.
    """
    leap, hint = text[_LEAP] == ":60", _HINT_LOCAL if local else HINT
    try:
        if len(text) > _CHARS_MAX or not _FORM.fullmatch(text):
            raise ValueError
        plain = f"{text[:16]}:59{text[19:]}" if leap else text
        told = datetime.fromisoformat(plain.upper())
        given = told.astimezone(UTC) if local else in_utc(told)
        return _after_leap(given) if leap else given
    except OverflowError:
        raise InvalidArgument(_said(field, text, "is out of range"), field=field or None, hint=hint) from None
    except ValueError:
        raise InvalidArgument(_said(field, text, "is not a time"), field=field or None, hint=hint) from None


def in_utc(value: datetime) -> datetime:
    """One without a zone is UTC; OverflowError for one that UTC cannot express."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _after_leap(before: datetime) -> datetime:
    """The moment after second 60, which months alone end with, in UTC; ValueError for another."""
    after = before.replace(microsecond=0) + timedelta(seconds=1)
    if (after.day, after.hour, after.minute) != (1, 0, 0):
        raise ValueError
    return after


def _said(field: str, text: str, what: str) -> str:
    return f"{field} {text[:40]!r} {what}".lstrip()
