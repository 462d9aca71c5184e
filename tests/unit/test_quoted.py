"""What an error quotes of a request is in no log, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.telemetry.quoted import unquoted

WORDS = st.sampled_from(["the model's name", "the accounts' names", "its value", "of", "is not known:", "and"])


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("deployment 'chat' does not exist", "deployment '...' does not exist"),
        ("the model's name 'x' is taken", "the model's name '...' is taken"),
        (f"name {chr(39) + chr(34) + 'canary'!r} is not known", "name '...' is not known"),
        ('orderBy "it\'s" cannot be read', "orderBy '...' cannot be read"),
        ("nothing is quoted", "nothing is quoted"),
    ],
)
def test_a_quotation_is_left_out_and_our_own_words_stay(message: str, left: str) -> None:
    assert unquoted(message) == left


def test_a_name_that_the_reader_knows_stays_and_no_longer_one_that_begins_or_ends_alike() -> None:
    assert unquoted("account 'local' and 'local2'", {"local"}) == "account 'local' and '...'"
    assert unquoted("'a' \"local\" 'alocal'", {"local"}) == "'...' \"local\" '...'"


@given(st.lists(st.tuples(WORDS, st.text()), min_size=1))
def test_nothing_that_a_client_wrote_is_left_whatever_quotes_it_has(parts: list[tuple[str, str]]) -> None:
    message = " ".join(f"{words} {written!r}" for words, written in parts)
    assert unquoted(message) == " ".join(f"{words} '...'" for words, _ in parts)
