"""What a window lets out: never a part of a match, and in the end the same verdict as on the whole text."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from engine.control.patterns import compiled, normal
from engine.control.windowed import _BEGINS, Window

SIGNS = "abAB x.\n\té\u0301\u200b\ufb01世ф\u3099か각\u11a8"
KEYWORDS = st.lists(st.sampled_from(["ab", "a b", "xa.b", "fi", "世a", "éa", "фф", "が", "x"]), max_size=3)
PATTERNS = st.lists(
    st.sampled_from(["ab", "a.b", "^ab", "ab$", r"\bx", r"x\b", "[ab]{3}", "b....x$|a", "x|a..b"]), max_size=3
)
PIECES = st.lists(st.text(st.sampled_from(SIGNS), max_size=5), max_size=12)


def verdict(rules, text: str) -> bool:
    return [*rules.found(text), False][-2:-1] == [True] if text else False


@given(KEYWORDS, PATTERNS, PIECES)
@example([], ["b....x$|a"], ["bcdefx", "\n", "z", "zz"])
@example(["fi"], [], ["\ufb01", "a", "b"])
def test_it_finds_what_the_whole_has_and_lets_out_nothing_of_a_match(keywords, expressions, pieces) -> None:
    rules = compiled(keywords, expressions)
    whole, window, fed = "".join(pieces), Window(rules), ""
    for piece in pieces:
        before = window.safe
        found = window.feed(piece)
        fed += piece
        assert before <= window.safe <= len(fed)
        if found:
            break
    else:
        found = False
    assert not found or verdict(rules, whole), "what it finds is in the whole"
    if not verdict(rules, whole):
        return
    for one in rules.patterns:
        match = one.expression.search(whole)
        assert match is None or match.start() >= window.safe
    for keyword in rules.keywords:
        if keyword in normal(whole):
            assert keyword in normal(whole[window.safe :])
            assert keyword not in normal(whole[: window.safe])


@given(st.text(st.sampled_from("abc "), min_size=60, max_size=90))
def test_no_more_is_held_back_than_a_match_may_be_long(text: str) -> None:
    window = Window(compiled(["z" * 10], ["y{20}"]))
    for sign in text:
        assert not window.feed(sign)
    assert len(text) - window.safe == 21
    window = Window(compiled(["z" * 10], []))
    for sign in text:
        assert not window.feed(sign)
    assert len(normal(text[window.safe :])) <= 10 + 2  # a blank belongs to what is before it


def test_a_text_without_any_sign_to_begin_with_is_held_back_whole() -> None:
    window = Window(compiled(["x"], []))
    assert not any(window.feed("\u0e01\u0e02") for _ in range(100))
    assert window.safe == 0


def test_a_sign_that_begins_a_unit_combines_with_nothing_before_it() -> None:
    every = [chr(code) for code in range(0x110000)]
    forms = [unicodedata.decomposition(one).split() for one in every]
    seconds = {chr(int(form[1], 16)) for form in forms if len(form) == 2 and not form[0].startswith("<")}
    begins = [one for one in every if _BEGINS.fullmatch(one)]
    assert len(begins) > 30_000
    assert not seconds & {*begins}
    assert all(unicodedata.combining(one) == 0 for one in begins)
