"""The radix index against brute force: the same longest prefix, and a tree no larger than it must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.replica.radix import RadixIndex

# Few distinct tokens and few distinct beginnings: most lists share something.
TOKENS = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from([[], [0], [0, 1, 2], [0, 1, 2, 0, 1, 2], [1, 1]]),
    st.lists(st.integers(0, 2), max_size=6),
)
SCOPE = st.sampled_from(["a", "b"])
HOLDER = st.integers(0, 7)


def shared(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def nodes_of(index: RadixIndex) -> list:
    found, rest = [], list(index._roots.values())
    while rest:
        node = rest.pop()
        found.append(node)
        rest += node.children.values()
    return found


class IndexAgainstBruteForce(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index: RadixIndex[str, int] = RadixIndex()
        self.model: dict[int, tuple[str, list[int]]] = {}

    @rule(scope=SCOPE, tokens=TOKENS, holder=HOLDER)
    def insert(self, scope, tokens, holder) -> None:
        self.index.insert(scope, tokens, holder)
        self.model[holder] = scope, tokens

    @rule(holder=HOLDER)
    def remove(self, holder) -> None:
        self.index.remove(holder)
        self.model.pop(holder, None)

    @rule(scope=SCOPE, tokens=TOKENS, eligible=st.sets(HOLDER))
    def longest(self, scope, tokens, eligible) -> None:
        lengths = {h: shared(t, tokens) for h, (s, t) in self.model.items() if s == scope and h in eligible}
        best = max(lengths.values(), default=0)
        expected = {h for h, length in lengths.items() if length == best} if best else set()
        length, holders = self.index.longest(scope, tokens, eligible=eligible.__contains__)
        assert length == best
        assert set(holders) == expected
        assert len(holders) == len(expected)
        assert holders == sorted(holders, key=lambda h: len(self.model[h][1]))

    @rule(scope=SCOPE, tokens=TOKENS)
    def prefixes(self, scope, tokens) -> None:
        expected = {h for h, (s, t) in self.model.items() if s == scope and tokens[: len(t)] == t}
        assert set(self.index.prefixes(scope, tokens)) == expected

    @invariant()
    def nothing_is_lost_and_nothing_leaks(self) -> None:
        assert len(self.index) == len(self.model)
        assert {s for s, _ in self.model.values()} == set(self.index._roots)
        held = {}
        for node in nodes_of(self.index):
            held |= dict.fromkeys(node.holders, node.end)
            if node.parent is None:
                assert node.end == 0
                continue
            assert node.holders or len(node.children) > 1
            assert node.end == node.parent.end + len(node.edge)
            assert node.parent.children[int(node.edge[0])] is node
            assert node.edge.base is None, "a view would keep the whole prompt"
        assert held == {h: len(t) for h, (_, t) in self.model.items()}
        assert all(self.index.length(h) == n for h, n in held.items())


TestIndexAgainstBruteForce = IndexAgainstBruteForce.TestCase
TestIndexAgainstBruteForce.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(TOKENS, st.integers(1, 5))
def test_no_more_holders_are_returned_than_asked_for(tokens, limit) -> None:
    index: RadixIndex[str, int] = RadixIndex()
    for holder in range(8):
        index.insert("", [7, *tokens], holder)
    assert index.longest("", [7], limit=limit) == (1, list(range(limit)))


def test_what_is_inserted_is_copied_and_an_array_will_do() -> None:
    index: RadixIndex[str, int] = RadixIndex()
    tokens = np.arange(5)
    index.insert("", tokens, 0)
    tokens[:] = 9
    assert index.longest("", np.arange(5, dtype=np.int32)) == (5, [0])


def test_what_is_no_list_of_tokens_is_refused_and_changes_nothing() -> None:
    index: RadixIndex[str, int] = RadixIndex()
    index.insert("", [1, 2], 0)
    with pytest.raises(ValueError, match="one-dimensional"):
        index.insert("", np.zeros((2, 2), np.int32), 0)
    with pytest.raises(OverflowError):
        index.insert("", [2**31], 0)
    assert index.longest("", [1, 2]) == (2, [0])


def test_a_conversation_of_many_turns_is_found_at_any_depth() -> None:
    index: RadixIndex[str, int] = RadixIndex()
    talk = list(range(300))
    for turn in range(300):
        index.insert("", talk[: turn + 1], turn)
    assert index.longest("", [*talk[:150], -1], eligible=lambda h: h == 299) == (150, [299])
    for turn in range(300):
        index.remove(turn)
    assert not nodes_of(index)
