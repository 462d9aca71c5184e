"""Rules: what they find, what is refused as a pattern, and that a long text is looked at a stretch at a time."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.control import patterns
from engine.control.patterns import KEYWORDS_MAX, MATCH_CHARS_MAX, PATTERNS_MAX, compiled

elements = st.sampled_from(["a", "b", ".", r"\d", "[ab]", "[^a]", r"\b", "a{2}", r"\d{3}", "[x-z]{2}", " "])
branches = st.lists(elements, min_size=1, max_size=4).map("".join)
whole = st.lists(branches, min_size=1, max_size=3).map("|".join)


def has(text: str, keywords: tuple[str, ...] = (), expressions: tuple[str, ...] = ()) -> bool:
    return list(compiled(keywords, expressions).found(text) or [False])[-1:] == [True]


@given(whole, st.text(st.sampled_from("ab1 xé\n"), max_size=40), st.integers(1, 9))
def test_a_pattern_finds_what_the_plain_expression_finds_wherever_a_stretch_ends(
    pattern: str, text: str, stretch: int
) -> None:
    try:
        rules = compiled((), (pattern,))
    except ValueError:
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_STEP_CHARS", stretch)
        found = list(rules.found(text))[-1]
    assert found == (re.search(pattern, text, re.IGNORECASE) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "a*", "a+", "a?", "a{1,2}", "a{,2}", "a{2,}", "(a)", "(?:a|b)", "(?i)a", "a{2}{3}", "{2}", r"\1", r"\Z", "[a",
        "[z-a]", "", "^", r"\b", "a|", r"\d{257}", "x" * 201, "[[:alpha:]]", "[a--b]", r"\b{2}", "\\", "a)",
    ],
)  # fmt: skip
def test_what_could_match_texts_of_several_lengths_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern 1"):
        compiled((), (pattern,))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"AKIA[0-9A-Z]{16}", "key=AKIA0123456789ABCDEF."), (r"\b\d{4} \d{4}\b", "card 1234 5678!"),
        (r"\.\*|secret", "SECRET"), (r"^start", "Start here"), (r"end$", "the END"), ("[]x]", "]"), (r"[\]\-]", "-"),
    ],
)  # fmt: skip
def test_patterns_that_operators_write_are_found(pattern: str, text: str) -> None:
    assert has(text, (), (pattern,))
    assert not has("nothing of that", (), (pattern,))


@pytest.mark.parametrize(
    "text", ["do BAD Word now", "bad\n\tword", "ｂａｄ word", "bad\u200b word", "a bad word"],
)  # fmt: skip
def test_a_keyword_is_found_whatever_its_case_spacing_and_spelling(text: str) -> None:
    assert has(text, ("Bad  word",))
    assert not has("badword", ("bad word",))


@given(
    st.text(st.sampled_from("aéAe\u0301ﬁ \u200b\u1112\u1161\u11ab\n1"), max_size=30),
    st.text(st.sampled_from("aefi é1\u1161"), min_size=1, max_size=4),
    st.integers(1, 7),
)
def test_where_a_stretch_of_a_text_ends_hides_no_keyword(text: str, keyword: str, stretch: int) -> None:
    assume(keyword.strip())
    rules = compiled((keyword,), ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_STEP_CHARS", stretch)
        found = list(rules.found(text))[-1]
    assert found == (patterns.normal(keyword).strip() in patterns.normal(text))


def test_what_is_not_seen_is_what_unicode_calls_format_characters() -> None:
    unseen = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"}
    assert {character for character in unseen if patterns.normal(f"a{character}b") != "ab"} == set()


def test_rules_are_bounded() -> None:
    for keywords, expressions in (
        (["x"] * (KEYWORDS_MAX + 1), []), ([], ["x"] * (PATTERNS_MAX + 1)), ([""], []), ([" \u200b "], []),
        (["x" * 201], []), ([], [f"a{{{MATCH_CHARS_MAX}}}|b"]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"keyword|pattern"):
            compiled(keywords, expressions)


def test_a_long_text_is_looked_at_in_many_steps() -> None:
    steps = list(compiled(("x", "y"), ("q{3}",)).found("ab" * 200_000))
    assert len(steps) > 8
    assert not any(steps)
