"""Go's duration syntax (`time.ParseDuration`) and protojson's (`"600s"`), read and written exactly.

Own parser because the published ones deviate (they take days and weeks, or print `5m` for Go's `5m0s`).
Durations are integers of nanoseconds inside, `datetime.timedelta` (microseconds) outside: what is finer than a
microsecond is refused, for cut off it would mean something else (`1ns` would be 0, which means unset).
Source: https://pkg.go.dev/time#ParseDuration, https://protobuf.dev/reference/protobuf/google.protobuf/#duration
"""

from __future__ import annotations

import re
from datetime import timedelta

from client.errors import InvalidArgument

_NANOS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_NANOS = {1: 2**63 - 1, -1: 2**63}  # of Go's int64, by sign
_MAX_CHARS = 200  # longer ones are nobody's duration, and int() refuses to read thousands of digits


def parse(text: str, field: str = "duration") -> timedelta:
    """`1h15m30.5s`, `-1.5h`, `0`, `600s` -> timedelta; InvalidArgument, with `field`, for anything else."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return timedelta(0)
    nanos, position, whole = 0, 0, True
    while len(rest) <= _MAX_CHARS and (match := _PART.match(rest, position)):
        part, rest_of_it = _part_nanos(match[1], match[2])
        nanos, whole = nanos + part, whole and not rest_of_it
        position = match.end()
    if not rest or position != len(rest):
        raise InvalidArgument(
            f"{field} {text[:40]!r} is not a duration", field=field, hint="write it as 30s, 10m or 1h30m"
        )
    if nanos > _MAX_NANOS[sign]:
        raise InvalidArgument(f"{field} {text[:40]!r} is too long", field=field, hint="at most 2562047h")
    micros, finer = divmod(nanos, 1_000)
    if finer or not whole:
        raise InvalidArgument(
            f"{field} {text[:40]!r} is finer than a microsecond", field=field, hint="write whole microseconds"
        )
    return timedelta(microseconds=sign * micros)


def _part_nanos(number: str, unit: str) -> tuple[int, int]:
    """The whole nanoseconds of `1.5` `us`, and what is left of it, which is 0 unless it is finer."""
    before, _, fraction = number.partition(".")
    below: int = 10 ** len(fraction)
    return divmod(int(before + fraction) * _NANOS[unit], below)


def to_go(value: timedelta) -> str:
    """As Go prints it: `0s`, `1.5ms`, `30s`, `5m0s`, `1h0m0s`."""
    micros = value // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1_000_000:
        if micros == 0:
            return "0s"
        return f"{sign}{micros}µs" if micros < 1_000 else f"{sign}{_decimal(micros, 1_000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 1_000_000) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def to_proto(value: timedelta) -> str:
    """As protojson prints it: seconds with the suffix `s` (`600s`, `0.500s`)."""
    micros = value // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, fraction = divmod(micros, 1_000_000)
    if not fraction:
        return f"{sign}{seconds}s"
    digits = 3 if fraction % 1_000 == 0 else 6
    return f"{sign}{seconds}.{fraction:06d}"[: len(f"{sign}{seconds}.") + digits] + "s"


def _decimal(amount: int, scale: int) -> str:
    whole, fraction = divmod(amount, scale)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).rjust(len(str(scale)) - 1, '0').rstrip('0')}"
