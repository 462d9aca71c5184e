"""The fair line: strict priority with aging, equal token shares, turns for requests; nothing lost, nothing twice."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.replica.fair import AGE_S, WaitingLine
from engine.replica.job import AdapterUse, Event, Job
from engine.replica.sampling import SamplingOptions

SIZES = st.lists(st.integers(1, 1000), min_size=1, max_size=8)
ADAPTERS = [(), (AdapterUse("x", "d", 1.0),), (AdapterUse("y", "e", 0.5),)]


class Request:
    def push(self, event: Event) -> None: ...


def job(tenant: str = "", *, sink: Request | None = None, adapters=(), priority=0, deadline=None) -> Job:
    sink = sink or Request()
    options = {"adapters": adapters, "tenant": tenant, "priority": priority, "deadline": deadline}
    return Job(0, [1], 1, SamplingOptions(), (), ("",), sink, **options)


def admit_next(line: WaitingLine, now: float = 0.0) -> Job:
    first = next(line.candidates(now))
    line.admit(first, now)
    return first


class LineAgainstSet(RuleBasedStateMachine):
    """Whatever is done to the line, it holds exactly what is in the set, and offers each of it once."""

    def __init__(self) -> None:
        super().__init__()
        self.line = WaitingLine({"b": 2.0})
        self.waiting: set[Job] = set()
        self.running: list[Job] = []
        self.requests = [Request() for _ in range(4)]
        self.now = 0.0

    @rule(
        tenant=st.sampled_from("abc"),
        adapters=st.sampled_from(ADAPTERS),
        priority=st.integers(-1, 1),
        request=st.integers(0, 3),
        n=st.integers(1, 4),
        deadline=st.none() | st.floats(0, 200),
    )
    def add(self, tenant, adapters, priority, request, n, deadline) -> None:
        sink = self.requests[request]
        jobs = [
            job(tenant, sink=sink, adapters=adapters, priority=priority, deadline=deadline and self.now + deadline)
            for _ in range(n)
        ]
        self.line.add(jobs, self.now)
        self.waiting |= set(jobs)

    @rule(data=st.data())
    def admit_any(self, data) -> None:
        if self.waiting:
            chosen = data.draw(st.sampled_from(list(self.line.candidates(self.now))))
            assert self.line.admit(chosen, self.now) >= chosen.priority
            self.waiting.remove(chosen)
            self.running.append(chosen)

    @rule(tokens=st.integers(1, 1000))
    def charge(self, tokens) -> None:
        for running in self.running:
            self.line.charge(running, tokens)

    @rule(data=st.data())
    def put_back(self, data) -> None:
        if self.running:
            preempted = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
            self.line.put_back(preempted, self.now)
            self.waiting.add(preempted)
            mine = (preempted.tenant, preempted.priority)
            assert next(c for c in self.line.candidates(self.now) if (c.tenant, c.priority) == mine) is preempted

    @rule(data=st.data())
    def remove(self, data) -> None:
        if self.waiting:
            gone = data.draw(st.sampled_from(list(self.line)))
            assert self.line.remove(gone)
            assert not self.line.remove(gone)
            self.waiting.remove(gone)

    @rule(seconds=st.floats(0, 3 * AGE_S))
    def wait(self, seconds) -> None:
        self.now += seconds

    @rule(keep=st.booleans())
    def expire(self, keep) -> None:
        expired = self.line.expired(self.now)
        assert len(expired) == len(set(expired))
        assert set(expired) == {j for j in self.waiting if j.deadline is not None and j.deadline <= self.now}
        for gone in [] if keep else expired:
            self.line.remove(gone)
            self.waiting.remove(gone)

    @invariant()
    def everything_is_offered_once(self) -> None:
        offered = list(self.line.candidates(self.now))
        assert len(offered) == len(self.line) == len(self.waiting)
        assert set(offered) == set(self.line) == self.waiting
        assert bool(self.line) == bool(self.waiting)

    @invariant()
    def an_empty_line_remembers_nobody(self) -> None:
        tenants = {j.tenant for j in self.waiting}
        assert set(self.line._adapters) == set(self.line._tenants._waiting) == tenants
        assert set(self.line._lines) == {(j.tenant, j.priority) for j in self.waiting}


TestLineAgainstSet = LineAgainstSet.TestCase
TestLineAgainstSet.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(SIZES, SIZES, st.integers(1, 5), st.integers(1, 5))
def test_backlogged_tenants_get_tokens_by_weight_within_one_job(a_sizes, b_sizes, a_weight, b_weight) -> None:
    weight, sizes = {"a": a_weight, "b": b_weight}, {"a": a_sizes, "b": b_sizes}
    line, had = WaitingLine(weight), {"a": 0.0, "b": 0.0}
    for tenant in "ab":
        line.add([job(tenant) for _ in range(60)], 0.0)
    largest = max(size / weight[tenant] for tenant in "ab" for size in sizes[tenant])
    for turn in range(60):
        started = admit_next(line)
        tokens = sizes[started.tenant][turn % len(sizes[started.tenant])]
        line.charge(started, tokens)
        had[started.tenant] += tokens / weight[started.tenant]
        assert abs(had["a"] - had["b"]) <= largest + 1e-6


@given(SIZES, SIZES)
def test_backlogged_adapter_sets_of_a_tenant_share_within_one_job(a_sizes, b_sizes) -> None:
    line, had = WaitingLine(), dict.fromkeys(ADAPTERS[:2], 0)
    sizes = dict(zip(ADAPTERS[:2], (a_sizes, b_sizes), strict=True))
    for adapters in ADAPTERS[:2]:
        line.add([job(adapters=adapters) for _ in range(60)], 0.0)
    for turn in range(60):
        started = admit_next(line)
        tokens = sizes[started.adapters][turn % len(sizes[started.adapters])]
        line.charge(started, tokens)
        had[started.adapters] += tokens
        assert abs(had[ADAPTERS[0]] - had[ADAPTERS[1]]) <= max(a_sizes + b_sizes)


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_a_tenant_that_was_idle_has_no_credit(used_alone, tokens) -> None:
    line = WaitingLine()
    line.add([job("busy") for _ in range(100)], 0.0)
    line.charge(admit_next(line), used_alone)
    line.add([job("back") for _ in range(50)], 0.0)
    order = []
    for _ in range(20):
        started = admit_next(line)
        line.charge(started, tokens)
        order.append(started.tenant)
    assert order.count("busy") == order.count("back")


def test_when_nobody_waits_any_more_all_start_equal_again() -> None:
    line = WaitingLine()
    line.add([job("a"), job("b")], 0.0)
    running = admit_next(line)
    line.charge(running, 10**6)  # b waits, but the contest ends with it
    admit_next(line)
    line.charge(running, 10**6)
    line.add([job("b"), job("b"), job("a")], 0.0)
    assert [admit_next(line).tenant for _ in range(3)] == ["b", "a", "b"]


def test_tenants_take_turns_while_nothing_is_charged() -> None:
    line = WaitingLine()
    line.add([*(job("a") for _ in range(3)), *(job("b") for _ in range(3))], 0.0)
    assert [admit_next(line).tenant for _ in range(6)] == ["a", "b"] * 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3)), max_size=40))
def test_higher_priority_goes_first_whoever_it_is_from(asked) -> None:
    line = WaitingLine()
    line.add([job(tenant, priority=priority) for tenant, priority in asked], 0.0)
    offered = [one.priority for one in line.candidates(AGE_S / 2)]
    assert offered == sorted(offered, reverse=True)


@given(st.integers(1, 4), st.booleans(), st.integers(1, 1000))
def test_a_low_priority_is_served_in_the_end_however_much_of_a_higher_one_comes(gap, same_tenant, tokens) -> None:
    line = WaitingLine()
    line.add([job("a")], 0.0)
    names = count()
    for now in range(int(AGE_S) * gap + 3):
        tenant = "a" if same_tenant else f"b{next(names) % 3}"
        line.add([job(tenant, priority=gap) for _ in range(3)], float(now))
        started = admit_next(line, float(now))
        line.charge(started, tokens)
        if started.priority == 0:
            break
    assert started.priority == 0
    assert now >= AGE_S * gap


def test_a_long_low_priority_line_that_moves_does_not_catch_up_with_a_higher_one() -> None:
    line = WaitingLine()
    line.add([job(priority=0) for _ in range(500)], 0.0)
    low = 0
    for now in range(int(AGE_S) * 10):
        line.add([job(priority=1)], float(now))
        low += admit_next(line, float(now)).priority == 0
    assert 5 <= low <= 10


def test_aging_lifts_to_the_highest_that_waits_and_a_job_runs_as_what_it_counted_as() -> None:
    line = WaitingLine()
    low, high = job("a", priority=0), job("b", priority=2)
    line.add([low], 0.0)
    line.add([high], 9 * AGE_S)
    assert line.admit(low, 9 * AGE_S) == 2
    assert line.admit(high, 9 * AGE_S) == 2


def test_aging_does_not_upset_the_shares_of_equals() -> None:
    line = WaitingLine()
    line.add([job("old") for _ in range(10)], 0.0)
    line.charge(admit_next(line), 100)
    line.add([job("new") for _ in range(10)], 100 * AGE_S)
    assert [admit_next(line, 100 * AGE_S).tenant for _ in range(4)] == ["old", "new"] * 2


def test_one_request_with_a_hundred_jobs_does_not_shut_out_ten_single_ones() -> None:
    line, greedy = WaitingLine(), Request()
    line.add([job(sink=greedy) for _ in range(100)], 0.0)
    singles = [job() for _ in range(10)]
    for single in singles:
        line.add([single], 0.0)
    first = [admit_next(line) for _ in range(11)]
    assert first[1:] == singles
    assert len({admit_next(line) for _ in range(99)}) == 99
    assert not line


def test_requests_take_turns_and_a_late_one_stands_behind_those_that_wait() -> None:
    line = WaitingLine()
    greedy, polite, late = Request(), Request(), Request()
    line.add([job(sink=greedy) for _ in range(4)], 0.0)
    line.add([job(sink=polite) for _ in range(2)], 0.0)
    order = [admit_next(line).sink for _ in range(2)]
    line.add([job(sink=late)], 0.0)
    order += [admit_next(line).sink for _ in range(5)]
    assert order == [greedy, polite, greedy, polite, late, greedy, greedy]


def test_a_preempted_job_goes_first_within_its_tenant_but_not_before_others() -> None:
    line = WaitingLine()
    line.add([job("a"), job("b"), job("a")], 0.0)
    preempted = admit_next(line)
    line.charge(preempted, 10)
    line.put_back(preempted, 1.0)
    assert [one.tenant for one in line.candidates(1.0)] == ["b", "a", "a"]
    assert list(line.candidates(1.0))[1] is preempted


def test_a_job_waits_once() -> None:
    line, one = WaitingLine(), job()
    line.add([one], 0.0)
    with pytest.raises(ValueError, match="already"):
        line.add([one], 0.0)
    line.admit(one, 0.0)
    with pytest.raises(KeyError):
        line.admit(one, 0.0)
