"""How many threads a replica takes, on machines made of arithmetic: a clock that steps move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.replica.threads import BUDGET_S, NEAR, choose, counts, fewest

SLOTS = 8
Cost = Callable[[int, int], float]  # milliseconds by threads and width


class Machine:
    """A context that only counts threads; steps move the clock by what they cost."""

    slots = SLOTS

    def __init__(self, most: int, cost: Cost) -> None:
        self.threads = most
        self.tried: list[int] = []
        self._cost, self._now = cost, 0.0

    def use_threads(self, count: int) -> None:
        self.threads = count

    def step_ms(self, width: int) -> float:
        self.tried.append(self.threads)
        taken = self._cost(self.threads, width)
        self._now += taken / 1e3
        return taken

    def clock(self) -> float:
        return self._now


def chosen(most: int, cost: Cost) -> tuple[int, Machine, dict[int, float]]:
    machine: Any = Machine(most, cost)
    return_value = choose(machine, machine.step_ms, machine.clock)
    return machine.threads, machine, return_value


@pytest.mark.parametrize(
    ("most", "tried"),
    [(1, [1]), (2, [2, 1]), (3, [3, 2, 1]), (4, [4, 2, 1]), (7, [7, 4, 2, 1]), (16, [16, 8, 4, 2, 1])],
)
def test_powers_of_two_and_the_most_are_tried_the_most_first(most, tried) -> None:
    assert counts(most) == tried


@given(st.dictionaries(st.integers(1, 64), st.floats(0.1, 1e3), min_size=1))
def test_the_choice_is_near_the_best_and_nothing_smaller_is(cost_ms) -> None:
    count = fewest(cost_ms)
    best = min(cost_ms.values())
    assert cost_ms[count] <= best * NEAR
    assert all(ms > best * NEAR for other, ms in cost_ms.items() if other < count)


def test_what_gains_less_than_a_tenth_is_left_to_others() -> None:
    count, _, cost_ms = chosen(4, lambda threads, width: {1: 10.9, 2: 10.4, 4: 10.0}[threads])
    assert count == 1
    assert cost_ms == pytest.approx({4: 10.0, 2: 10.4, 1: 10.9})


def test_where_each_thread_computes_as_much_as_the_last_all_are_taken() -> None:
    assert chosen(6, lambda threads, width: 40.0 * width / threads)[0] == 6


def test_where_threads_get_into_each_others_way_fewer_are_taken() -> None:
    assert chosen(8, lambda threads, width: 4.0 / threads + threads)[0] == 2


def test_a_lone_stream_and_a_full_batch_count_alike() -> None:
    def cost(threads: int, width: int) -> float:
        return 5.0 if width == 1 else 80.0 / threads

    assert chosen(2, cost)[0] == 2  # a quarter is gained on full steps, nothing is lost on narrow ones
    assert chosen(2, lambda threads, width: 2.5 * threads if width == 1 else 80.0 / threads)[0] == 1


def test_a_model_too_slow_to_try_them_all_takes_the_most() -> None:
    count, machine, cost_ms = chosen(16, lambda threads, width: 1e3 * BUDGET_S * width)
    assert count == 16
    assert list(cost_ms) == [16]
    assert set(machine.tried) == {16}


def test_fewer_threads_are_not_tried_once_half_of_them_were_hopeless() -> None:
    _, machine, cost_ms = chosen(8, lambda threads, width: 8.0 / threads)
    assert list(cost_ms) == [8, 4]
    assert 1 not in machine.tried


def test_one_disturbance_does_not_decide() -> None:
    calls = 0

    def cost(threads: int, width: int) -> float:
        nonlocal calls
        calls += 1
        return 50.0 if calls == 2 else 4.0 / threads  # the first timed step, of the most threads

    count, _, cost_ms = chosen(2, cost)
    assert count == 2
    assert cost_ms == pytest.approx({2: 2.0, 1: 4.0})
