"""The state store: within its budget, oldest first, pinned never; no ordinary state that another one covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.replica.states import Handle, StateStore

BUDGET = 100
TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=5)
SCOPE = st.sampled_from(["a", "b"])


def state(size: int, fill: int = 0) -> np.ndarray:
    return np.full(size, fill, np.uint8)


class StoreAgainstModel(RuleBasedStateMachine):
    """The model is a list of (handle, scope, tokens, size, pinned), used longest ago first."""

    def __init__(self) -> None:
        super().__init__()
        self.store: StateStore[str] = StateStore(BUDGET)
        self.model: list[tuple[Handle, str, list[int], int, bool]] = []
        self.evictions = self.hits = 0

    def touch(self, handle) -> None:
        self.model.sort(key=lambda entry: entry[0] == handle)

    def covering(self, scope, tokens):
        return [e for e in self.model if e[1] == scope and e[2][: len(tokens)] == tokens]

    def without_covered(self, scope, tokens):
        return [e for e in self.model if e[4] or e[1] != scope or tokens[: len(e[2])] != e[2]]

    @rule(scope=SCOPE, tokens=TOKENS, size=st.integers(1, 120), pin=st.booleans())
    def put(self, scope, tokens, size, pin) -> None:
        handle = self.store.put(scope, tokens, state(size), pin=pin)
        covering = self.covering(scope, tokens)
        if covering and not pin:
            assert handle in {e[0] for e in covering}
            self.touch(handle)
            return
        if sum(e[3] for e in self.model if e[4]) + size > BUDGET:
            assert handle is None
            return
        self.model = self.without_covered(scope, tokens)
        while sum(e[3] for e in self.model) + size > BUDGET:
            self.model.remove(next(e for e in self.model if not e[4]))
            self.evictions += 1
        assert handle
        self.model.append((handle, scope, tokens, size, pin))

    @rule(scope=SCOPE, tokens=TOKENS, read=st.booleans())
    def longest(self, scope, tokens, read) -> None:
        common = {
            e[0]: max(n for n in range(len(tokens) + 1) if e[2][:n] == tokens[:n]) for e in self.model if e[1] == scope
        }
        shared, handle = self.store.longest(scope, tokens)
        assert shared == max(common.values(), default=0)
        assert (handle is None) == (shared == 0)
        if handle is not None:
            best = {e[0]: len(e[2]) for e in self.model if common.get(e[0]) == shared}
            assert best[handle] == min(best.values()) == self.store.length(handle)
            if read:
                assert self.store.get(handle).nbytes == next(e[3] for e in self.model if e[0] == handle)
                self.touch(handle)
                self.hits += 1

    @rule(data=st.data(), how=st.sampled_from(["take", "drop"]))
    def leave(self, data, how) -> None:
        if not self.model:
            return
        entry = data.draw(st.sampled_from(self.model))
        getattr(self.store, how)(entry[0])
        self.model.remove(entry)

    @invariant()
    def the_store_holds_what_the_model_holds_within_the_budget(self) -> None:
        assert self.store.bytes_used == sum(e[3] for e in self.model) <= BUDGET
        assert self.store.tokens_kept == sum(len(e[2]) for e in self.model)
        assert self.store.entries == len(self.model)
        assert all(e[0] in self.store for e in self.model)
        assert (self.store.evictions, self.store.hits) == (self.evictions, self.hits)

    @invariant()
    def no_ordinary_state_is_covered_by_another(self) -> None:
        for handle, scope, tokens, _, pinned in self.model:
            assert pinned or {e[0] for e in self.covering(scope, tokens)} == {handle}


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_pinned_states_are_never_thrown_out_and_come_back_as_they_were(sizes) -> None:
    store: StateStore[str] = StateStore(BUDGET)
    pinned = store.put("", [1], state(30, 7), pin=True)
    assert pinned
    for number, size in enumerate(sizes):
        store.put("", [2, number], state(size))
    assert (store.take(pinned) == state(30, 7)).all()
    assert pinned not in store


def test_two_preempted_sequences_with_the_same_tokens_have_a_state_each() -> None:
    store: StateStore[str] = StateStore(BUDGET)
    first, second = store.put("", [1], state(10, 1), pin=True), store.put("", [1], state(10, 2), pin=True)
    assert first
    assert second
    assert store.take(first)[0] == 1
    assert store.take(second)[0] == 2


def test_a_state_that_cannot_fit_beside_the_pinned_ones_throws_nothing_out() -> None:
    store: StateStore[str] = StateStore(BUDGET)
    store.put("", [1], state(60), pin=True)
    ordinary = store.put("", [2], state(40))
    assert store.put("", [2, 3], state(41)) is None
    assert store.put("", [4], state(41), pin=True) is None
    assert ordinary in store
    assert store.put("", [4], state(40), pin=True)
    assert ordinary not in store


def test_bytes_will_do_and_nothing_at_all_will_not() -> None:
    store: StateStore[str] = StateStore(BUDGET)
    handle = store.put("", [1], b"abc")
    assert handle
    assert store.get(handle).tobytes() == b"abc"
    for tokens, held in (([], b"abc"), ([1], b"")):
        with pytest.raises(ValueError, match="at least one"):
            store.put("", tokens, held)
    store.drop(handle)
    with pytest.raises(KeyError):
        store.get(handle)
