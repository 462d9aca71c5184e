"""What a decode step costs on this machine, measured once at load (about a second at most).

The planner partitions by these figures: on a CPU two narrow steps can beat a wide one, on a GPU a wide step is
nearly free. Guesses would be wrong on one of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.replica.llama import Context

BUDGET_S = 1.0
REPEATS = 3
PREFILL_SAMPLE_TOKENS = 32
CHUNKS = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class CostTable:
    """Milliseconds by decode width at the widths measured, and by prompt token. Calling it interpolates."""

    step_ms: dict[int, float]
    prefill_token_ms: float

    def __call__(self, width: int) -> float:
        """Milliseconds of one decode call of `width` sequences; beyond the widest measured, proportional to it."""
        widths = sorted(self.step_ms)
        if width <= widths[-1]:
            return float(np.interp(width, widths, [self.step_ms[w] for w in widths]))
        return self.step_ms[widths[-1]] * width / widths[-1]

    def chunk_tokens(self, budget_ms: float, limit: int) -> int:
        """The largest prompt chunk that fits `budget_ms` (never below the smallest chunk worth its overhead)."""
        fitting = [size for size in CHUNKS if size * self.prefill_token_ms <= budget_ms]
        return min(limit, fitting[-1] if fitting else CHUNKS[0])


def measure(context: Context, token: int, clock: Callable[[], float] = time.perf_counter) -> CostTable:
    """Time decode steps of 1, 2, 4, 8, ... sequences and one prompt chunk; leaves the context empty.

    A model too slow for the time allowed gets the narrowest and the widest; the rest is interpolated.
    """
    deadline = clock() + BUDGET_S
    chunk = np.full(min(PREFILL_SAMPLE_TOKENS, context.rows, context.batch), token, np.int32)
    context.prefill(0, chunk, 0, rows="last")  # the first graph is built here, outside the timing
    context.keep(0, 0)
    prefill_ms = _timed_ms(lambda: context.prefill(0, chunk, 0, rows="last"), context, clock)
    context.clear()
    steps: dict[int, float] = {}
    # Round by round over all widths: a disturbance then hits one round of each, not all rounds of one.
    for _round in range(REPEATS):
        for width in _widths(context.slots):
            if len(steps) > 1 and clock() > deadline:
                break
            steps[width] = min(_step_ms(context, token, width, clock), steps.get(width, float("inf")))
            context.clear()
    return CostTable(steps, prefill_ms / len(chunk))


def _widths(slots: int) -> list[int]:
    """Widths in the order of what they tell: 1, all, then the powers of two between."""
    between = [1 << n for n in range(1, slots.bit_length()) if 1 << n < slots]
    return [1, *([slots] if slots > 1 else []), *between]


def _step_ms(context: Context, token: int, width: int, clock: Callable[[], float]) -> float:
    return _timed_ms(lambda: context.decode_step(range(width), [token] * width, [0] * width), context, clock)


def _timed_ms(action: Callable[[], object], context: Context, clock: Callable[[], float]) -> float:
    started = clock()
    action()
    context.synchronize()  # on a GPU decode returns before the work is done
    return (clock() - started) * 1e3
