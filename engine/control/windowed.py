"""How much of a text may be let out while it is still being written, under rules that it must not break. Pure.

    data   Window   one text: fed piece by piece, it says whether a rule is broken, and `safe`
    near   `engine.control.patterns` has the rules, `engine.gateway.passing` the events

`safe` characters may go: no match that whatever follows could still complete begins before them. A pattern matches
texts of one length, so that many characters are held back. A keyword is compared in one spelling (no case, one space
for blanks), so what is held back is counted in that spelling, and in whole units: a character that no one before it
changes, with all that follows up to the next such one. In a script without any such character nothing is safe before
the end.
What is found here is found in the whole text too, and the other way round but for what its last characters decide.
"""

from __future__ import annotations

import re
from collections import deque

from engine.control.patterns import Rules, normal

# Begin a unit: of visible ASCII, Greek, Cyrillic, Hebrew, Arabic, kana, Han and Hangul the characters that combine with
# none before them (https://www.unicode.org/reports/tr15/, class 0 and second in no composition).
_BEGINS = re.compile(
    "[!-~\u0391-\u03a1\u03a3-\u03a9\u03b1-\u03c9\u0410-\u044f\u05d0-\u05ea\u0621-\u063a\u0641-\u064a"
    "\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
_UNDECIDED = 2  # last characters: `$` matches at the end and in front of a last line feed, `\b` looks at the next one


class Window:
    """`safe`: characters from the beginning on."""

    def __init__(self, rules: Rules) -> None:
        self.safe = 0
        self._rules = rules
        self._longest = max([one.longest for one in rules.patterns], default=0)
        self._keyword = max([len(one) for one in rules.keywords], default=0)
        self._length = 0
        self._recent = ""  # for patterns: with one character more than can be in a match, for what looks behind it
        self._open = ""  # the unit that may go on
        self._units: deque[tuple[int, int]] = deque()  # that are held back: characters, and characters in one spelling
        self._plain = ""  # those in one spelling, and as many before them as a keyword may have
        self._spelled = self._let = 0

    def feed(self, piece: str) -> bool:
        """Whether a rule is broken by now."""
        self._length += len(piece)
        if self._pattern(piece) or self._word(piece):
            return True
        by_patterns = self._length - self._longest - 1 if self._longest else self._length
        by_keywords = self._let if self._keyword else self._length
        self.safe = max(self.safe, min(by_patterns, by_keywords))
        return False

    def _pattern(self, piece: str) -> bool:
        if not self._longest:
            return False
        text = self._recent + piece
        begins_here = len(text) == self._length
        for one in self._rules.patterns:
            found = one.expression.search(text, 0 if begins_here else 1)
            while found is not None and found.end() > len(text) - _UNDECIDED:
                found = one.expression.search(text, found.start() + 1)
            if found is not None:
                return True
        self._recent = text[-(self._longest + _UNDECIDED + 1) :]
        return False

    def _word(self, piece: str) -> bool:
        if not self._keyword:
            return False
        text = self._open + piece
        starts = [found.start() for found in _BEGINS.finditer(text)]
        ends = [at for at in starts if at > 0]
        plain = []
        for start, end in zip([0, *ends], ends, strict=False):
            spelled = normal(text[start:end])
            plain.append(spelled)
            self._units.append((end - start, len(spelled)))
            self._spelled += len(spelled)
        self._open = text[ends[-1] :] if ends else text
        self._plain += "".join(plain)
        if any(keyword in self._plain for keyword in self._rules.keywords):
            return True
        while self._units and self._spelled - self._units[0][1] >= self._keyword - 1:
            characters, spelled_length = self._units.popleft()
            self._let, self._spelled = self._let + characters, self._spelled - spelled_length
        self._plain = self._plain[-self._spelled :] if self._spelled else ""
        return False
