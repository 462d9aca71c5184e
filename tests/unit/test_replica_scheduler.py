"""The scheduler on a model made of arithmetic: a failing decode costs only the sequence at fault, nothing leaks, and
whatever is reused, moved, pushed aside or drafted, the text is the one that single steps write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import DeadlineExceeded, Internal, ResourceExhausted, Unavailable
from engine.replica.costs import CostTable
from engine.replica.inbox import MAX_JOBS
from engine.replica.job import AdapterUse, Event, Failed, Finished, Started
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import Scheduler
from engine.replica.speculation import SpeculationSettings
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import (
    POISON,
    FakeAdapters,
    FakeContext,
    Sink,
    finish,
    job,
    new_scheduler,
    reference,
    serving,
    wait,
)


@pytest.fixture
def scheduler() -> Any:
    with serving(new_scheduler()) as running:
        yield running


def test_a_failing_decode_fails_only_the_sequence_at_fault(scheduler: Scheduler) -> None:
    good = [job([1, 2, i], 20) for i in range(3)]
    ends = finish(scheduler, [good[0], job([POISON, 2], 20), *good[1:]])
    assert isinstance(ends[1], Failed)
    assert isinstance(ends[1].error, Internal)
    for end in (ends[0], *ends[2:]):
        assert isinstance(end, Finished)
        assert end.generated_tokens == 20
    assert scheduler.meters.totals()["request_errors_total"] == 1


def test_a_failed_sequence_leaves_no_prefix_behind(scheduler: Scheduler) -> None:
    finish(scheduler, [job([POISON, 1, 1, 1, 1, 1, 1, 1])])
    again = job([POISON, 1, 1, 1, 1, 1, 1, 1], max_tokens=1)
    finish(scheduler, [again])
    started = next(e for e in again.sink.events if isinstance(e, Started))
    assert started.cached_tokens == 0


def test_more_jobs_than_slots_all_finish_and_leave_nothing(scheduler: Scheduler) -> None:
    ends = finish(scheduler, [job([1 + i % 5] * (1 + i % 9), 1 + i % 7) for i in range(40)])
    assert all(isinstance(end, Finished) for end in ends)
    assert [end.generated_tokens for end in ends] == [1 + i % 7 for i in range(40)]
    assert scheduler.meters.totals()["requests_total"] == 40
    poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert scheduler.last_progress_age_s == 0.0


def test_a_sampling_error_fails_its_own_job(scheduler: Scheduler) -> None:
    broken = job([1, 2])
    broken.sampling = SamplingOptions(temperature=0, logit_bias={10**6: 1.0})  # the wire refuses this
    ends = finish(scheduler, [job([1]), broken, job([2])])
    assert [type(end) for end in ends] == [Finished, Failed, Finished]


def test_a_full_queue_refuses_with_retry_after(scheduler: Scheduler) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        scheduler.submit([job([1]) for _ in range(MAX_JOBS + 1)])
    assert caught.value.retry_after_s


def test_fail_all_ends_running_and_waiting_jobs(scheduler: Scheduler) -> None:
    jobs = [job([1, i], 10_000_000) for i in range(9)]
    for one in jobs:
        scheduler.submit([one])
    scheduler.fail_all(Internal("over"))
    for one in jobs:
        assert one.sink.over.wait(30)
        assert isinstance(one.sink.events[-1], Failed)


class BrokenCopies(FakeContext):
    def copy(self, source: int, target: int) -> None:
        raise RuntimeError("no copies today")


def test_a_job_that_cannot_be_started_fails_and_the_others_go_on() -> None:
    prompt = list(range(1, 7)) * 4
    first, second = job(prompt, 30), job(prompt, 5)  # the start of the second copies the first one
    with serving(new_scheduler(BrokenCopies())) as scheduler:
        scheduler.submit([first])
        scheduler.submit([second])
        ends = wait([second, first])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert [type(end) for end in ends] == [Failed, Finished]


def test_a_sequence_that_cannot_be_moved_fails_and_the_others_go_on() -> None:
    scheduler = new_scheduler(BrokenCopies())
    jobs = [job([i + 1], 3 if i == 1 else 30) for i in range(4)]  # the second one ends first and leaves a gap
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        ends = wait(jobs)
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert sorted(type(end).__name__ for end in ends) == ["Failed", "Finished", "Finished", "Finished"]


def test_after_its_loop_died_abort_fails_every_job_and_refuses_new_ones() -> None:
    scheduler = new_scheduler()
    jobs = [job([1, i], 10) for i in range(6)]
    for one in jobs:
        scheduler.submit([one])
    scheduler.abort(Internal("died"))
    for one in jobs:
        assert isinstance(one.sink.events[-1], Failed)
    assert (scheduler.running, scheduler.waiting) == (0, 0)
    with pytest.raises(Unavailable):
        scheduler.submit([job([1])])


def test_one_request_with_many_choices_does_not_shut_out_the_next() -> None:
    scheduler = new_scheduler()
    crowd = Sink()
    scheduler.submit([job([1, i % 6], 20, sink=crowd) for i in range(100)])
    done_before: list[int] = []

    class Counting(Sink):
        def push(self, event: Event) -> None:  # on the scheduler's thread: the others stand still
            if isinstance(event, Finished):
                done_before.append(sum(isinstance(other, Finished) for other in crowd.events))
            super().push(event)

    single = job([2], 20)
    single.sink = Counting()
    scheduler.submit([single])
    with serving(scheduler):
        wait([single])
    assert done_before[0] < 10


# Text that does not depend on what else happens

A, B = ((AdapterUse(name, f"digest of {name}", 1.0),) for name in "ab")
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


def test_what_lost_its_id_is_found_again_in_ram(scheduler: Scheduler) -> None:
    first = [1 + i % 5 for i in range(40)]
    finish(scheduler, [job(first, 2)])
    for i in range(6):  # more than there are ids
        finish(scheduler, [job([2 + i % 5, 1 + i] * 20, 2)])
    again = job(first, 2)
    finish(scheduler, [again])
    assert again.sink.started.cached_tokens == 32  # whole blocks
    assert scheduler.memory.states.hits >= 1


def test_a_job_of_higher_priority_pushes_one_aside_which_then_goes_on_where_it_was() -> None:
    context = FakeContext()
    scheduler = new_scheduler(context)
    low = [job([1 + i, 2], 40, priority=0) for i in range(4)]
    urgent = job([5, 5], 3, priority=1)

    class Submits(Sink):
        def push(self, event: Event) -> None:  # on the scheduler's thread, when all ids are taken
            super().push(event)
            if len(self.events) == 10:
                scheduler.submit([urgent])

    low[3].sink = Submits()
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
    assert scheduler.meters.counters.preemptions_total == 1
    for one in (*low, urgent):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    assert sum(context.prefilled) == 2 * 5  # nothing was computed twice


def test_a_job_past_its_deadline_ends_with_an_error_running_or_waiting() -> None:
    scheduler = new_scheduler()
    jobs = [job([1 + i % 5], 60, deadline=0.0) for i in range(6)]
    with serving(scheduler):
        ends = finish(scheduler, jobs)
    assert all(isinstance(end, Failed) and isinstance(end.error, DeadlineExceeded) for end in ends)


def test_more_adapters_than_fit_take_turns_and_all_finish() -> None:
    scheduler = new_scheduler(adapters=FakeAdapters(1))
    jobs = [job([1, 2], 8, adapters=A if i % 2 else B) for i in range(8)]
    with serving(scheduler):
        ends = finish(scheduler, jobs)
    assert all(isinstance(end, Finished) for end in ends)
    assert scheduler.meters.counters.adapter_switches_total < 8 * 8


def test_no_more_sequences_use_adapters_than_the_deployment_allows() -> None:
    class Counting(FakeContext):
        def decode_step(self, sequences: Any, tokens: Any, positions: Any) -> int:
            if self.adapters:
                assert len(sequences) <= 2
            return super().decode_step(sequences, tokens, positions)

    scheduler = new_scheduler(Counting(), adapter_sequences=2)
    jobs = [job([1 + i % 5, 2], 12, adapters=A) for i in range(6)] + [job([3], 12)]
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        assert all(isinstance(end, Finished) for end in wait(jobs))


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


def test_a_request_that_wants_no_speculation_gets_none() -> None:
    one = job([1, 2, 3], 30, prediction=reference([1, 2, 3], 30), speculate=False)
    with serving(new_scheduler()) as scheduler:
        (end,) = finish(scheduler, [one])
    assert isinstance(end, Finished)
    assert end.drafts.drafted == 0


def test_a_request_larger_than_the_shared_cells_fails_alone() -> None:
    class Tiny(FakeContext):
        unified, capacity = True, 20

    big, small = job([1] * 18, 30), job([2, 3], 4)
    with serving(new_scheduler(Tiny())) as scheduler:
        ends = finish(scheduler, [big, small])
    assert [type(end) for end in ends] == [Failed, Finished]
