"""Grammar rules as data: which of them can end in finite text, and their GBNF."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Ref(NamedTuple):
    """A rule by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A rule `least` to `most` times."""

    rule: Ref
    least: int
    most: float = math.inf


Part = str | Ref | Repeat  # a str is GBNF without references


@dataclass(frozen=True, slots=True)
class Way:
    """One alternative of a rule. Ways that nobody `asked` for are used only where no other one ends."""

    parts: tuple[Part, ...]
    asked: bool = True


@dataclass(slots=True)
class Rules:
    """Rules by name, in the order in which they were made (users before what they use, mostly)."""

    ways: dict[str, list[Way]] = field(default_factory=dict)

    def gbnf(self, root: str) -> str | None:
        """The grammar from `root` on, without what can never end; None when that is everything."""
        ends: set[str] = set()
        usable = {name: _preferred(ways) for name, ways in self.ways.items()}
        self._grow(ends, usable)
        for name in self.ways:
            if name not in ends:
                usable[name] = self.ways[name]
        self._grow(ends, usable)
        if root not in ends:
            return None
        return "\n".join(self._lines(root, ends, usable)) + "\n"

    def _grow(self, ends: set[str], usable: dict[str, list[Way]]) -> None:
        """Add every rule that ends to `ends`: one of its ways consists of parts that do."""
        grown = True
        while grown:
            before = len(ends)
            for name in reversed(self.ways):
                if name not in ends and any(_ends(way, ends) for way in usable[name]):
                    ends.add(name)
            grown = len(ends) > before

    def _lines(self, root: str, ends: set[str], usable: dict[str, list[Way]]) -> Iterator[str]:
        seen, todo = {root}, [root]
        while todo:
            name = todo.pop()
            ways = [way for way in usable[name] if _ends(way, ends)]
            texts = dict.fromkeys(" ".join(filter(None, (_text(part, ends) for part in way.parts))) for way in ways)
            yield f"{name} ::= " + " | ".join(text or '""' for text in texts)
            used = [part.rule if isinstance(part, Repeat) else part for way in ways for part in way.parts]
            for part in used:
                if isinstance(part, Ref) and part.name in ends and part.name not in seen:
                    seen.add(part.name)
                    todo.append(part.name)


def _preferred(ways: list[Way]) -> list[Way]:
    return [way for way in ways if way.asked] or ways


def _ends(way: Way, ends: set[str]) -> bool:
    return all(_part_ends(part, ends) for part in way.parts)


def _part_ends(part: Part, ends: set[str]) -> bool:
    if isinstance(part, str):
        return True
    if isinstance(part, Repeat):
        return part.least == 0 or part.rule.name in ends
    return part.name in ends


def _text(part: Part, ends: set[str]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Ref):
        return part.name
    if part.rule.name not in ends or part.most == 0:
        return ""
    if part.most == math.inf:
        return f"{part.rule.name}{{{part.least},}}" if part.least else f"{part.rule.name}*"
    return f"{part.rule.name}{{{part.least},{int(part.most)}}}"
