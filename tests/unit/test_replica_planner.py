"""The planner of a replica: properties that hold for every mix of running and prefilling sequences."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.costs import CostTable
from engine.replica.planner import (
    Limits,
    Prefilling,
    compaction,
    consecutive_runs,
    partition,
    plan_step,
    tabulate,
    total_cost,
)

SLOTS = 16
IDS = st.sets(st.integers(0, SLOTS - 1))
COSTS = st.builds(
    lambda a, b, c, d, e: CostTable({1: a, 2: b, 4: c, 8: d, 16: e}, 1.0), *[st.floats(0.1, 100) for _ in range(5)]
)
LIMITS = st.builds(Limits, st.integers(1, 512), st.integers(1, 512), st.integers(1, 512))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[int], list[Prefilling]]:
    """Disjoint running and prefilling ids, with anything left to prefill and any history."""
    running = draw(IDS)
    others = draw(IDS) - running
    prefilling = [
        Prefilling(i, draw(st.integers(1, 5000)), draw(st.integers(0, 50)), draw(st.integers(1, 512))) for i in others
    ]
    return list(running), prefilling


@settings(deadline=None)
@given(worlds(), COSTS, LIMITS)
def test_every_running_sequence_decodes_exactly_once_a_step(world, cost, limits) -> None:
    running, prefilling = world
    plan = plan_step(running, prefilling, tabulate(cost, SLOTS), limits)
    assert sorted(i for group in plan.groups for i in group) == sorted(running)


@settings(deadline=None)
@given(worlds(), COSTS, LIMITS)
def test_ids_in_a_call_are_ascending_and_consecutive(world, cost, limits) -> None:
    for group in plan_step(*world, tabulate(cost, SLOTS), limits).groups:
        assert list(group) == list(range(group[0], group[0] + len(group)))


@settings(deadline=None)
@given(worlds(), COSTS, LIMITS)
def test_a_chunk_never_exceeds_the_batch_the_prompt_or_its_limit(world, cost, limits) -> None:
    running, prefilling = world
    plan = plan_step(running, prefilling, tabulate(cost, SLOTS), limits)
    assert (plan.prefill is None) == (not prefilling)
    if plan.prefill is not None:
        fed = next(p for p in prefilling if p.sequence == plan.prefill)
        assert 1 <= plan.chunk_tokens <= min(limits.batch_tokens, fed.remaining_tokens, fed.limit_tokens)


@settings(deadline=None)
@given(worlds(), COSTS, LIMITS)
def test_nobody_starves_each_prompt_gets_a_chunk_within_as_many_steps_as_there_are_prompts(world, cost, limits) -> None:
    running, prefilling = world
    waiting = {p.sequence: p for p in prefilling}
    fed = set()
    table = tabulate(cost, SLOTS)
    for step in range(100, 100 + len(prefilling)):
        plan = plan_step(running, list(waiting.values()), table, limits)
        assert plan.prefill is not None
        fed.add(plan.prefill)
        old = waiting[plan.prefill]
        waiting[plan.prefill] = Prefilling(old.sequence, old.remaining_tokens, step, old.limit_tokens)
    assert fed == set(waiting)


@settings(deadline=None)
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


@settings(deadline=None)
@given(IDS, COSTS)
def test_a_compaction_moves_a_running_id_to_a_free_one_and_pays(running, cost) -> None:
    free = [i for i in range(SLOTS) if i not in running]
    table = tabulate(cost, SLOTS)
    move = compaction(list(running), free, table, gain=1.15)
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
    compaction(running, free, table, gain=1.15)
    assert len(asked) == 256


def test_a_straggler_below_a_wide_run_joins_it() -> None:
    gpu = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), 64)
    assert compaction([0, *range(8, 16)], [*range(1, 8), *range(16, 64)], gpu, gain=1.15) == (0, 7)


def test_gaps_are_closed_on_a_flat_cost() -> None:
    gpu = tabulate(CostTable({1: 2.0, 8: 2.1}, 0.01), 16)
    running, free = [0, 2, 4, 6], [1, 3, 5, 7]
    while (move := compaction(running, free, gpu, gain=1.15)) is not None:
        running, free = [*(i for i in running if i != move[0]), move[1]], [*(i for i in free if i != move[1]), move[0]]
    assert len(consecutive_runs(running)) == 1
