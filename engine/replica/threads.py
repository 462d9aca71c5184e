"""How many CPU threads decode calls take: measured at load, within the cores that this replica was given.

More threads are faster only up to the memory's bandwidth, and each one costs something when others are about: all of
them wait for the slowest after every operation, so that one busy core slows a step of two threads below that of one
(measured: 567 tokens a second with two threads on two idle cores, 289 once one was busy, 354 with one thread). And past
512 tokens only one thread gives the same bits at any load: llama.cpp cuts longer attention by threads. So the fewest
that come near the best are taken; a core that is left over is worth more to another replica (measured: two with one
thread each make 1.4 to 1.8 times the tokens of one with two).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from engine.replica.llama import Context

BUDGET_S = 0.4  # of the second that measuring costs may take
ROUNDS = 3
NEAR = 1.10  # what is no slower than the best by this factor is as good
HOPELESS = 1.5  # so much slower with half the threads: with fewer still it would be slower yet


def counts(most: int) -> list[int]:
    """The numbers to try, the largest first: a slow model, measured at that alone, shall not end with the smallest."""
    return [most, *sorted((1 << n for n in range(most.bit_length()) if 1 << n < most), reverse=True)]


def fewest(cost_ms: Mapping[int, float]) -> int:
    """The fewest threads whose cost is near the lowest."""
    limit = min(cost_ms.values()) * NEAR
    return min(count for count, ms in cost_ms.items() if ms <= limit)


def choose(context: Context, step_ms: Callable[[int], float], clock: Callable[[], float]) -> dict[int, float]:
    """Try up to as many threads as the context has, and leave it with the fewest good ones. `step_ms(width)` makes a
    step of so many sequences and times it.

    Returns by number of threads the milliseconds it was judged by: the geometric mean of a lone sequence's step and of
    a step of all of them. Alone the first would ask for too few, since narrow steps wait for memory and wide ones
    compute; a sum would hear the wide one only.
    """
    deadline = clock() + BUDGET_S
    steps: dict[int, tuple[float, float]] = {}
    trying = counts(context.threads)
    # Round by round, so that a disturbance hits one round of each number and not all rounds of one.
    for number in range(ROUNDS):
        for count in trying:
            if steps and clock() > deadline:
                break
            context.use_threads(count)
            step_ms(1)  # the threads are made in this one
            alone, together = step_ms(1), step_ms(context.slots)
            known = steps.get(count, (math.inf, math.inf))
            steps[count] = (min(alone, known[0]), min(together, known[1]))
            if number == 0 and _mean(steps[count]) > HOPELESS * min(map(_mean, steps.values())):
                break
        trying = list(steps)
    cost_ms = {count: _mean(measured) for count, measured in steps.items()}
    context.use_threads(fewest(cost_ms))
    return cost_ms


def _mean(steps_ms: tuple[float, float]) -> float:
    return math.sqrt(steps_ms[0] * steps_ms[1])
