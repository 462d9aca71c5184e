"""Streaming text: UTF-8 and stop strings are held back until they are certain."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.detokenize import TextStream
from engine.replica.job import Delta, Finished, Started, Times, Token
from engine.replica.mailbox import coalesce

ALPHABET = st.text("abé€😀 \n", max_size=40)
STOPS = st.lists(st.text("abé€😀 \n", min_size=1, max_size=4), max_size=4)


def cut_at_first_stop(text: str, stops: list[str]) -> str:
    """The text before the stop string that is complete first; the one that began first when two are."""
    for end in range(len(text) + 1):
        starts = [end - len(s) for s in stops if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)]
    return text


@st.composite
def pieces(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A text and its UTF-8 cut anywhere, also inside characters."""
    text = draw(ALPHABET)
    raw = text.encode()
    cuts = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=10)) | {0, len(raw)})
    return text, [raw[a:b] for a, b in pairwise(cuts)]


@settings(deadline=None)
@given(pieces(), STOPS)
def test_what_is_emitted_is_the_text_cut_at_the_first_stop_however_it_is_tokenised(case, stops) -> None:
    text, tokens = case
    stream, out = TextStream(stops), ""
    for token in tokens:
        out += stream.push(token)
        if stream.stopped:
            break
    assert out + stream.finish() == cut_at_first_stop(text, stops)


@settings(deadline=None)
@given(pieces(), STOPS)
def test_nothing_emitted_is_ever_taken_back(case, stops) -> None:
    text, tokens = case
    stream, out = TextStream(stops), ""
    for token in tokens:
        out += stream.push(token)
        assert cut_at_first_stop(text, stops).startswith(out)
        if stream.stopped:
            break


def test_text_is_emitted_at_once_when_no_stop_can_begin_in_it() -> None:
    stream = TextStream(["###"])
    assert stream.push(b"hello") == "hello"
    assert stream.push(b" #") == " "
    assert stream.push(b"x") == "#x"


def test_an_unfinished_character_ends_as_a_replacement() -> None:
    stream = TextStream()
    assert stream.push("é".encode()[:1]) == ""
    assert stream.finish() == "�"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=3)), max_size=20))
def test_coalesced_events_carry_the_same_text_and_order_for_each_choice(parts) -> None:
    events = [Delta(i, text, (Token(n, n),)) for n, (i, text) in enumerate(parts)]
    merged = coalesce([Started(0, 0), *events, Finished(0, "stop", 1, Times())])
    for choice in range(3):
        before = [e for e in events if e.index == choice]
        after = [e for e in merged if isinstance(e, Delta) and e.index == choice]
        assert "".join(e.text for e in after) == "".join(e.text for e in before)
        assert [t for e in after for t in e.tokens] == [t for e in before for t in e.tokens]
        assert len(after) <= 1
    assert isinstance(merged[0], Started)
    assert isinstance(merged[-1], Finished)
