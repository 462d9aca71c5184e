"""A failure costs those at fault and nobody else: calls that fail, numbers that break, ids that cannot be moved, copied
or freed."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import FailedPrecondition, Internal
from engine.replica.job import Failed, Finished, Started
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import Scheduler
from engine.replica.speculation import SpeculationSettings
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import (
    POISON,
    Breaks,
    Drafter,
    FakeContext,
    finish,
    job,
    new_scheduler,
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


def test_a_sampling_error_fails_its_own_job(scheduler: Scheduler) -> None:
    broken = job([1, 2])
    broken.sampling = SamplingOptions(temperature=0, logit_bias={10**6: 1.0})  # the wire refuses this
    ends = finish(scheduler, [job([1]), broken, job([2])])
    assert [type(end) for end in ends] == [Finished, Failed, Finished]


def test_a_request_larger_than_the_shared_cells_fails_alone() -> None:
    class Tiny(FakeContext):
        unified, capacity = True, 20

    big, small = job([1] * 18, 30), job([2, 3], 4)
    with serving(new_scheduler(Tiny())) as scheduler:
        ends = finish(scheduler, [big, small])
    assert [type(end) for end in ends] == [Failed, Finished]


class Cells(FakeContext):
    """Cells that `broken` says are out of order: the name of the method that raises, for all ids."""

    broken = ""

    def load(self, sequence: int, state: Any) -> bool:
        if self.broken == "load":
            raise RuntimeError("no loads today")
        return super().load(sequence, state)

    def keep(self, sequence: int, tokens: int) -> bool:
        if self.broken == "keep":
            raise RuntimeError("nothing can be forgotten today")
        return super().keep(sequence, tokens)


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


def test_a_job_that_cannot_be_started_is_told_even_if_no_id_can_be_freed() -> None:
    class Uncopied(Cells):
        def copy(self, source: int, target: int) -> None:
            raise RuntimeError("no copies today")

    context = Uncopied()
    scheduler = new_scheduler(context)
    running, started = job([1, 2, 3, 4, 5, 6], 50), job([1, 2, 3, 4, 5, 1], 4)

    def start_another() -> None:
        context.broken = "keep"
        scheduler.submit([started])

    running.sink = Breaks(5, start_another)
    scheduler.submit([running])
    with serving(scheduler):
        wait([running, started])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert isinstance(started.sink.events[-1], Failed)


def test_a_sequence_that_cannot_come_back_frees_its_draft_slot_and_its_state() -> None:
    context = Cells()
    drafting = SpeculationSettings(draft_model_path="a file", draft_token_count=4)
    scheduler = new_scheduler(context, drafting=drafting, drafter=Drafter())
    urgent = job([5, 5], 3, priority=1)

    def push_aside() -> None:
        context.broken = "load"
        scheduler.submit([urgent])

    low = [job([1 + i, 2], 40) for i in range(4)]
    low[3].sink = Breaks(10, push_aside)
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert sorted(type(one.sink.events[-1]).__name__ for one in low) == ["Failed", "Finished", "Finished", "Finished"]
    assert len(scheduler._admission._loaded.speculation._free) == Drafter.slots
    assert not [entry for entry in scheduler.memory.states._entries.values() if entry.pinned]


def test_a_cancelled_sequence_whose_id_cannot_be_freed_does_not_end_the_loop() -> None:
    context = Cells()
    scheduler = new_scheduler(context)
    one, other = job([1, 2], 50), job([3, 4], 4)

    def cancel() -> None:
        context.broken = "keep"
        scheduler.cancel([one])

    one.sink = Breaks(5, cancel)
    scheduler.submit([one])
    with serving(scheduler):
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
        context.broken = ""
        (end,) = finish(scheduler, [other])
    assert isinstance(end, Finished)


def test_when_everything_fails_everybody_is_told_even_if_no_id_can_be_freed() -> None:
    context = Cells()
    scheduler = new_scheduler(context)
    jobs = [job([1 + i, 2], 50) for i in range(6)]
    jobs[0].sink = Breaks(5, lambda: setattr(context, "broken", "keep"))
    jobs[1].sink = Breaks(5, lambda: scheduler.fail_all(FailedPrecondition("over")))
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert all(isinstance(one.sink.events[-1], Failed) for one in jobs)
