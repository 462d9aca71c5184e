"""Numbers within bounds in GBNF, digit by digit. Every text allowed reads as a float inside the bounds."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from engine.replica.schema.shapes import Number

FREE_DIGITS = 15  # of an integer without a bound: what a double holds exactly
FRACTION_BELOW = 10**9  # integer parts from here on get no fraction: 9 + 6 digits are told apart by a double
FRACTION = '"." [0-9]{1,6}'
EXPONENT = "([eE] [+-]? [0-9]{1,2})?"
ANY = f'"-"? ("0" | [1-9] [0-9]{{0,{FREE_DIGITS - 1}}}) ("." [0-9]{{1,15}})? {EXPONENT}'
_WIDE = Context(prec=200)


def number_gbnf(shape: Number) -> str | None:
    """GBNF for numbers of this shape; None when nothing can be written."""
    if shape.low is None and shape.high is None and not shape.integer:
        return ANY
    low, high = lowest_integer(shape), highest_integer(shape)
    ways = _integers(low, high)
    if not shape.integer:
        ways += _with_fraction(low, high) + _near_bounds(shape)
    return " | ".join(dict.fromkeys(ways)) or None


def lowest_integer(shape: Number) -> int | None:
    if shape.low is None:
        return None
    whole = int(shape.low.to_integral_value(ROUND_CEILING))
    return whole + 1 if shape.low_open and whole == shape.low else whole


def highest_integer(shape: Number) -> int | None:
    if shape.high is None:
        return None
    whole = int(shape.high.to_integral_value(ROUND_FLOOR))
    return whole - 1 if shape.high_open and whole == shape.high else whole


def _integers(low: int | None, high: int | None) -> list[str]:
    """Ways to write an integer from `low` to `high`."""
    ways = []
    if high is None or high >= 0:
        ways += _naturals(max(0, low or 0), high)
    if low is None or low < 0:
        least = 1 if high is None or high >= 0 else -high
        ways += [f'"-" {way}' for way in _naturals(least, None if low is None else -low)]
    return ways


def _naturals(low: int, high: int | None) -> list[str]:
    """Ways to write low..high without leading zeros; without `high`, as many digits more as are free."""
    if high is None:
        high = 10 ** max(FREE_DIGITS, len(str(low)) + 1) - 1
    ways, whole = ['"0"'] if low == 0 <= high else [], []
    for length in range(len(str(low)), len(str(high)) + 1):
        first, last = max(low, 10 ** (length - 1)), min(high, 10**length - 1)
        if last - first == 9 * 10 ** (length - 1) - 1:
            whole.append(length)  # every number of so many digits: they follow each other
        elif first <= last:
            ways.append(_between(str(first), str(last)))
    if whole:
        ways.append(f"[1-9] [0-9]{{{whole[0] - 1},{whole[-1] - 1}}}")
    return ways


def _between(low: str, high: str) -> str:
    """Digits from `low` to `high`, both of the same length."""
    rest = len(low) - 1
    if set(low) == {"0"} and set(high) == {"9"}:
        return f"[0-9]{{{len(low)}}}"
    if not rest:
        return f"[{low}-{high}]"
    if low[0] == high[0]:
        return f'"{low[0]}" {_between(low[1:], high[1:])}'
    ways, first, last = [], int(low[0]), int(high[0])
    if set(low[1:]) != {"0"}:
        ways.append(f'"{first}" {_between(low[1:], "9" * rest)}')
        first += 1
    if set(high[1:]) != {"9"}:
        ways.append(f'"{last}" {_between("0" * rest, high[1:])}')
        last -= 1
    if first <= last:
        ways.append(f"[{first}-{last}] [0-9]{{{rest}}}")
    return "(" + " | ".join(ways) + ")"


def _with_fraction(low: int | None, high: int | None) -> list[str]:
    """Integer parts k with low <= k and k + 1 <= high may have any fraction; the same below zero."""
    ways = []
    if high is None or high >= 1:
        top = FRACTION_BELOW - 1 if high is None else min(high, FRACTION_BELOW) - 1
        ways += [f"{way} {FRACTION}" for way in _bounded(max(0, low or 0), top)]
    if low is None or low <= -1:
        top = FRACTION_BELOW - 1 if low is None else min(-low, FRACTION_BELOW) - 1
        ways += [f'"-" {way} {FRACTION}' for way in _bounded(max(0, -(high or 0)), top)]
    return ways


def _bounded(low: int, high: int) -> list[str]:
    return _naturals(low, high) if low <= high else []


def _near_bounds(shape: Number) -> list[str]:
    """Fractions between a bound and the integer next to it, with two places more than the bound has."""
    ways = []
    if shape.low is not None:
        ways += _slice(shape.low, shape.low_open, *_other_end(shape.low, shape.high, shape.high_open, 1))
    if shape.high is not None:
        end, end_open = _other_end(shape.high, shape.low, shape.low_open, -1)
        ways += _slice(end, end_open, shape.high, shape.high_open)
    return ways


def _other_end(bound: Decimal, limit: Decimal | None, limit_open: bool, step: int) -> tuple[Decimal, bool]:
    """The far end of the unit next to a bound, or the opposite bound when that is nearer."""
    whole = bound.to_integral_value(ROUND_FLOOR if step > 0 else ROUND_CEILING) + step
    if limit is None or (limit - whole) * step > 0:
        return whole, True
    return limit, limit_open


def _slice(low: Decimal, low_open: bool, high: Decimal, high_open: bool) -> list[str]:
    """Decimals from low to high (at most one apart, so on one side of zero or both)."""
    places = min(30, 2 + max(0, *(-int(bound.as_tuple().exponent) for bound in (low, high))))
    first = int(_WIDE.scaleb(low, places).to_integral_value(ROUND_CEILING))
    last = int(_WIDE.scaleb(high, places).to_integral_value(ROUND_FLOOR))
    first += 1 if low_open and _WIDE.scaleb(low, places) == first else 0
    last -= 1 if high_open and _WIDE.scaleb(high, places) == last else 0
    if max(abs(first), abs(last)) >= 10**FREE_DIGITS:
        return []  # a double would round what is written across the bound
    ways = [_scaled(max(0, first), last, places)] if max(0, first) <= last else []
    if first < 0:
        ways.append(f'"-" {_scaled(max(1, -last), -first, places)}')
    return ways


def _scaled(low: int, high: int, places: int) -> str:
    """The decimals low / 10**places .. high / 10**places, written with that many places."""
    ways = []
    for whole in range(low // 10**places, high // 10**places + 1):
        base = whole * 10**places
        first = str(max(low - base, 0)).zfill(places)
        last = str(min(high - base, 10**places - 1)).zfill(places)
        ways.append(f'"{whole}." {_between(first, last)}')
    return "(" + " | ".join(ways) + ")"
