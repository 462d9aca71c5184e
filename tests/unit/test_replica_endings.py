"""Every job ends once and leaves nothing behind: finished, refused, cancelled, overdue, or at the end of the loop."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import DeadlineExceeded, Internal, ResourceExhausted, Unavailable
from engine.replica.inbox import MAX_JOBS
from engine.replica.job import Failed, Finished
from engine.replica.scheduler import Scheduler
from engine.replica.speculation import SpeculationSettings
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import Breaks, Drafter, finish, job, new_scheduler, serving, wait


@pytest.fixture
def scheduler() -> Any:
    with serving(new_scheduler()) as running:
        yield running


def test_more_jobs_than_slots_all_finish_and_leave_nothing(scheduler: Scheduler) -> None:
    ends = finish(scheduler, [job([1 + i % 5] * (1 + i % 9), 1 + i % 7) for i in range(40)])
    assert all(isinstance(end, Finished) for end in ends)
    assert [end.generated_tokens for end in ends] == [1 + i % 7 for i in range(40)]
    assert scheduler.meters.totals()["requests_total"] == 40
    poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert scheduler.last_progress_age_s == 0.0


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


def test_a_job_past_its_deadline_ends_with_an_error_running_or_waiting() -> None:
    scheduler = new_scheduler()
    jobs = [job([1 + i % 5], 60, deadline=0.0) for i in range(6)]
    with serving(scheduler):
        ends = finish(scheduler, jobs)
    assert all(isinstance(end, Failed) and isinstance(end.error, DeadlineExceeded) for end in ends)


def test_a_job_cancelled_while_it_was_pushed_aside_leaves_nothing_behind() -> None:
    drafting = SpeculationSettings(draft_model_path="a file", draft_token_count=4)
    scheduler = new_scheduler(drafting=drafting, drafter=Drafter())
    low = [job([1 + i, 2], 40) for i in range(4)]
    urgent = job([5, 5], 30, priority=1)
    low[3].sink = Breaks(10, lambda: scheduler.submit([urgent]))
    urgent.sink = Breaks(5, lambda: scheduler.cancel(low))
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert scheduler.meters.counters.preemptions_total == 1
    assert scheduler.meters.counters.cancelled_total == 4
    assert len(scheduler._admission._loaded.speculation._free) == Drafter.slots
    assert not [entry for entry in scheduler.memory.states._entries.values() if entry.pinned]


def test_a_job_past_its_deadline_while_it_was_pushed_aside_ends_and_leaves_nothing_behind() -> None:
    scheduler = new_scheduler()
    low = [job([1 + i, 2], 40) for i in range(4)]
    urgent = job([5, 5], 30, priority=1)

    def overdue() -> None:
        for one in low:
            one.deadline = 0.0
        scheduler._waiting._next_deadline = 0.0

    low[3].sink = Breaks(10, lambda: scheduler.submit([urgent]))
    urgent.sink = Breaks(5, overdue)
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert all(isinstance(one.sink.events[-1], Failed) for one in low)
    assert not [entry for entry in scheduler.memory.states._entries.values() if entry.pinned]


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


def test_when_the_loop_is_told_to_end_nobody_is_left_waiting() -> None:
    scheduler = new_scheduler()
    before, after = job([1, 2], 50), job([3, 4], 50)
    scheduler.submit([before])
    scheduler.stop()
    scheduler.submit([after])  # came in before the loop saw that it was to end
    scheduler.run()
    for one in (before, after):
        assert isinstance(one.sink.error, Unavailable)
    assert (scheduler.running, scheduler.waiting) == (0, 0)
