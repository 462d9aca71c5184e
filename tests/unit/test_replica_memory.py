"""Where prompts go in a replica's memory: never more reused than is there, never across scopes, never a running
sequence's id; what is pushed out goes to RAM."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engine.replica.memory import MIN_REUSE_TOKENS, Memory, Prefix
from tests.unit.replica_fakes import FakeContext

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=60)
SCOPES = st.sampled_from(["a", "b"])


def new_memory(cells: FakeContext, budget_bytes: int = 1 << 20) -> Memory:
    return Memory(cells, can_reuse=True, budget_bytes=budget_bytes)


def array(tokens: list[int]) -> np.ndarray:
    return np.asarray(tokens, np.int32)


def compute(memory: Memory, cells: FakeContext, identifier: int, scope: str, tokens: list[int]) -> None:
    """A sequence came, computed all of `tokens` at an empty id, and went."""
    cells.held[identifier] = list(tokens)
    memory.hold(identifier, scope, list(tokens), tokens)
    memory.release(identifier)


def find(memory: Memory, scope: str, prompt: list[int], **limits: int) -> Prefix:
    return memory.find(scope, array(prompt), **limits)


class Machine(RuleBasedStateMachine):
    """Sequences come, compute, are parked, resumed and go; what an id holds is always what it should."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = FakeContext()
        self.memory = new_memory(self.cells, 600)
        self.running: dict[int, tuple[str, list[int], list[int]]] = {}
        self.parked: list[tuple[str, list[int], object]] = []

    def free(self) -> list[int]:
        return [i for i in range(self.cells.slots) if i not in self.running]

    @precondition(lambda self: len(self.running) < self.cells.slots)
    @rule(scope=SCOPES, prompt=TOKENS)
    def come(self, scope: str, prompt: list[int]) -> None:
        prefix = find(self.memory, scope, prompt)
        if prefix.awaited:
            others = [(p, held) for s, p, held in self.running.values() if s == scope and len(held) < len(p)]
            assert any(p[:MIN_REUSE_TOKENS] == prompt[:MIN_REUSE_TOKENS] for p, _held in others)
            return
        target, reused = self.memory.place(prefix, self.free())
        assert target not in self.running
        assert reused < len(prompt)
        assert self.cells.held[target] == prompt[:reused]
        held = prompt[:reused]
        self.memory.hold(target, scope, held, prompt)
        self.running[target] = (scope, prompt, held)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), count=st.integers(1, 40))
    def go_on(self, data: st.DataObject, count: int) -> None:
        identifier = data.draw(st.sampled_from(sorted(self.running)))
        _scope, prompt, held = self.running[identifier]
        more = prompt[len(held) : len(held) + count] or [1]
        held += more
        self.cells.held[identifier] += more

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        identifier = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[identifier]
        self.memory.release(identifier)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        identifier = data.draw(st.sampled_from(sorted(self.running)))
        scope, _prompt, held = self.running.pop(identifier)
        self.parked.append((scope, list(held), self.memory.park(identifier)))

    @precondition(lambda self: self.parked and len(self.running) < self.cells.slots)
    @rule()
    def resume(self) -> None:
        scope, held, handle = self.parked.pop()
        target, restored = self.memory.resume(handle, self.free())  # type: ignore[arg-type]
        assert target not in self.running
        assert self.cells.held[target] == (held if restored else [])
        now = held if restored else []
        self.memory.hold(target, scope, now, held)
        self.running[target] = (scope, held, now)


TestMachine = Machine.TestCase


@given(st.lists(st.tuples(SCOPES, TOKENS), max_size=4), TOKENS, SCOPES)
def test_what_is_found_is_a_true_prefix_of_the_same_scope_and_leaves_a_token_to_evaluate(held, prompt, scope) -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    for identifier, (of, tokens) in enumerate(held):
        compute(memory, cells, identifier, of, tokens)
    prefix = find(memory, scope, prompt)
    assert prefix.tokens < len(prompt)
    if prefix.source is not None:
        assert held[prefix.source][0] == scope
        assert held[prefix.source][1][: prefix.tokens] == prompt[: prefix.tokens]


def test_a_small_loss_is_taken_in_place_and_a_large_one_is_copied_elsewhere() -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    shared = list(range(50))
    compute(memory, cells, 0, "a", [*shared, 7])
    assert memory.place(find(memory, "a", [*shared, 8, 8]), [0, 1]) == (0, 50)
    compute(memory, cells, 1, "a", [*shared, 9, *[7] * 10])
    assert memory.place(Prefix(20, source=1), [0, 1, 2]) == (2, 20)
    assert cells.held[2] == shared[:20]


def test_a_running_sequence_is_copied_and_never_taken() -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    cells.held[0] = list(range(20))
    memory.hold(0, "a", list(range(20)), list(range(20)))
    assert memory.place(find(memory, "a", list(range(30))), [1]) == (1, 20)
    assert cells.held[0] == cells.held[1] == list(range(20))


def test_the_last_id_gives_its_tokens_to_ram_before_it_is_cut() -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    long = list(range(60))
    compute(memory, cells, 0, "a", long)
    assert memory.place(find(memory, "a", [*long[:10], 99, 99]), [0]) == (0, 10)
    assert memory.states.longest("a", array(long))[0] == 60


def test_the_bound_of_a_request_on_reuse_is_kept() -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    compute(memory, cells, 0, "a", list(range(20)))
    assert find(memory, "a", list(range(20)), max_reuse=0) == Prefix()
    assert find(memory, "a", list(range(20)), max_reuse=5).tokens == 5


def test_a_conversation_that_just_ended_outlives_one_that_ended_before_it() -> None:
    cells = FakeContext()
    memory = new_memory(cells)
    for identifier in (1, 0, 2, 3):
        compute(memory, cells, identifier, "a", [identifier])
    assert memory.place(Prefix(), [0, 1, 2, 3])[0] == 1


def test_what_was_pushed_aside_is_not_thrown_out_for_prefixes() -> None:
    cells = FakeContext()
    memory = new_memory(cells, budget_bytes=600)  # two states of 60 tokens
    aside = list(range(50))
    cells.held[0] = list(aside)
    memory.hold(0, "a", list(aside), aside)
    handle = memory.park(0)
    for number in range(6):  # each makes the one before go to RAM, as the parked one's own copy does
        target, _reused = memory.place(Prefix(), [0])
        compute(memory, cells, target, "b", [100 + number] * 60)
    assert memory.states.evictions > 0
    assert memory.resume(handle, [0]) == (0, True)
    assert cells.held[0] == aside


def test_with_shared_cells_idle_prefixes_make_room_and_running_ones_do_not() -> None:
    class Tiny(FakeContext):
        unified, capacity = True, 100

    cells = Tiny()
    memory = new_memory(cells)
    compute(memory, cells, 0, "a", [1] * 40)
    cells.held[1] = [2] * 50
    memory.hold(1, "a", [2] * 50, [2] * 50)
    assert memory.make_room(10, [0, 2, 3])
    assert cells.held[0]
    assert memory.make_room(40, [0, 2, 3])
    assert not cells.held[0]
    assert not memory.make_room(60, [0, 2, 3])
