"""Filters of lists: the part of AIP-160 that is served. Pure.

    display_name = "chat" AND (state=READY OR state=UPDATING) AND NOT min_replica_count > 2

- `AND`, `OR`, `NOT` (or `-`) and parentheses; `OR` binds tighter than `AND`, as AIP-160 has it.
- `=` `!=` `<` `<=` `>` `>=` compare texts, numbers, instants (RFC 3339) and durations (`30s`) by value; `true` and
  `false` know `=` and `!=` alone. `*` in a text that is compared by `=` or `!=` stands for anything, `\\*` for itself.
- `:` asks whether a list or map has an item or key, whether a text contains one in either case, and with `*` whether a
  field is set.
- Fields in either spelling, those of messages by dots; keys of maps too (`annotations.team`).
- A field that is not set has its type's zero value ("", 0, false), as in protojson; an instant and a duration that are
  not set equal nothing.

Source: https://google.aip.dev/160
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic.alias_generators import to_camel

from client import durations, instants
from client.enums import said
from client.errors import InvalidArgument
from client.wire import Wire
from engine.wire_paths import Leaf, find, reader

TEXT_MAX = 4096  # characters
DEPTH_MAX = 20  # parentheses within each other
TERMS_MAX = 100

Holds = Callable[[Wire], bool]

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_][A-Za-z0-9_/-]*)*")
_COMPARATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'')
_BARE = re.compile(r"[^\s\"'()=<>!,]+")
_SPACE = re.compile(r"\s*")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = frozenset({"AND", "OR", "NOT"})


def compiled(text: str, kind: type[Wire]) -> Holds | None:
    """Whether an item of this class is wanted; None for an empty filter. InvalidArgument says what cannot be read."""
    if not text.strip():
        return None
    if len(text) > TEXT_MAX:
        raise _bad(f"it has more than {TEXT_MAX} characters")
    return _Parser(text, kind).whole()


def _bad(what: str, hint: str = 'write field = "value", joined by AND, OR, NOT and parentheses') -> InvalidArgument:
    return InvalidArgument(f"the filter cannot be read: {what}", field="filter", hint=hint)


class _Parser:
    """Recursive descent: expression > AND > factor > OR > term > NOT > restriction or parentheses."""

    def __init__(self, text: str, kind: type[Wire]) -> None:
        self._text, self._kind = text, kind
        self._at = self._depth = self._terms = 0

    def whole(self) -> Holds:
        holds = self._expression()
        if self._at < len(self._text):
            raise _bad(f"AND, OR or its end was expected at {self._rest()}")
        return holds

    def _expression(self) -> Holds:
        factors = [self._factor()]
        while self._word("AND"):
            factors.append(self._factor())
        return factors[0] if len(factors) == 1 else _all(factors)

    def _factor(self) -> Holds:
        terms = [self._term()]
        while self._word("OR"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else _any(terms)

    def _term(self) -> Holds:
        negated = self._word("NOT") or self._taken("-")
        holds = self._group() if self._taken("(") else self._restriction()
        return (lambda item: not holds(item)) if negated else holds

    def _group(self) -> Holds:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _bad(f"its parentheses are more than {DEPTH_MAX} deep")
        holds = self._expression()
        if not self._taken(")"):
            raise _bad(f"a ')' is missing at {self._rest()}")
        self._depth -= 1
        return holds

    def _restriction(self) -> Holds:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise _bad(f"it has more than {TERMS_MAX} comparisons")
        field = self._match(_FIELD)
        if field is None or field[0] in _WORDS:
            raise _bad(f"a field was expected at {self._rest()}")
        comparator = self._match(_COMPARATOR)
        if comparator is None:
            raise _bad(f"{field[0][:60]!r} is not compared with anything at {self._rest()}")
        return _restriction(self._kind, field[0], comparator[0], *self._value())

    def _value(self) -> tuple[str, bool]:
        """The text of a value and whether it stood in quotes."""
        quoted = self._match(_QUOTED)
        if quoted is not None:
            return (quoted[1] if quoted[1] is not None else quoted[2]), True
        bare = self._match(_BARE)
        if bare is None or bare[0] in _WORDS:
            raise _bad(f"a value was expected at {self._rest()}", "put texts into double quotes")
        return bare[0], False

    def _word(self, word: str) -> bool:
        return self._match(re.compile(rf"{word}(?![A-Za-z0-9_.])")) is not None

    def _taken(self, sign: str) -> bool:
        return self._match(re.compile(re.escape(sign))) is not None

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._space())
        if match is not None:
            self._at = match.end()
            self._at = self._space()
        return match

    def _space(self) -> int:
        space = _SPACE.match(self._text, self._at)
        return space.end() if space else self._at

    def _rest(self) -> str:
        return repr(self._text[self._at :][:60]) if self._at < len(self._text) else "its end"


def _all(parts: Sequence[Holds]) -> Holds:
    def holds(item: Wire) -> bool:
        for part in parts:  # noqa: SIM110  # a list asks this of thousands: a generator doubles its time
            if not part(item):
                return False
        return True

    return holds


def _any(parts: Sequence[Holds]) -> Holds:
    def holds(item: Wire) -> bool:
        for part in parts:  # noqa: SIM110  # as above
            if part(item):
                return True
        return False

    return holds


def _restriction(kind: type[Wire], path: str, comparator: str, value: str, quoted: bool) -> Holds:
    leaf = find(kind, path)
    if leaf is None:
        near = difflib.get_close_matches(path, map(to_camel, kind.model_fields), n=1)
        hint = f"did you mean {near[0]}?" if near else "fields are named as in the JSON of an item"
        raise InvalidArgument(f"the filter names an unknown field {path[:60]!r}", field="filter", hint=hint)
    if comparator == ":" and value == "*" and not quoted:
        value_of = reader(leaf)
        return lambda item: value_of(item) is not None
    if comparator == ":":
        return _has(leaf, path, _unescaped(value))
    return _compared(leaf, path, comparator, value)


def _has(leaf: Leaf, path: str, value: str) -> Holds:
    value_of = reader(leaf)
    if leaf.kind is str:
        wanted = value.casefold()
        return lambda item: wanted in (value_of(item) or "").casefold()
    if leaf.kind in (list, dict):
        return lambda item: value in (value_of(item) or ())
    raise _bad(f"{path!r} is no list, map or text, which ':' looks into", "compare it with =")


def _compared(leaf: Leaf, path: str, comparator: str, value: str) -> Holds:
    if leaf.kind is str and comparator in ("=", "!="):
        _check_known(leaf, path, value)
        return _alike(leaf, value, negated=comparator == "!=")
    wanted, zero = _literal(leaf, path, comparator, value)
    compare, negative, value_of = _ORDERS[comparator], comparator == "!=", reader(leaf)

    def holds(item: Wire) -> bool:
        found = value_of(item)
        if found is None:
            found = zero
        return negative if found is None else compare(found, wanted)

    return holds


def _check_known(leaf: Leaf, path: str, value: str) -> None:
    """A name that an enum does not have would quietly hold for nothing, or for all; "" is one that is not set."""
    if not leaf.known or value in ("", *leaf.known) or "*" in value:
        return
    folded = {name.casefold(): name for name in leaf.known}
    near = difflib.get_close_matches(value.casefold(), folded, n=1)
    hint = f"did you mean {folded[near[0]]}?" if near else f"known: {', '.join(said(leaf.known))}"
    raise _bad(f"{value[:60]!r} is no value of {path!r}", hint)


def _alike(leaf: Leaf, value: str, *, negated: bool) -> Holds:
    """Equality of texts, with `*` for anything."""
    parts, value_of = re.split(r"(?<!\\)\*", value), reader(leaf)
    if len(parts) == 1:
        wanted = _unescaped(value)
        return lambda item: ((value_of(item) or "") == wanted) != negated
    first, *middle, last = (_unescaped(part) for part in parts)
    return lambda item: _matches(value_of(item) or "", first, middle, last) != negated


def _matches(text: str, first: str, middle: Sequence[str], last: str) -> bool:
    """Whether `text` is `first`, anything, each of `middle` with anything behind it, and `last`.

    Each part is taken where it is found first, so that time grows with the text's length however many parts there are;
    a regular expression would try all ways.
    """
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _literal(leaf: Leaf, path: str, comparator: str, value: str) -> tuple[Any, Any]:
    """What is compared with, in the field's type, and what stands for a field that is not set."""
    try:
        if leaf.kind is str:
            return _unescaped(value), ""
        if leaf.kind is bool and comparator in ("=", "!="):
            return {"true": True, "false": False}[value], False
        if leaf.kind is not bool and leaf.kind in (int, float):
            return float(value), 0
        if leaf.kind is datetime:
            return instants.parse(value), None
        if leaf.kind is timedelta:
            return durations.parse(value), None
    except (ValueError, KeyError, InvalidArgument):
        raise _bad(f"{value[:60]!r} is no value for {path!r}", _EXAMPLES[leaf.kind]) from None
    raise _bad(f"{path!r} cannot be compared by '{comparator}'", "name a field below it, or use : to look into it")


_EXAMPLES: dict[Any, str] = {
    bool: "write true or false", int: "write a number", float: "write a number",
    datetime: 'write an instant like "2026-01-31T12:00:00Z"', timedelta: "write a duration like 30s",
}  # fmt: skip


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
