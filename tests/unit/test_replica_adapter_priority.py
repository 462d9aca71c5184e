"""An urgent job whose adapters do not fit takes the place of less urgent ones, as one without adapters does."""

from __future__ import annotations

from typing import Any

from engine.replica.job import AdapterUse
from tests.unit.replica_fakes import Breaks, FakeAdapters, job, new_scheduler, reference, serving, wait

A, B, C = ((AdapterUse(name, f"digest of {name}", 1.0),) for name in "abc")


def before(urgent: Any, low: list[Any], *, at: int = 4, **replica: Any) -> tuple[list[bool], Any]:
    """Run `low`, and `urgent` once the last of them is under way: which of `low` were over at its first token."""
    scheduler = new_scheduler(**replica)
    over: list[bool] = []
    low[-1].sink = Breaks(at, lambda: scheduler.submit([urgent]))
    urgent.sink = Breaks(1, lambda: over.extend(one.sink.over.is_set() for one in low))
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
    for one in (urgent, *low):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens, one.adapters)
    return over, scheduler


def test_it_takes_the_place_of_one_whose_adapter_is_in_its_way() -> None:
    low = job([1, 2], 200, adapters=A)
    over, scheduler = before(job([5, 5], 3, priority=1, adapters=B), [low], adapters=FakeAdapters(1))
    assert over == [False]
    assert scheduler.meters.counters.preemptions_total == 1


def test_it_takes_the_place_of_one_that_uses_up_the_sequences_with_adapters() -> None:
    low = [job([1, 2], 200), job([3, 2], 200, adapters=A), job([4, 2], 200, adapters=A)]
    over, scheduler = before(job([5, 5], 3, priority=1, adapters=A), low, adapter_sequences=2)
    assert over == [False] * 3
    assert scheduler.meters.counters.preemptions_total == 1


def test_all_that_use_an_adapter_give_way_and_nobody_else_does() -> None:
    low = [job([1, 2], 200, adapters=A), job([2, 2], 200, adapters=B), job([3, 2], 200, adapters=B)]
    low[0].priority = 1
    over, scheduler = before(job([5, 5], 3, priority=2, adapters=C), low, adapters=FakeAdapters(2))
    assert over == [False] * 3
    assert scheduler.meters.counters.preemptions_total == 2


def test_it_waits_when_those_less_urgent_are_not_what_is_in_its_way() -> None:
    low = [job([1, 2], 10, adapters=A, priority=1), job([2, 2], 200)]
    over, scheduler = before(job([5, 5], 3, priority=1, adapters=B), low, adapters=FakeAdapters(1))
    assert over == [True, False]
    assert scheduler.meters.counters.preemptions_total == 0


def test_it_takes_an_id_too_where_there_is_none() -> None:
    low = [job([1 + i, 2], 200, adapters=A) for i in range(4)]
    over, scheduler = before(job([5, 5], 3, priority=1, adapters=B), low, adapters=FakeAdapters(1))
    assert over == [False] * 4
    assert scheduler.meters.counters.preemptions_total == 4


def test_a_crowd_of_urgent_jobs_and_others_all_finish() -> None:
    scheduler = new_scheduler(adapters=FakeAdapters(2), adapter_sequences=3)
    jobs = [job([1 + i % 5, 2], 4 + i % 9, adapters=((), A, B, C)[i % 4], priority=i % 3) for i in range(40)]
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        wait(jobs)
    for one in jobs:
        assert one.sink.tokens == reference(one.prompt, one.max_tokens, one.adapters)
