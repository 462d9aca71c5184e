"""The scheduler on a fake context: a failing decode costs only the sequence at fault; nothing leaks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from client.errors import Internal, ResourceExhausted
from engine.replica.costs import CostTable
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import MAX_WAITING, Scheduler
from engine.replica.sequence import Event, Failed, Finished, Job, Started

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


@pytest.fixture
def scheduler() -> Any:
    made = Scheduler(FakeModel(), FakeContext(), FLAT, lambda: None)  # type: ignore[arg-type]
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
    scheduler.submit([last := job([1])])
    assert last.sink.over.wait(30)
    assert scheduler.totals()["requests_total"] == 41


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
