"""Which replica has read which beginning of a prompt: hashes of blocks, and a bounded index of them."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.prefix import (
    BLOCK_CHARACTERS,
    BLOCK_TOKENS,
    BLOCKS_MAX,
    BUDGET_BYTES,
    LINK_BYTES,
    PrefixIndex,
    links_of,
)

TEXTS = st.lists(st.sampled_from("ab"), min_size=0, max_size=6).map(
    lambda of: "".join(c * BLOCK_CHARACTERS for c in of)
)


def shared(one: str, other: str) -> int:
    """Whole blocks that two texts begin with alike."""
    count = 0
    while (count + 1) * BLOCK_CHARACTERS <= min(len(one), len(other)):
        if one[: (count + 1) * BLOCK_CHARACTERS] != other[: (count + 1) * BLOCK_CHARACTERS]:
            break
        count += 1
    return count


@given(TEXTS, TEXTS, st.text(max_size=BLOCK_CHARACTERS - 1))
def test_links_are_equal_as_far_as_the_texts_are(one, other, tail):
    ours, theirs = links_of(one + tail, "scope"), links_of(other, "scope")
    assert len(ours) == len(one) // BLOCK_CHARACTERS
    equal = shared(one, other)
    assert ours[:equal] == theirs[:equal]
    assert not set(ours[equal:]) & set(theirs[equal:]), "a link stands for all that comes before it"


def test_what_no_cache_serves_together_has_no_link_in_common():
    text = "x" * 3 * BLOCK_CHARACTERS
    assert not set(links_of(text, ("a", ()))) & set(links_of(text, ("a", ("key",))))


def test_of_a_long_prompt_the_beginning_is_hashed():
    assert len(links_of("x" * (BLOCKS_MAX + 5) * BLOCK_CHARACTERS, None)) == BLOCKS_MAX
    assert len(links_of(tuple(range(BLOCK_TOKENS * 3 + 1)), None, BLOCK_TOKENS)) == 3
    with pytest.raises(TypeError):
        links_of(tuple([{}] * BLOCK_TOKENS), None, BLOCK_TOKENS)


READINGS = st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), TEXTS), max_size=30)


@given(READINGS, TEXTS)
def test_with_room_enough_it_knows_the_longest_beginning_that_each_has_read(readings, text):
    index = PrefixIndex()
    for replica, read in readings:
        index.read(replica, links_of(read, None))
    for replica in ("r1", "r2", "r3"):
        known = max((shared(read, text) for reader, read in readings if reader == replica), default=0)
        assert index.known(replica, links_of(text, None)) == known


@given(READINGS, st.integers(3, 12))
def test_within_its_budget_what_is_known_is_always_a_beginning_and_the_last_read_is_known(readings, links):
    index = PrefixIndex(links * LINK_BYTES)
    last: dict[str, str] = {}
    for replica, text in readings:
        if not text:
            continue
        index.read(replica, links_of(text, None))
        last[replica] = text
        share = links // len(last)
        assert all(index.held(reader) <= share for reader in last)
        whole = links_of(text, None)
        assert index.known(replica, whole) == min(len(whole), share), "the deepest goes first"
        for _, other in readings:
            chain = links_of(other, None)
            kept = [index.known(replica, chain[:n]) == n for n in range(1, len(chain) + 1)]
            assert kept == sorted(kept, reverse=True), "no hole before something that is known"


def test_what_was_read_longest_ago_goes_first_and_a_replicas_own_bound_holds():
    index = PrefixIndex()
    old, new = (links_of(c * 4 * BLOCK_CHARACTERS, None) for c in "ab")
    index.read("r", old, 8)
    index.read("r", new, 6)
    assert (index.known("r", old), index.known("r", new), index.held("r")) == (2, 4, 6)


def test_of_a_replica_that_goes_nothing_is_left():
    index = PrefixIndex()
    links = links_of("x" * 2 * BLOCK_CHARACTERS, None)
    for replica in ("r1", "r2"):
        index.read(replica, links)
    index.keep({"r2", "r3"})
    assert (index.known("r1", links), index.known("r2", links), len(index)) == (0, 2, 2)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="sizes are CPython's")
def test_a_full_index_keeps_within_its_bytes():
    index = PrefixIndex()
    tracemalloc.start()
    for number in range(2 * BUDGET_BYTES // LINK_BYTES // 100):
        index.read("r", links_of(chr(65 + number % 50_000) * 100 * BLOCK_CHARACTERS, number))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{len(index)} links in {used / 2**20:.1f} MiB: {used / len(index):.0f} bytes each")
    assert used <= BUDGET_BYTES
