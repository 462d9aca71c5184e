"""The filter's language and sorting by any column."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core import query, units
from tui.core.columns import Column
from tui.core.query import View


@dataclass(frozen=True)
class One:
    name: str
    ttft: float | None = None
    share: float | None = None


COLUMNS = (
    Column("name", "NAME", lambda r: r.name, 0, 5, align="left"),
    Column("ttft", "TTFT", lambda r: units.milliseconds(r.ttft), 0, 5, value=lambda r: r.ttft, unit="ms"),
    Column("share", "SHARE", lambda r: units.percent(r.share), 0, 5, value=lambda r: r.share, unit="share"),
)
ROWS = (One("chat", 120.0, 0.5), One("base", 1500.0, None), One("Judge", None, 0.02))


def names(text="", sort="", *, reverse=False, rows=ROWS):
    return [row.name for row in query.select(rows, COLUMNS, View(text, sort, reverse), lambda r: r.name.lower())]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", "chat base Judge"), ("judge", "Judge"), ("!judge", "chat base"), ("!", "chat base Judge"),
        ("name:a", "chat base"), ("!name:a", "Judge"), ("ttft>1s", "base"), ("ttft>=120", "chat base"),
        ("ttft<0.5s name:c", "chat"), ("share<10%", "Judge"), ("share>=0.5", "chat"), ("!ttft>1s", "chat Judge"),
        ("ttft>", ""), ("ttft>soon", ""), ("nosuch>3", ""), ("nosuch:x", ""), ("ttft:–", "Judge"),
    ],
)  # fmt: skip
def test_filters(text, left):
    assert " ".join(names(text)) == left


@pytest.mark.parametrize(
    ("sort", "reverse", "ordered"),
    [
        ("name", False, "base chat Judge"), ("name", True, "Judge chat base"), ("ttft", False, "base chat Judge"),
        ("ttft", True, "chat base Judge"), ("share", False, "chat Judge base"), ("nosuch", False, "chat base Judge"),
    ],
)  # fmt: skip
def test_words_from_a_numbers_from_the_highest_and_the_unknown_last_either_way(sort, reverse, ordered):
    assert " ".join(names(sort=sort, reverse=reverse)) == ordered


def test_asking_for_a_column_again_turns_its_order_around():
    view = query.sorted_by(View(), "ttft")
    assert (view.sort, view.reverse) == ("ttft", False)
    assert query.sorted_by(view, "ttft").reverse
    assert not query.sorted_by(query.sorted_by(view, "ttft"), "name").reverse


@given(st.text(max_size=30), st.sampled_from(["", "name", "ttft", "share"]), st.booleans())
def test_no_filter_breaks_and_none_makes_rows(text, sort, reverse):
    assert set(names(text, sort, reverse=reverse)) <= {row.name for row in ROWS}


def test_the_chips_are_the_words():
    assert query.terms(" State:READY  ! queue>0") == ("state:ready", "queue>0")
