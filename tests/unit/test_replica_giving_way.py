"""Who gives way to whom when ids or cells are scarce, and that whoever did goes on where it was."""

from __future__ import annotations

import time

import pytest

from engine.replica.admission import FAIR_AFTER_S
from engine.replica.job import Event, Finished
from tests.unit.replica_fakes import Breaks, FakeContext, Sink, job, new_scheduler, reference, serving, wait


def test_a_job_of_higher_priority_pushes_one_aside_which_then_goes_on_where_it_was() -> None:
    context = FakeContext()
    scheduler = new_scheduler(context)
    low = [job([1 + i, 2], 40, priority=0) for i in range(4)]
    urgent = job([5, 5], 3, priority=1)

    low[3].sink = Breaks(10, lambda: scheduler.submit([urgent]))  # all ids are taken
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
    assert scheduler.meters.counters.preemptions_total == 1
    for one in (*low, urgent):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    assert sum(context.prefilled) == 2 * 5  # nothing was computed twice


@pytest.mark.parametrize("waited_s", [-1e6, FAIR_AFTER_S + 1])  # however slow this machine is
def test_a_tenant_with_nothing_running_gets_a_place_of_one_with_several_after_a_while(waited_s: float) -> None:
    scheduler = new_scheduler()
    crowd = [job([1 + i, 2], 40, tenant="crowd") for i in range(4)]
    single = job([5, 5], 3, tenant="single")
    over: list[bool] = []
    single.sink = Breaks(1, lambda: over.extend(one.sink.over.is_set() for one in crowd))

    def come() -> None:
        single.times.submitted = time.monotonic() - waited_s
        scheduler.submit([single])

    crowd[3].sink = Breaks(5, come)
    for one in crowd:
        scheduler.submit([one])
    with serving(scheduler):
        wait([single, *crowd])
    assert any(over) == (waited_s < 0)
    assert scheduler.meters.counters.preemptions_total == (waited_s > 0)
    for one in (single, *crowd):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)


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


class Shared(FakeContext):
    """All sequences share 200 cells; a call takes a whole prompt."""

    unified, capacity, length, batch = True, 200, 256, 256


def test_an_urgent_job_that_lacks_cells_pushes_aside_one_that_has_them() -> None:
    scheduler = new_scheduler(Shared())
    low, urgent = job([1] * 100, 60), job([2] * 100, 3, priority=1)
    over: list[bool] = []
    low.sink = Breaks(5, lambda: scheduler.submit([urgent]))
    urgent.sink = Breaks(1, lambda: over.append(low.sink.over.is_set()))
    scheduler.submit([low])
    with serving(scheduler):
        wait([low, urgent])
    assert over == [False]
    for one in (low, urgent):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)


def test_a_prompt_that_does_not_fit_yet_waits_for_room_and_does_not_come_and_go() -> None:
    scheduler = new_scheduler(Shared())
    first, second = job([1] * 100, 50), job([2] * 130, 10)
    scheduler.submit([first])
    scheduler.submit([second])
    with serving(scheduler):
        wait([first, second])
    assert scheduler.meters.counters.preemptions_total <= 1
    assert second.sink.tokens == reference([2] * 130, 10)
