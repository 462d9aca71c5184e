"""Replicas that fail requests are passed over for a while: bounded, never all, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.outliers import (
    FORGIVEN_S,
    IN_A_ROW,
    KNOWN_AFTER,
    OUT_FIRST_S,
    OUT_MAX_S,
    SHARE_MAX,
    TIMES,
    WINDOW_S,
    Outliers,
)
from tests.unit.steps import steps_of

BOTH = ["a", "b"]


def fail(outliers: Outliers, replica: str, now: float, times: int = IN_A_ROW) -> str | None:
    return [outliers.failed(replica, now) for _ in range(times)][-1]


def out_for(outliers: Outliers, now: float) -> float:
    """How long "a" is passed over from now on, to a hundredth of a second."""
    seconds = 0.0
    while outliers.passed_over(BOTH, now + seconds):
        seconds += 0.01
    return seconds


def test_five_failures_in_a_row_put_a_replica_out_for_ten_seconds_and_then_it_is_back():
    outliers = Outliers()
    assert fail(outliers, "a", 0.0, IN_A_ROW - 1) is None
    assert outliers.passed_over(BOTH, 0.0) == frozenset()
    assert fail(outliers, "a", 0.0, 1) == "5 requests in a row failed there"
    assert outliers.passed_over(BOTH, 0.0) == {"a"}
    assert outliers.passed_over(BOTH, OUT_FIRST_S) == frozenset()


def test_an_answer_ends_the_row():
    outliers = Outliers()
    for _ in range(3):
        assert fail(outliers, "a", 0.0, IN_A_ROW - 1) is None
        outliers.answered("a", 0.0)
    assert outliers.passed_over(BOTH, 0.0) == frozenset()


def test_each_time_it_is_out_for_twice_as_long_up_to_a_bound_and_begins_anew_after_good_minutes():
    outliers, now, times = Outliers(), 0.0, []
    for _ in range(7):
        assert fail(outliers, "a", now)
        times.append(round(out_for(outliers, now)))
        now += times[-1] + 0.1
    assert times == [10, 20, 40, 80, 160, OUT_MAX_S, OUT_MAX_S]
    assert fail(outliers, "a", now + FORGIVEN_S)
    assert round(out_for(outliers, now + FORGIVEN_S)) == OUT_FIRST_S


def test_what_was_asked_before_does_not_put_it_out_for_longer():
    outliers = Outliers()
    fail(outliers, "a", 0.0)
    assert fail(outliers, "a", 1.0) is None
    assert outliers.passed_over(BOTH, OUT_FIRST_S) == frozenset()


def test_half_of_its_requests_failing_ejects_it_when_others_do_better_and_not_when_all_do_so():
    for others_fail in (False, True):
        outliers, told = Outliers(), []
        for n in range(4 * KNOWN_AFTER):
            told += [outliers.failed("b", 0.0) if others_fail and n % 2 else outliers.answered("b", 0.0)]
            told += [outliers.failed("a", 0.0) if n % 2 else outliers.answered("a", 0.0)]
        ejections = [why for why in told if why]
        assert bool(ejections) == (not others_fail)
        if ejections:
            assert ejections[0] == "50% of the last 10 requests failed there, and 0% elsewhere"


def test_one_that_is_far_slower_than_the_others_and_than_expected_is_ejected():
    outliers = Outliers()
    for _ in range(KNOWN_AFTER):
        assert outliers.answered("b", 0.0, 0.5) is None
    told = [outliers.answered("a", 0.0, TIMES) for _ in range(KNOWN_AFTER)]
    assert told[-1] == "its answers began 5 times as late as those of the others"
    assert not any(told[:-1])


def test_all_slow_together_are_no_outliers():
    outliers = Outliers()
    told = [outliers.answered(name, 0.0, 50.0) for _ in range(3 * KNOWN_AFTER) for name in BOTH]
    assert not any(told)


def test_what_is_long_over_counts_no_more():
    outliers = Outliers()
    for _ in range(KNOWN_AFTER):
        outliers.answered("b", 0.0, 1.0)
        outliers.answered("a", 0.0, 1.0)
    for _ in range(KNOWN_AFTER - 1):
        assert outliers.answered("a", WINDOW_S + 1, 100.0) is None
    assert outliers.answered("a", WINDOW_S + 1, 100.0) is None, "of the others nothing is known any more"


def test_an_answer_as_expected_costs_no_more_among_many_replicas():
    def steps(replicas: int) -> int:
        outliers = Outliers()
        for name in range(replicas):
            for _ in range(KNOWN_AFTER):
                outliers.answered(str(name), 0.0, 1.0)
        return steps_of(lambda: outliers.answered("0", 0.0, 1.0))

    assert steps(100) == steps(2)


def test_of_replicas_that_are_gone_nothing_is_kept():
    outliers = Outliers()
    fail(outliers, "a", 0.0)
    outliers.keep({"b"})
    assert outliers.passed_over(BOTH, 0.0) == frozenset()


NAMES = [f"r{n}" for n in range(6)]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.booleans() | st.just(True), st.none() | st.floats(0, 100), st.floats(0, 20)
    ),
    max_size=200,
)  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@given(EVENTS)
def test_whatever_comes_never_more_than_half_are_out_and_all_come_back(count, events):
    outliers, now = Outliers(), 0.0
    names = NAMES[:count]
    for name, failed, slowness, gap_s in events:
        now += gap_s
        if name not in names:
            continue
        _ = outliers.failed(name, now) if failed else outliers.answered(name, now, slowness)
        out = outliers.passed_over(names, now)
        assert out <= set(names)
        assert len(out) <= SHARE_MAX * count
        assert len(out) < count
    assert outliers.passed_over(names, now + OUT_MAX_S) == frozenset()


@given(EVENTS)
def test_what_could_eject_a_replica_is_counted_so_that_nothing_else_has_to_be_looked_through(events):
    counting, looking, now = Outliers(), Outliers(), 0.0
    for name, failed, slowness, gap_s in events:
        now += gap_s / 10
        for record in looking._records.values():
            record.bad = sum(1 for _ in record.recent)  # as if all of them could: then all are looked through
        told = [
            one.failed(name, now) if failed else one.answered(name, now, slowness) for one in (counting, looking)
        ]  # fmt: skip
        assert told[0] == told[1]
