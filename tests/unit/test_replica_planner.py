"""The planner of a replica: properties that hold for every mix of running and prefilling sequences."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.replica.costs import CostTable
from engine.replica.planner import (
    Limits,
    Prefilling,
    Running,
    compaction,
    consecutive_runs,
    partition,
    plan_chunks,
    plan_turns,
    tabulate,
    total_cost,
)

SLOTS = 16
RANKS = st.integers(0, 9)
IDS = st.sets(st.integers(0, SLOTS - 1))
COSTS = st.builds(
    lambda a, b, c, d, e: CostTable({1: a, 2: b, 4: c, 8: d, 16: e}, 1.0), *[st.floats(0.1, 100) for _ in range(5)]
)
LIMITS = st.builds(
    Limits, st.integers(1, 512), st.integers(1, 64), st.floats(0.01, 50), st.floats(1, 200), st.floats(1, 1000)
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Running], list[Prefilling]]:
    """Disjoint running and prefilling ids under any adapters, with anything left to prefill and any history."""
    adapters = st.sampled_from(["", "a", "b"])
    running = draw(IDS)
    others = draw(IDS) - running
    prefilling = [
        Prefilling(i, draw(adapters), draw(st.integers(1, 5000)), draw(st.integers(1, 512)), (draw(RANKS), i))
        for i in others
    ]
    return [Running(i, draw(adapters)) for i in running], prefilling


ACTIVE = st.sampled_from(["", "a", "c"])
SWITCH_MS = st.floats(0, 20)


@given(worlds(), ACTIVE, COSTS, LIMITS, SWITCH_MS)
def test_every_running_sequence_has_exactly_one_turn_a_round_under_its_own_adapters(
    world, active, cost, limits, switch_ms
) -> None:
    running, _prefilling = world
    turns = plan_turns(running, active, tabulate(cost, SLOTS), limits, switch_ms)
    assert sorted((i, turn.adapters) for turn in turns for i in turn.sequences) == sorted(
        (one.sequence, one.adapters) for one in running
    )
    assert len({turn.adapters for turn in turns}) == len(turns)
    assert all(turn.repeats >= 1 for turn in turns)


@given(worlds(), ACTIVE, COSTS, LIMITS, SWITCH_MS)
def test_turns_longer_than_a_token_keep_the_round_within_the_budget(world, active, cost, limits, switch_ms) -> None:
    table = tabulate(cost, SLOTS)
    turns = plan_turns(world[0], active, table, limits, switch_ms)
    round_ms = sum(total_cost(turn.sequences, table) + switch_ms for turn in turns)
    assert all(turn.repeats == 1 or turn.repeats * round_ms <= limits.turns_ms + 1e-6 for turn in turns)


@given(worlds(), ACTIVE, COSTS, LIMITS)
def test_the_adapters_in_force_have_the_first_turn(world, active, cost, limits) -> None:
    turns = plan_turns(world[0], active, tabulate(cost, SLOTS), limits)
    if active in {one.adapters for one in world[0]}:
        assert turns[0].adapters == active


@given(worlds(), LIMITS)
def test_chunks_never_exceed_the_batch_the_prompt_or_its_limit_nor_the_budget_by_more_than_one(world, limits) -> None:
    running, prefilling = world
    chunks = plan_chunks(prefilling, len(running), "", limits)
    assert bool(chunks) == bool(prefilling)
    by_id = {one.sequence: one for one in prefilling}
    for chunk in chunks:
        fed = by_id.pop(chunk.sequence)
        assert 1 <= chunk.tokens <= min(limits.batch_tokens, fed.remaining_tokens, fed.limit_tokens)
    budget_ms = limits.alone_ms
    if running:
        budget_ms = min(budget_ms, limits.shared_ms * max(1.0, len(prefilling) / len(running)))
    spent = [chunk.tokens * limits.prefill_token_ms for chunk in chunks]
    assert sum(spent) - max(spent, default=0) <= budget_ms + 1e-6


@given(worlds(), LIMITS)
def test_nobody_starves_each_prompt_gets_a_chunk_within_as_many_rounds_as_there_are_prompts(world, limits) -> None:
    running, prefilling = world
    waiting = {p.sequence: p for p in prefilling}
    fed = set()
    for number in range(100, 100 + len(prefilling)):
        for chunk in plan_chunks(list(waiting.values()), len(running), "", limits):
            fed.add(chunk.sequence)
            waiting[chunk.sequence] = replace(waiting[chunk.sequence], rank=(number, chunk.sequence))
    assert fed == set(waiting)


def test_prompts_get_more_of_a_round_where_more_of_them_wait_than_run() -> None:
    limits = Limits(512, 1, 1.0, 60.0, 300.0)
    waiting = [Prefilling(i, "", 1000, 1000, (i,)) for i in range(6)]
    given = {runs: sum(chunk.tokens for chunk in plan_chunks(waiting, runs, "", limits)) for runs in (0, 1, 2, 3, 6)}
    assert given == {0: 300, 1: 300, 2: 180, 3: 120, 6: 60}


def test_a_slow_switch_makes_turns_longer_and_a_single_adapter_never() -> None:
    table = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), SLOTS)
    limits = Limits(512, 32, 1.0, 60.0, 500.0)
    two = [Running(0, "a"), Running(1, "b")]
    assert [turn.repeats for turn in plan_turns(two, "b", table, limits, 2.0)] == [20, 20]
    assert [turn.repeats for turn in plan_turns(two, "b", table, limits, 0.1)] == [1, 1]
    assert [turn.repeats for turn in plan_turns(two[:1], "b", table, limits, 50.0)] == [1]


@given(worlds(), ACTIVE, COSTS, LIMITS, SWITCH_MS)
def test_who_has_the_model_alone_decodes_a_few_tokens_between_plans_and_no_longer_than_allowed(
    world, active, cost, limits, switch_ms
) -> None:
    table = tabulate(cost, SLOTS)
    steady, others = (plan_turns(world[0], active, table, limits, switch_ms, steady=it) for it in (True, False))
    if len(others) != 1:
        assert steady == others
        return
    [turn] = steady
    assert 1 <= turn.repeats <= limits.steady_tokens
    assert turn.repeats == 1 or turn.repeats * total_cost(turn.sequences, table) <= limits.steady_ms + 1e-6
    assert others == (replace(turn, repeats=1),)


def test_a_steady_turn_is_as_long_as_its_time_allows() -> None:
    limits = Limits(512, 32, 1.0, 60.0, 500.0, steady_ms=100.0, steady_tokens=8)
    repeats = [
        plan_turns([Running(0, "")], "", tabulate(CostTable({1: ms}, 0.01), SLOTS), limits, steady=True)[0].repeats
        for ms in (1.0, 12.5, 30.0, 100.0, 700.0)
    ]
    assert repeats == [8, 8, 3, 1, 1]


@given(IDS, COSTS)
def test_no_partition_is_cheaper_than_the_one_chosen_or_than_one_by_one(active, cost) -> None:
    chosen = sum(cost(len(group)) for group in partition(list(active), tabulate(cost, SLOTS)))
    one_by_one = cost(1) * len(active)
    whole_runs = sum(cost(length) for _first, length in consecutive_runs(list(active)))
    assert chosen <= min(one_by_one, whole_runs) + 1e-6


def test_narrow_steps_are_chosen_where_batching_two_costs_more_than_two_singles() -> None:
    q8 = tabulate(CostTable({1: 5.3, 2: 21.0, 4: 30.3, 8: 38.5}, 1.0), 8)
    assert partition([0, 1], q8) == ((0,), (1,))
    assert partition(list(range(8)), q8) == (tuple(range(8)),)


def test_a_flat_cost_gives_one_batch() -> None:
    gpu = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), 16)
    assert partition(list(range(8)), gpu) == (tuple(range(8)),)


@given(IDS, COSTS)
def test_a_compaction_moves_a_running_id_to_a_free_one_and_pays(running, cost) -> None:
    free = [i for i in range(SLOTS) if i not in running]
    table = tabulate(cost, SLOTS)
    move = compaction([list(running)], free, table, gain=1.15)
    if move is not None:
        source, target = move
        assert source in running
        assert target in free
        after = [i for i in running if i != source] + [target]
        assert total_cost(after, table) * 1.15 < total_cost(list(running), table)


def test_a_step_of_any_number_of_slots_asks_for_no_cost_again() -> None:
    asked = []
    table = tabulate(lambda width: float(asked.append(width) or 1 + width / 8), 256)
    assert len(asked) == 256
    running, free = list(range(0, 256, 2)), list(range(1, 256, 2))
    partition(running, table)
    compaction([running], free, table, gain=1.15)
    assert len(asked) == 256


def test_a_straggler_below_a_wide_run_joins_it() -> None:
    gpu = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), 64)
    assert compaction([[0, *range(8, 16)]], [*range(1, 8), *range(16, 64)], gpu, gain=1.15) == (0, 7)


def test_gaps_are_closed_on_a_flat_cost() -> None:
    gpu = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), 16)
    running, free = [0, 2, 4, 6], [1, 3, 5, 7]
    while (move := compaction([running], free, gpu, gain=1.15)) is not None:
        running, free = [*(i for i in running if i != move[0]), move[1]], [*(i for i in free if i != move[1]), move[0]]
    assert len(consecutive_runs(running)) == 1
