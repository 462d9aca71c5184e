"""What could go wrong between requests: adapters that are not in force any more, state computed in another way, drafts
that nobody counted, sequences that give way again and again, and errors that would cost more than one request."""

from __future__ import annotations

from typing import Any

from client.errors import FailedPrecondition, Unavailable
from engine.replica.costs import CostTable
from engine.replica.job import AdapterSet, AdapterUse, Event, Failed, Finished
from engine.replica.speculation import SpeculationSettings
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import (
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

A, B = ((AdapterUse(name, f"digest of {name}", 1.0),) for name in "ab")


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


class Shared(FakeContext):
    """All sequences share 200 cells; a call takes a whole prompt."""

    unified, capacity, length, batch = True, 200, 256, 256


def test_a_prompt_that_does_not_fit_yet_waits_for_room_and_does_not_come_and_go() -> None:
    scheduler = new_scheduler(Shared())
    first, second = job([1] * 100, 50), job([2] * 130, 10)
    scheduler.submit([first])
    scheduler.submit([second])
    with serving(scheduler):
        wait([first, second])
    assert scheduler.meters.counters.preemptions_total <= 1
    assert second.sink.tokens == reference([2] * 130, 10)


class Drafter:
    """A draft model that never gets anywhere."""

    slots, step_ms, prefill_token_ms = 4, 0.1, 0.1

    def missing(self, slot: int, tokens: Any) -> int:
        return len(tokens)

    def catch_up(self, slot: int, tokens: Any, budget_tokens: int) -> int:
        return len(tokens)

    def propose(self, slot: int, tokens: Any, limit: int) -> list[int]:
        return []

    def forget(self, slot: int) -> None:
        return


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


class Breaks(Sink):
    """Calls something on the scheduler's thread when its `at`th event comes."""

    def __init__(self, at: int, action: Any) -> None:
        super().__init__()
        self._at, self._action = at, action

    def push(self, event: Event) -> None:
        super().push(event)
        if len(self.events) == self._at:
            self._action()


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
