"""The scheduler on a fake context: a failing decode costs only the sequence at fault; nothing leaks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from client.errors import Internal, ResourceExhausted, Unavailable
from engine.replica.costs import CostTable
from engine.replica.job import Event, Failed, Finished, Job, Started
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import MAX_WAITING, Scheduler
from engine.replica.waiting import WaitingLine
from tests.engine.conftest import poll_until

POISON = 7
FLAT = CostTable({1: 1.0, 8: 1.1}, 0.1)


class FakeVocabulary:
    end_tokens = frozenset({0})
    size = 16

    def piece(self, token: int) -> bytes:
        return bytes([97 + token])


class FakeModel:
    vocabulary = FakeVocabulary()
    can_reuse_prefix = True


class FakeContext:
    """Next token is always 3. A decode that holds a sequence whose prompt began with POISON fails."""

    slots, length, batch, rows = 4, 64, 8, 8

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {i: [] for i in range(self.slots)}
        self.codes: list[int] = []

    def decode_step(self, sequences: Any, tokens: Any, positions: Any) -> int:
        poisoned = any(self.held[s][:1] == [POISON] for s in sequences)
        self.codes.append(-3 if poisoned else 0)
        if not poisoned:
            for sequence, token, position in zip(sequences, tokens, positions, strict=True):
                assert position == len(self.held[sequence])
                self.held[sequence].append(token)
        return self.codes[-1]

    def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
        assert start == len(self.held[sequence])
        self.held[sequence] += [int(t) for t in tokens]
        return 0

    def logits(self, rows: int) -> Any:
        out = np.zeros((rows, FakeVocabulary.size), np.float32)
        out[:, 3] = 9
        return out

    def keep(self, sequence: int, tokens: int) -> bool:
        del self.held[sequence][tokens:]
        return True

    def copy(self, source: int, target: int) -> None:
        self.held[target] = list(self.held[source])

    def clear(self) -> None:
        self.held = {i: [] for i in range(self.slots)}


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.over = threading.Event()

    def push(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, (Finished, Failed)):
            self.over.set()


def job(prompt: list[int], max_tokens: int = 5) -> Job:
    return Job(0, prompt, max_tokens, SamplingOptions(temperature=0), (), ("",), Sink())


def new_scheduler(context: FakeContext) -> Scheduler:
    return Scheduler(FakeModel(), context, FLAT, lambda: None)  # type: ignore[arg-type]


@pytest.fixture
def scheduler() -> Any:
    made = new_scheduler(FakeContext())
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()


def finish(scheduler: Scheduler, jobs: list[Job]) -> list[Event]:
    for one in jobs:
        scheduler.submit([one])
    for one in jobs:
        assert one.sink.over.wait(30)
    return [one.sink.events[-1] for one in jobs]


def test_a_failing_decode_fails_only_the_sequence_at_fault(scheduler: Scheduler) -> None:
    good = [job([1, 2, i], 20) for i in range(3)]
    ends = finish(scheduler, [good[0], job([POISON, 2], 20), *good[1:]])
    assert isinstance(ends[1], Failed)
    assert isinstance(ends[1].error, Internal)
    for end in (ends[0], *ends[2:]):
        assert isinstance(end, Finished)
        assert end.generated_tokens == 20
    assert scheduler.totals()["request_errors_total"] == 1


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
    assert scheduler.totals()["requests_total"] == 40
    poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert scheduler.last_progress_age_s == 0.0


def test_a_sampling_error_fails_its_own_job(scheduler: Scheduler) -> None:
    broken = job([1, 2])
    broken.sampling = SamplingOptions(temperature=0, logit_bias={10**6: 1.0})  # the wire refuses this
    ends = finish(scheduler, [job([1]), broken, job([2])])
    assert [type(end) for end in ends] == [Finished, Failed, Finished]


def test_a_full_queue_refuses_with_retry_after(scheduler: Scheduler) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        scheduler.submit([job([1]) for _ in range(MAX_WAITING + 1)])
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
    scheduler = new_scheduler(BrokenCopies())
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    prompt = list(range(1, 9))
    first = job(prompt, 40)
    second = Job(1, prompt, 5, first.sampling, (), ("",), Sink(), leader=first)  # its start copies the first one
    scheduler.submit([first, second])
    for one, end in ((second, Failed), (first, Finished)):
        assert one.sink.over.wait(30)
        assert isinstance(one.sink.events[-1], end)
    poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    scheduler.stop()
    thread.join()


def test_a_sequence_that_cannot_be_moved_fails_and_the_others_go_on() -> None:
    scheduler = new_scheduler(BrokenCopies())
    jobs = [job([i + 1], 3 if i == 1 else 30) for i in range(4)]  # the second one ends first and leaves a gap
    for one in jobs:
        scheduler.submit([one])
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    for one in jobs:
        assert one.sink.over.wait(30)
    assert sorted(type(one.sink.events[-1]).__name__ for one in jobs) == ["Failed", "Finished", "Finished", "Finished"]
    poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    scheduler.stop()
    thread.join()


def test_after_its_loop_died_abort_fails_every_job_and_refuses_new_ones() -> None:
    scheduler = new_scheduler(FakeContext())
    jobs = [job([1, i], 10) for i in range(6)]
    for one in jobs:
        scheduler.submit([one])
    scheduler.abort(Internal("died"))
    for one in jobs:
        assert isinstance(one.sink.events[-1], Failed)
    assert (scheduler.running, scheduler.waiting) == (0, 0)
    with pytest.raises(Unavailable):
        scheduler.submit([job([1])])


def test_admission_goes_round_robin_over_requests() -> None:
    line = WaitingLine()
    greedy, polite, late = Sink(), Sink(), Sink()

    def of(sink: Sink, index: int) -> Job:
        return Job(index, [1], 1, SamplingOptions(), (), ("",), sink)

    line.add([of(greedy, i) for i in range(4)])
    line.add([of(polite, i) for i in range(2)])
    order = [line.take() for _ in range(2)]
    line.add([of(late, 0)])
    order += [line.take() for _ in range(5)]
    assert [one.sink for one in order if one] == [greedy, polite, greedy, polite, late, greedy, greedy]
    assert not line
    assert line.take() is None


def test_a_request_whose_choices_wait_for_their_twin_lets_others_pass() -> None:
    line = WaitingLine()
    shared, other = Sink(), Sink()
    leader = Job(0, [1], 1, SamplingOptions(), (), ("",), shared)
    line.add([leader, *(Job(i, [1], 1, SamplingOptions(), (), ("",), shared, leader=leader) for i in (1, 2))])
    line.add([Job(0, [1], 1, SamplingOptions(), (), ("",), other)])
    assert [one and one.sink for one in (line.take(), line.take(), line.take())] == [shared, other, None]
    leader.prefilled_or_over = True
    assert [one and one.index for one in (line.take(), line.take(), line.take())] == [1, 2, None]


def test_one_request_with_many_choices_does_not_shut_out_the_next() -> None:
    scheduler = new_scheduler(FakeContext())
    crowd = Sink()
    scheduler.submit([Job(i, [1, i % 9], 20, SamplingOptions(temperature=0), (), ("",), crowd) for i in range(100)])
    done_before: list[int] = []

    class Counting(Sink):
        def push(self, event: Event) -> None:  # on the scheduler's thread: the others stand still
            if isinstance(event, Finished):
                done_before.append(sum(isinstance(other, Finished) for other in crowd.events))
            super().push(event)

    single = job([2], 20)
    single.sink = Counting()
    scheduler.submit([single])
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    assert single.sink.over.wait(30)
    assert done_before[0] < 10
    scheduler.stop()
    thread.join()
