"""Whatever is shared, reused, copied, pushed aside or drafted, a text is the one that single steps write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.costs import CostTable
from engine.replica.job import Finished
from engine.replica.scheduler import Scheduler
from engine.replica.speculation import SpeculationSettings
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import (
    A,
    B,
    FakeAdapters,
    FakeContext,
    finish,
    job,
    new_scheduler,
    reference,
    serving,
    wait,
)

PROMPTS = st.lists(st.integers(1, 6), min_size=1, max_size=40)


REQUESTS = st.lists(
    st.tuples(
        PROMPTS,
        st.integers(1, 20),
        st.sampled_from([(), A, B]),
        st.sampled_from(["x", "y"]),
        st.integers(-1, 1),
        st.sampled_from([("",), ("k",)]),
        st.lists(st.integers(1, 6), max_size=20),
    ),
    min_size=1,
    max_size=14,
)


class Shared(FakeContext):
    """All sequences share 80 cells."""

    unified, capacity = True, 80


@settings(max_examples=150)
@given(REQUESTS, st.sampled_from([FakeContext, Shared]), st.sampled_from([0, 200, 1 << 20]), st.sampled_from([0, 2]))
def test_every_text_is_the_one_that_single_steps_write(requests, kind, prefix_bytes, ngrams) -> None:
    drafting = SpeculationSettings(ngram_length=ngrams, draft_token_count=4)
    scheduler = new_scheduler(kind(), prefix_bytes=prefix_bytes, adapters=FakeAdapters(1), drafting=drafting)
    jobs = [
        job(prompt, count, adapters=adapters, tenant=tenant, priority=priority, cache_key=key, prediction=prediction)
        for prompt, count, adapters, tenant, priority, key, prediction in requests
    ]
    with serving(scheduler):
        finish(scheduler, jobs)
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    for one in jobs:
        assert one.sink.error is None
        assert one.sink.tokens == reference(one.prompt, one.max_tokens, one.adapters)


def test_a_shared_prompt_is_computed_once_by_whoever_comes_first() -> None:
    context = FakeContext()
    scheduler = new_scheduler(context)
    prompt = [1 + i % 6 for i in range(40)]
    jobs = [job([*prompt, 1 + i], 4) for i in range(4)]
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        wait(jobs)
    cached = sorted(one.sink.started.cached_tokens for one in jobs)
    assert cached[0] == 0
    assert min(cached[1:]) >= 32  # what is left is a wide call again
    assert sum(context.prefilled) == 4 * 41 - sum(cached)
    assert scheduler.meters.counters.cached_prompt_tokens_total == sum(cached)


def test_nothing_is_taken_over_from_another_isolation_key_or_adapter(scheduler: Scheduler) -> None:
    prompt = [1 + i % 6 for i in range(40)]
    kinds: list[dict[str, Any]] = [{}, {"cache_key": ("k",)}, {"adapters": A}, {"adapters": A, "cache_key": ("k",)}]
    first, again = ([job(prompt, 2, **kind) for kind in kinds] for _ in range(2))
    for one in (*first, *again):
        finish(scheduler, [one])
    assert [one.sink.started.cached_tokens for one in first] == [0, 0, 0, 0]
    assert all(one.sink.started.cached_tokens for one in again)


def test_further_choices_of_a_prompt_evaluate_nothing_of_it() -> None:
    context = FakeContext()
    scheduler = new_scheduler(context)
    first = job([1 + i % 6 for i in range(40)], 4)
    first.followed = True
    others = [job(first.prompt, 4, leader=first) for _ in range(5)]
    scheduler.submit([first, *others])
    with serving(scheduler):
        wait([first, *others])
    assert sum(context.prefilled) == 40
    assert {tuple(one.sink.tokens) for one in (first, *others)} == {tuple(reference(first.prompt, 4))}


class TwoSlots(FakeContext):
    slots = 2
    capacity = 2 * FakeContext.length


def test_a_further_choice_takes_over_a_prompt_only_as_its_leader_computed_it() -> None:
    scheduler = new_scheduler(TwoSlots())
    short = [1, 2, 3, 4, 5]  # computed in narrow calls
    longer = job([*short, 6, 1, 2, 3, 4], 50)  # the same tokens in wide calls
    leader = job(short, 20)
    leader.followed = True
    follower = job(short, 12, leader=leader)
    scheduler.submit([longer])
    scheduler.submit([leader, follower])  # the second id is the leader's until it is through
    with serving(scheduler):
        wait([longer, leader, follower])
    assert leader.sink.tokens == reference(short, 20)
    assert follower.sink.tokens == reference(short, 12)


@pytest.fixture
def scheduler() -> Any:
    with serving(new_scheduler()) as running:
        yield running


def test_what_lost_its_id_is_found_again_in_ram(scheduler: Scheduler) -> None:
    first = [1 + i % 5 for i in range(40)]
    finish(scheduler, [job(first, 2)])
    for i in range(6):  # more than there are ids
        finish(scheduler, [job([2 + i % 5, 1 + i] * 20, 2)])
    again = job(first, 2)
    finish(scheduler, [again])
    assert again.sink.started.cached_tokens == 32  # whole blocks
    assert scheduler.memory.states.hits >= 1


def test_a_right_prediction_saves_steps_and_is_counted() -> None:
    context = FakeContext()
    costs = CostTable({1: 10.0, 8: 10.5}, 1.0, {8: 10.5, 32: 11.0})
    scheduler = new_scheduler(context, costs=costs)
    one = job([1, 2, 3], 40, prediction=reference([1, 2, 3], 40))
    with serving(scheduler):
        (end,) = finish(scheduler, [one])
    assert isinstance(end, Finished)
    assert one.sink.tokens == reference([1, 2, 3], 40)
    assert end.drafts.predicted_accepted == end.drafts.predicted > 20
    assert len(context.widths) + len(context.prefilled) < 20


def test_drafts_that_end_a_request_are_counted() -> None:
    costs = CostTable({1: 10.0, 8: 10.5}, 1.0, {8: 10.5, 32: 11.0})
    scheduler = new_scheduler(costs=costs)
    one = job([1, 2, 3], 5, prediction=reference([1, 2, 3], 5))
    with serving(scheduler):
        (end,) = finish(scheduler, [one])
    assert isinstance(end, Finished)
    decoded = scheduler.meters.counters.decode_steps_total
    assert end.generated_tokens == 1 + decoded + end.drafts.accepted
    assert scheduler.meters.counters.accepted_tokens_total == end.drafts.accepted
    assert scheduler._admission._loaded.speculation.totals["prediction"].accepted == end.drafts.accepted  # type: ignore[index]


def test_a_request_that_wants_no_speculation_gets_none() -> None:
    one = job([1, 2, 3], 30, prediction=reference([1, 2, 3], 30), speculate=False)
    with serving(new_scheduler()) as scheduler:
        (end,) = finish(scheduler, [one])
    assert isinstance(end, Finished)
    assert end.drafts.drafted == 0
