"""What decode calls cost on this machine, measured once at load (about a second at most).

The planner partitions by these figures: on a CPU two narrow steps can beat a wide one, on a GPU a wide step is
nearly free. Guesses would be wrong on one of the two. Speculation is priced by them too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from engine.replica import invariance, threads
from engine.replica.llama import Context

BUDGET_S = 1.0
REPEATS = 3
PREFILL_SAMPLE_TOKENS = 32
VERIFY_TOKENS = (17, 5, 2, 9, 3, 32)  # in the order of what they tell


@dataclass(frozen=True)
class CostTable:
    """Milliseconds of one decode call. `step_ms`: by how many sequences take one token each. `verify_ms`: by how many
    tokens of one sequence have their logits read. Between the widths measured it interpolates. `batch_invariant`:
    whether logits came out bit for bit the same at every width tried. All at `threads` CPU threads; `thread_ms`: what
    that number was chosen by (see threads.py), empty where it was given."""

    step_ms: dict[int, float]
    prefill_token_ms: float
    verify_ms: dict[int, float] = field(default_factory=dict)
    batch_invariant: bool = False
    threads: int = 1
    thread_ms: dict[int, float] = field(default_factory=dict)

    def __call__(self, width: int) -> float:
        """One decode call of `width` sequences; beyond the widest measured, proportional to it."""
        return _interpolated(self.step_ms, width)

    def verify(self, tokens: int) -> float:
        """One decode call of `tokens` tokens of one sequence, all of their logits read. Where unmeasured: a guess that
        never favours speculation, the cost of as many single steps."""
        if not self.verify_ms:
            return self.step_ms[1] * tokens
        return _interpolated({1: self.step_ms[1], **self.verify_ms}, tokens)


def _interpolated(known: dict[int, float], width: int) -> float:
    widths = sorted(known)
    if width <= widths[-1]:
        return float(np.interp(width, widths, [known[w] for w in widths]))
    return known[widths[-1]] * width / widths[-1]


def measure(
    context: Context, token: int, *, tune: bool = False, clock: Callable[[], float] = time.perf_counter
) -> CostTable:
    """Time decode steps of 1, 2, 4, 8, ... sequences, one prompt chunk and a few verifications of drafts; leaves the
    context empty. With `tune` first choose how many of the context's threads pay; it keeps that many.

    A model too slow for the time allowed gets the narrowest and the widest; the rest is interpolated.
    """
    deadline = clock() + BUDGET_S
    chunk = np.full(min(PREFILL_SAMPLE_TOKENS, context.rows, context.batch), token, np.int32)
    context.prefill(0, chunk, 0, rows="last")  # the first graph is built here, outside the timing
    context.keep(0, 0)
    step_ms = partial(_step_ms, context, token, clock)
    thread_ms = threads.choose(context, step_ms, clock) if tune else {}
    prefill_ms = _timed_ms(lambda: context.prefill(0, chunk, 0, rows="last"), context, clock)
    context.clear()
    steps: dict[int, float] = {}
    verifications: dict[int, float] = {}
    # Round by round over all widths: a disturbance then hits one round of each, not all rounds of one.
    for _round in range(REPEATS):
        for width in _widths(context.slots):
            if len(steps) > 1 and clock() > deadline:
                break
            steps[width] = min(step_ms(width), steps.get(width, float("inf")))
        for tokens in VERIFY_TOKENS:
            if tokens > context.rows or (verifications and clock() > deadline):
                continue
            taken = _verify_ms(context, token, tokens, clock)
            verifications[tokens] = min(taken, verifications.get(tokens, float("inf")))
            context.clear()
    return CostTable(
        steps,
        prefill_ms / len(chunk),
        _rising(verifications, steps[1]),
        invariance.probe(context),
        context.threads,
        thread_ms,
    )


def _rising(measured: dict[int, float], single_ms: float) -> dict[int, float]:
    """The same figures by rising width, none below a narrower one: a disturbance must not make drafts look free."""
    rising: dict[int, float] = {}
    for width in sorted(measured):
        single_ms = rising[width] = max(single_ms, measured[width])
    return rising


def _widths(slots: int) -> list[int]:
    """Widths in the order of what they tell: 1, all, then the powers of two between."""
    between = [1 << n for n in range(1, slots.bit_length()) if 1 << n < slots]
    return [1, *([slots] if slots > 1 else []), *between]


def _step_ms(context: Context, token: int, clock: Callable[[], float], width: int) -> float:
    taken = _timed_ms(lambda: context.decode_step(range(width), [token] * width, [0] * width), context, clock)
    context.clear()
    return taken


def _verify_ms(context: Context, token: int, tokens: int, clock: Callable[[], float]) -> float:
    chunk = np.full(tokens, token, np.int32)
    return _timed_ms(lambda: context.prefill(0, chunk, 0, rows="all"), context, clock)


def _timed_ms(action: Callable[[], object], context: Context, clock: Callable[[], float]) -> float:
    started = clock()
    action()
    context.synchronize()  # on a GPU decode returns before the work is done
    return (clock() - started) * 1e3
