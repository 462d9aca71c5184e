"""Random texts of a GBNF grammar, for tests: an independent reading of the notation, not llama.cpp's."""

from __future__ import annotations

import random
import re
from typing import Any

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<define>[A-Za-z0-9-]+)\s*::=|(?P<name>[A-Za-z0-9-]+)|(?P<text>"(?:\\.|[^"\\])*")
    |(?P<chars>\[(?:\\.|[^\]\\])*\])|(?P<repeat>[*+?]|\{[^{}]*\})|(?P<mark>[()|])""",
    re.S | re.X,
)
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})|\\(.)", re.S)
_OTHERS = "aZ09 ~é€\u2028\ud7ff\ue000\uffff😀\U0010ffff/-.,:{}[]'"  # to choose from where a class excludes
_SIZE = 400  # rules used before a text is brought to its end

Node = tuple[Any, ...]  # ("text", str) ("chars", set, negated) ("rule", name) ("any", [[Node]]) ("times", Node, m, n)


class Texts:
    """Random texts of one grammar."""

    def __init__(self, gbnf: str) -> None:
        self._rules = _parse(gbnf)
        self._left = _SIZE
        self._height: dict[str, float] = {}  # of the lowest derivation of each rule
        while True:
            grown = {name: self._any_height(ways) + 1 for name, ways in self._rules.items()}
            if grown == self._height:
                break
            self._height = grown

    def one(self, chance: random.Random, depth: int = 40) -> str:
        """A text of the rule `root`; past `depth` rules, or when it gets long, the lowest way out is taken."""
        self._left = _SIZE
        return self._ways(self._rules["root"], chance, depth)

    def _ways(self, ways: list[list[Node]], chance: random.Random, depth: int) -> str:
        self._left -= 1
        heights = [self._row_height(row) for row in ways]
        limit = max(min(heights), depth if self._left > 0 else 0)
        row = chance.choice([row for row, height in zip(ways, heights, strict=True) if height <= limit])
        return "".join(self._node(node, chance, depth) for node in row)

    def _node(self, node: Node, chance: random.Random, depth: int) -> str:
        kind, value = node[0], node[1]
        if kind == "text":
            return str(value)
        if kind == "chars":
            return chance.choice([c for c in _OTHERS if c not in value] if node[2] else sorted(value))
        if kind == "rule":
            return self._ways(self._rules[value], chance, depth - 1)
        if kind == "any":
            return self._ways(value, chance, depth)
        _, inner, least, most = node
        spread = (0, 1, 3, 300 if self._height_of(inner) < 2 else 3)
        top = least if self._left <= 0 or self._height_of(inner) > depth else min(most, least + chance.choice(spread))
        return "".join(self._node(inner, chance, depth) for _ in range(chance.choice((least, top))))

    def _height_of(self, node: Node) -> float:
        if node[0] == "rule":
            return self._height.get(node[1], float("inf"))
        if node[0] == "any":
            return self._any_height(node[1])
        return self._height_of(node[1]) if node[0] == "times" and node[2] else 0

    def _row_height(self, row: list[Node]) -> float:
        return max((self._height_of(node) for node in row), default=0)

    def _any_height(self, ways: list[list[Node]]) -> float:
        return min(self._row_height(row) for row in ways)


def _parse(gbnf: str) -> dict[str, list[list[Node]]]:
    rules: dict[str, list[list[Node]]] = {}
    stack: list[list[list[Node]]] = []
    at = 0
    while at < len(gbnf):
        found = _TOKEN.match(gbnf, at)
        assert found, gbnf[at : at + 40]
        at, kind, text = found.end(), found.lastgroup, found.group()
        if kind == "define":
            stack = [[[]]]
            rules[found["define"]] = stack[0]
        elif kind == "text":
            stack[-1][-1].append(("text", _unescape(text[1:-1])))
        elif kind == "chars":
            stack[-1][-1].append(_chars(text[1:-1]))
        elif kind == "name":
            stack[-1][-1].append(("rule", text))
        elif kind == "repeat":
            stack[-1][-1][-1] = ("times", stack[-1][-1][-1], *_bounds(text))
        elif text == "|":
            stack[-1].append([])
        elif text == "(":
            group: list[list[Node]] = [[]]
            stack[-1][-1].append(("any", group))
            stack.append(group)
        elif text == ")":
            stack.pop()
    return rules


def _unescape(text: str) -> str:
    plain = {"n": "\n", "r": "\r", "t": "\t"}
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else plain.get(m[2], m[2]), text)


def _chars(text: str) -> Node:
    negated = text.startswith("^")
    marks = re.findall(r"\\x[0-9A-Fa-f]{2}|\\.|.", text[negated:], re.S)
    chars: set[str] = set()
    while marks:
        first = last = _unescape(marks.pop(0))
        if len(marks) > 1 and marks[0] == "-":
            last = _unescape(marks[1])
            del marks[:2]
        chars |= {chr(code) for code in range(ord(first), ord(last) + 1)}
    return ("chars", chars, negated)


def _bounds(text: str) -> tuple[int, float]:
    if text in "*+?":
        return (1 if text == "+" else 0), (1 if text == "?" else float("inf"))
    low, comma, high = text[1:-1].partition(",")
    return int(low), int(high) if high else float("inf") if comma else int(low)
