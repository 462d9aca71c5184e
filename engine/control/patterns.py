"""Words and patterns that a text must not have, looked for in time that grows with the text alone. Pure.

    data   Rules       keywords (plain words, whatever their case and spacing) and patterns
    verbs  compiled    of what an operator wrote, or ValueError that says what is wrong
           found       whether a text has any; a step at a time, so that others may have a turn in between
    near   `engine.access.guards` holds them, `engine.gateway.guards` asks them

A pattern is a regular expression that can match only texts of one length: characters, `.`, classes (`[0-9a-f]`,
`\\d`), `{n}` behind one of these, `^`, `$`, `\\b`, and `|` between whole patterns. No `*`, `+`, `?`, `{m,n}` and no
groups: there is nothing to backtrack over, so that a position costs at most the pattern's length, whatever the text is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KEYWORDS_MAX, KEYWORD_CHARS_MAX = 200, 200
PATTERNS_MAX, PATTERN_CHARS_MAX = 50, 200
MATCH_CHARS_MAX = 256  # that all branches of a pattern match, together
_STEP_CHARS = 1 << 14  # of a text that is looked at before others have a turn
_SPACES = re.compile(r"\s+")
_UNSEEN = re.compile(  # Unicode's format characters (Cf), and the selectors of variants
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef]+"
)
_CUT = re.compile("[!-~]")
_REPEAT = re.compile(r"\{([0-9]{1,3})\}")
_ESCAPED = frozenset("dDsSwW") | frozenset("\\.^$*+?{}[]()|-/'\"&@#%:;,<>=!~ _`")
_WIDTHLESS = frozenset("^$")
_SET_WORDS = frozenset({"--", "&&", "~~", "||"})  # which later Pythons may read otherwise
_SPECIAL = frozenset("*+?{}()]")


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re.Pattern[str]
    longest: int


@dataclass(frozen=True, slots=True)
class Rules:
    keywords: tuple[str, ...] = ()
    patterns: tuple[_Pattern, ...] = ()

    def found(self, text: str) -> Iterator[bool]:
        """Steps, the last of which says whether the text has any of them; it stops at the first."""
        plain = ""
        if self.keywords:
            pieces = []
            for piece in _stretches(text):
                pieces.append(normal(piece))
                yield False
            plain = "".join(pieces)
        for keyword in self.keywords:
            if keyword in plain:
                yield True
                return
            yield False
        for pattern in self.patterns:
            for hit in _steps(pattern, text):
                yield hit
                if hit:
                    return


def compiled(keywords: Sequence[str], patterns: Sequence[str]) -> Rules:
    """ValueError for what is too much, too long, empty, or no pattern of one length."""
    if len(keywords) > KEYWORDS_MAX or len(patterns) > PATTERNS_MAX:
        raise ValueError(f"at most {KEYWORDS_MAX} keywords and {PATTERNS_MAX} patterns")
    plain = [normal(keyword).strip() for keyword in keywords]
    for number, keyword in enumerate(plain):
        if not 0 < len(keyword) <= KEYWORD_CHARS_MAX:
            raise ValueError(f"keyword {number + 1} must have 1 to {KEYWORD_CHARS_MAX} characters")
    return Rules(tuple(dict.fromkeys(plain)), tuple(_compiled(pattern, n + 1) for n, pattern in enumerate(patterns)))


def normal(text: str) -> str:
    """One spelling of what reads alike: NFKC, no case, one space for any blanks, nothing that is not seen."""
    visible = text if text.isascii() else _UNSEEN.sub("", text)
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", visible).casefold())


def _stretches(text: str) -> Iterator[str]:
    """Parts that are spelled the same by themselves: each begins with a sign that no one before it changes."""
    at = 0
    while at < len(text):
        cut = _CUT.search(text, at + _STEP_CHARS)
        end = cut.start() if cut else len(text)
        yield text[at:end]
        at = end


def _steps(pattern: _Pattern, text: str) -> Iterator[bool]:
    """A stretch of the text at a time. Each match begins in one stretch and may end in the next."""
    for start in range(0, max(1, len(text)), _STEP_CHARS):
        end = start + _STEP_CHARS
        match = pattern.expression.search(text, start, end + pattern.longest + 1)  # one more: \b looks behind the match
        yield match is not None and (match.start() < end or end >= len(text))


def _compiled(pattern: str, number: int) -> _Pattern:
    if not 0 < len(pattern) <= PATTERN_CHARS_MAX:
        raise ValueError(f"pattern {number} must have 1 to {PATTERN_CHARS_MAX} characters")
    try:
        lengths = _lengths(pattern)
        expression = re.compile(pattern, re.IGNORECASE)
    except (ValueError, re.error) as error:
        raise ValueError(f"pattern {number}: {error}") from None
    if min(lengths) < 1:
        raise ValueError(f"pattern {number} would match an empty text")
    if sum(lengths) > MATCH_CHARS_MAX:
        raise ValueError(f"pattern {number} matches {sum(lengths)} characters, more than {MATCH_CHARS_MAX}")
    return _Pattern(expression, max(lengths))


def _lengths(pattern: str) -> list[int]:
    """How many characters each branch matches; ValueError for whatever may match texts of several lengths."""
    lengths, at = [0], 0
    while at < len(pattern):
        if pattern[at] == "|":
            lengths.append(0)
            at += 1
            continue
        at, width = _one(pattern, at)
        repeat = _REPEAT.match(pattern, at)
        if repeat is not None:
            if not width:
                raise ValueError("{n} needs a character or a class in front of it")
            at, width = repeat.end(), width * int(repeat[1])
        lengths[-1] += width
    return lengths


def _one(pattern: str, at: int) -> tuple[int, int]:
    """Past one element, and how many characters that matches."""
    here = pattern[at]
    if here == "[":
        return _class_end(pattern, at), 1
    if here == "\\":
        after = pattern[at + 1 : at + 2]
        if after == "b":
            return at + 2, 0
        if after not in _ESCAPED:
            raise ValueError("a backslash stands in front of d, D, s, S, w, W, b or a sign")
        return at + 2, 1
    if here in _SPECIAL:
        raise ValueError(f"{here} is not possible: only {{n}} repeats, and there are no groups")
    return at + 1, 0 if here in _WIDTHLESS else 1


def _class_end(pattern: str, at: int) -> int:
    """Past `[...]`."""
    at += 2 if pattern[at + 1 : at + 2] == "^" else 1
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        if pattern[at] == "[" or pattern[at : at + 2] in _SET_WORDS:
            raise ValueError("[ and --, &&, ~~, || need a backslash within a class")
        if pattern[at] == "\\" and pattern[at + 1 : at + 2] not in _ESCAPED:
            raise ValueError("a backslash stands in front of d, D, s, S, w, W or a sign")
        at += 2 if pattern[at] == "\\" else 1
    if at >= len(pattern):
        raise ValueError("a class has no end")
    return at + 1
