"""What a table shows and in which order: the filter's small language, and sorting by any column. Pure.

A filter is words, all of which must match; `!` before one turns it around; case does not matter.

    chat                                  somewhere in the row
    state:ready                           in the cell of that column
    queue>0  ttft95>=1.5s  kv<80%         against the column's value; what is not known matches no comparison

A column is named by its key. Numbers may have a unit: ms, s, m, h, d, %, k, M.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tui.core.columns import Column, R

_TERM = re.compile(r"(!?)(?:([a-z_]\w*)(:|[<>]=?))?(.*)", re.DOTALL)
_NUMBER = re.compile(r"(-?\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|d|%|k)?")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SCALE = {"": 1.0, "%": 0.01, "k": 1e3}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PER_SECOND = {"ms": 1000.0, "s": 1.0}
Words = Callable[[R], str]
ALWAYS = "context"  # whatever is chosen: two deployments of one name must never look alike


@dataclass(frozen=True, slots=True)
class View:
    """How the user looks at one table. `sort` is a column's key, or empty for the order in which rows come."""

    text: str = ""
    sort: str = ""
    reverse: bool = False
    columns: tuple[str, ...] = ()  # those that were chosen; none: the usual ones
    group: str = ""


def chosen(view: View, columns: Sequence[Column[R]]) -> tuple[Column[R], ...]:
    """The columns that the view shows; one that was asked for stays longer than the usual ones when room is short."""
    if not view.columns:
        return tuple(column for column in columns if not column.optional)
    found = [column for column in columns if column.key in view.columns or column.key == ALWAYS]
    return tuple(replace(column, priority=1) if column.optional else column for column in found)


def sorted_by(view: View, key: str) -> View:
    """The view after this column was asked for: once more turns its order around."""
    return replace(view, sort=key, reverse=view.sort == key and not view.reverse)


def next_sort(view: View, columns: Sequence[Column[R]]) -> View:
    """The view sorted by the column after its own; after the last one the first again."""
    keys = [column.key for column in columns if column.title]
    at = keys.index(view.sort) if view.sort in keys else -1
    return replace(view, sort=keys[(at + 1) % len(keys)], reverse=False)


def terms(text: str) -> tuple[str, ...]:
    """The filter's words as its chips show them; a lonely `!` is none yet."""
    return tuple(word for word in text.lower().split() if word != "!")


def select(rows: Iterable[R], columns: Sequence[Column[R]], view: View, words: Words[R]) -> tuple[R, ...]:
    """The rows that every word of the view's filter matches, in its order."""
    named = {column.key: column for column in columns}
    wanted = terms(view.text)
    kept = [row for row in rows if all(_matches(row, named, term, words) for term in wanted)] if wanted else list(rows)
    column = named.get(view.sort)
    return tuple(kept if column is None else order(kept, column, reverse=view.reverse))


def order(rows: Iterable[R], column: Column[R], *, reverse: bool = False) -> list[R]:
    """Words from A, numbers from the highest, states from the worst, or the other way round; the unknown last."""
    known: list[tuple[float | str, R]] = []
    unknown: list[R] = []
    for row in rows:
        value = column.sortable(row)
        unknown.append(row) if value is None else known.append((value, row))
    down = (column.align == "right") != reverse
    return [row for _, row in sorted(known, key=lambda pair: pair[0], reverse=down)] + unknown


def _matches(row: R, named: dict[str, Column[R]], term: str, words: Words[R]) -> bool:
    negated, field, sign, wanted = _parts(term)
    column = named.get(field)
    if column is None or not wanted:
        rest = term[len(negated) :]
        return (rest in words(row)) != bool(negated)
    if sign == ":":
        return (wanted in column.cell(row).lower()) != bool(negated)
    return _compares(row, column, sign, wanted) != bool(negated)


def _parts(term: str) -> tuple[str, str, str, str]:
    found = _TERM.fullmatch(term)
    negated, field, sign, wanted = found.groups() if found else ("", None, None, term)
    return negated, field or "", sign or "", wanted


def _compares(row: R, column: Column[R], sign: str, wanted: str) -> bool:
    value, limit = column.sortable(row), _number(wanted, column.unit)
    return isinstance(value, int | float) and limit is not None and _COMPARE[sign](value, limit)


def _number(text: str, unit: str) -> float | None:
    """`1.5s` as 1500 where the column counts in ms; a number without a unit is in the column's own."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    value, suffix = float(found[1]), found[2] or ""
    if suffix == "m" and unit not in _PER_SECOND:
        return value * 1e6  # lower case by now: a million requests, not minutes
    if suffix in _SECONDS:
        return value * _SECONDS[suffix] * _PER_SECOND.get(unit, 1.0)
    return value * _SCALE[suffix]
