"""Adapters in force: set again whenever they were lost, shared out in turns, no reason for others to wait or fail."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import FailedPrecondition
from engine.replica.job import AdapterSet, Failed, Finished
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import (
    A,
    B,
    Breaks,
    FakeAdapters,
    FakeContext,
    finish,
    job,
    new_scheduler,
    reference,
    serving,
    wait,
)


class Evicting(FakeAdapters):
    """Like the real one, takes what nobody uses out of force when it needs the room or sweeps, and can fail to load."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(1)
        self.error = error
        self.withdrawn = False
        self._context: FakeContext | None = None

    def activate(self, context: FakeContext, wanted: AdapterSet, in_use: Any) -> bool:
        self._context = context
        if wanted == B and self.error is not None:
            context.adapters = ()  # what was in force had to make room
            raise self.error
        return super().activate(context, wanted, in_use)

    def sweep(self, in_use: Any) -> None:
        if self.withdrawn and self._context is not None and not in_use:
            self._context.adapters = ()


def test_an_adapter_that_made_room_for_one_that_cannot_be_loaded_is_set_again_when_it_is_asked_for() -> None:
    scheduler = new_scheduler(adapters=Evicting(FailedPrecondition("no such file")))
    first, broken, again = (job([1, 2, 3], 8, adapters=use) for use in (A, B, A))
    with serving(scheduler):
        for one in (first, broken, again):
            finish(scheduler, [one])
    assert isinstance(broken.sink.events[-1], Failed)
    assert again.sink.tokens == reference([1, 2, 3], 8, A)


def test_an_adapter_that_was_withdrawn_and_registered_again_is_set_again() -> None:
    adapters = Evicting()
    scheduler = new_scheduler(adapters=adapters)
    first, again = (job([1, 2, 3], 8, adapters=A) for _ in range(2))
    with serving(scheduler):
        finish(scheduler, [first])
        adapters.withdrawn = True
        scheduler.count_error()  # any round in which nothing runs
        poll_until(lambda: scheduler._context.adapters == ())  # type: ignore[attr-defined]
        adapters.withdrawn = False
        finish(scheduler, [again])
    assert again.sink.tokens == reference([1, 2, 3], 8, A)


def test_an_adapter_that_breaks_in_an_unforeseen_way_costs_only_those_who_asked_for_it() -> None:
    scheduler = new_scheduler(adapters=Evicting(RuntimeError("llama_set_adapters_lora returned -1")))
    plain, broken = job([1, 2, 3], 30), job([4, 5], 8, adapters=B)
    scheduler.submit([plain])
    scheduler.submit([broken])
    with serving(scheduler):
        ends = wait([plain, broken])
    assert [type(end) for end in ends] == [Finished, Failed]


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


def test_many_jobs_that_wait_for_their_adapter_do_not_hide_one_that_could_start() -> None:
    scheduler = new_scheduler(adapters=FakeAdapters(1))
    running = job([1, 2], 60, adapters=A)
    crowd = [job([3], 1, adapters=B) for _ in range(100)]
    plain = job([4], 5)
    over: list[bool] = []
    running.sink = Breaks(3, lambda: [scheduler.submit([one]) for one in [*crowd, plain]])
    plain.sink = Breaks(1, lambda: over.append(running.sink.over.is_set()))
    scheduler.submit([running])
    with serving(scheduler):
        wait([running, plain, *crowd])
    assert over == [False]


def test_what_a_switch_costs_is_learnt_from_the_call_after_it_and_one_disturbance_teaches_little() -> None:
    stepper = new_scheduler()._rounds._stepper  # a step of one sequence costs a millisecond
    told: list[float] = [stepper.switch_ms]
    for switched, seconds in [(False, 0.5), *[(True, 0.013)] * 60, (True, 30.0)]:
        stepper._just_switched = switched
        stepper._decoded(1, seconds)
        told.append(stepper.switch_ms)
    assert told[1] == told[0]
    assert told[-2] == pytest.approx(12.0, abs=0.1)
    assert told[-1] < 20
