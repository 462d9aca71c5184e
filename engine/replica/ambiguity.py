"""How ambiguous a GBNF grammar can be at one point, from its text alone. Pure.

llama.cpp follows every reading of a grammar at once and tests each token of the vocabulary against all of them, so
`("a"?){200}` keeps a core busy for minutes (measured: 25 optional items in a row 16 ms a token, 50: 130 ms,
100: 3 s). Two figures bound that: `width`, the terminals that may come next, and `skips`, the optional items that
can be passed over in a row to reach them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_WIDTH = 64  # of a client's own grammar: a recursive one multiplies its readings by this with every token
MAX_SCHEMA_WIDTH = 600  # of a grammar made from a schema, which is never recursive: long enums
MAX_WIDTH_TIMES_SKIPS = 12_000  # 60 optional properties: 11,000 and 17 ms; `("a"?){75}`: about a second
MAX_RULES = 4_000

REPETITION = re.compile(r"\{\s*([0-9]{1,9})\s*(?:(,)\s*([0-9]{0,9})\s*)?\}")  # {least}, {least,}, {least,most}
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<define>[A-Za-z0-9-]+\s*::=)|(?P<name>[A-Za-z0-9-]+)
    |(?P<literal>"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\.|<\[[^\]]*\]>)
    |(?P<repeat>[*+?]|\{[^{}]*\})|(?P<mark>[()|])""",
    re.S | re.X,
)


class NotGbnf(ValueError):
    """The text cannot be read as GBNF; the message says where."""


@dataclass(frozen=True, slots=True)
class First:
    """What may come next at one point of a grammar. `empty`: the point can also be passed without any text."""

    width: int
    skips: int
    empty: bool

    def then(self, following: First) -> First:
        """This item followed by `following`, which only shows when this one can be empty."""
        if not self.empty:
            return self
        return First(self.width + following.width, self.skips + following.skips + 1, following.empty)

    def either(self, other: First) -> First:
        return First(self.width + other.width, max(self.skips, other.skips), self.empty or other.empty)

    def times(self, least: int, most: int) -> First:
        """This item repeated. Only copies of an item that can be empty add up."""
        copies = max(1, most) if self.empty else 1
        return First(self.width * copies, (self.skips + 1) * copies - 1, self.empty or least == 0)


@dataclass(slots=True)
class Item:
    """A terminal (`name` and `group` empty), a rule by name, or a group; with its repetition."""

    name: str = ""
    group: list[list[Item]] = field(default_factory=list)
    blank: bool = False  # the literal ""
    least: int = 1
    most: int = 1


NOTHING = First(0, 0, True)


def too_ambiguous(gbnf: str, max_width: int) -> bool:
    """Whether any point of the grammar passes `max_width` or MAX_WIDTH_TIMES_SKIPS. Raises NotGbnf."""
    return any(
        point.width > max_width or point.width * point.skips > MAX_WIDTH_TIMES_SKIPS
        for point in _Measure(_read(gbnf)).points()
    )


class _Measure:
    """Every rule and every group is measured once: the time is linear in the length of the grammar."""

    def __init__(self, rules: dict[str, list[list[Item]]]) -> None:
        self._rules = rules
        self._known: dict[str, First | None] = {}  # None: being measured
        self._groups: dict[int, First] = {}  # by id of the item, which `_rules` keeps alive

    def points(self) -> Iterator[First]:
        """Every point where reading can stand: before each item of each sequence."""
        for name, alternatives in self._rules.items():
            yield self._rule(name)
            yield from self._inside(alternatives)

    def _inside(self, alternatives: list[list[Item]]) -> Iterator[First]:
        for sequence in alternatives:
            rest = NOTHING
            for item in reversed(sequence):
                rest = self._item(item).then(rest)
                yield rest
                if item.group:
                    yield from self._inside(item.group)

    def _alternatives(self, alternatives: list[list[Item]]) -> First:
        first = self._sequence(alternatives[0])
        for sequence in alternatives[1:]:
            first = first.either(self._sequence(sequence))
        return first

    def _sequence(self, items: list[Item]) -> First:
        """What a sequence begins with; looks no further than the first item that cannot be empty."""
        reach = next((n + 1 for n, item in enumerate(items) if not self._item(item).empty), len(items))
        first = NOTHING
        for item in reversed(items[:reach]):
            first = self._item(item).then(first)
        return first

    def _item(self, item: Item) -> First:
        if item.group:
            if id(item) not in self._groups:
                self._groups[id(item)] = self._alternatives(item.group)
            inner = self._groups[id(item)]
        elif item.name:
            inner = self._rule(item.name)
        else:
            inner = First(0 if item.blank else 1, 0, item.blank)
        return inner.times(item.least, item.most)

    def _rule(self, name: str) -> First:
        if name not in self._rules:
            raise NotGbnf(f"no rule {name[:50]}")
        if name not in self._known:
            self._known[name] = None
            self._known[name] = self._alternatives(self._rules[name])
        known = self._known[name]
        if known is None:
            raise NotGbnf(f"rule {name[:50]} begins with itself")
        return known


def _read(gbnf: str) -> dict[str, list[list[Item]]]:
    """Rules as alternatives of sequences of items."""
    rules: dict[str, list[list[Item]]] = {}
    stack: list[list[list[Item]]] = []
    at = 0
    while at < len(gbnf):
        found = _TOKEN.match(gbnf, at)
        if found is None:
            raise NotGbnf(f"cannot read {gbnf[at : at + 20]!r}")
        at, kind, text = found.end(), found.lastgroup, found.group()
        if kind == "define":
            stack = [[[]]]
            rules[text.removesuffix("::=").strip()] = stack[0]
        elif kind != "space":
            if not stack:
                raise NotGbnf("text before the first rule")
            _add(stack, str(kind), text)
    if len(stack) > 1 or len(rules) > MAX_RULES:
        raise NotGbnf("unbalanced parentheses or too many rules")
    return rules


def _add(stack: list[list[list[Item]]], kind: str, text: str) -> None:
    """Add one token to the innermost open group."""
    sequence = stack[-1][-1]
    if kind == "name":
        sequence.append(Item(name=text))
    elif kind == "literal":
        sequence.append(Item(blank=text == '""'))
    elif text == "|":
        stack[-1].append([])
    elif text == "(":
        group: list[list[Item]] = [[]]
        sequence.append(Item(group=group))
        stack.append(group)
    elif text == ")":
        stack.pop()
        if not stack:
            raise NotGbnf("unbalanced parentheses")
    else:
        _repeat(sequence, text)


def _repeat(sequence: list[Item], text: str) -> None:
    if not sequence:
        raise NotGbnf("a repetition of nothing")
    item = sequence[-1]
    if text in "*+?":
        item.least, item.most = (1 if text == "+" else 0), 1
        return
    found = REPETITION.fullmatch(text)
    if found is None:
        raise NotGbnf(f"cannot read {text[:20]!r}")
    low, comma, high = found.groups()
    item.least = int(low)
    item.most = int(high) if high else item.least + bool(comma)
