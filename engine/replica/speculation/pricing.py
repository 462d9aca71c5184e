"""How many tokens to draft: from what is likely to be accepted and what it costs. Pure.

A draft of k tokens pays when it emits more tokens a millisecond than the plain step. How many it emits depends on how
long the source has been right: after a run of right tokens the next is likely right too, after a miss it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

VerifyCost = Callable[[int], float]  # milliseconds of one decode call of that many tokens of one sequence

MIN_GAIN = 1.05
# A source that is always right looks better after each step more, so waiting must promise much, or it never ends (the
# best of 1.0 to 1.3 in tests/unit/speculation_simulation.py).
WAITING_GAIN = 1.3
LEAST_ADDED = 0.02  # expected tokens: no draft pays for less, and most are priced in a microsecond or two
DEPTHS = (0, 1, 2, 3, 4, 6, 9, 16)  # runs of right tokens that are told apart: the first of each class
_CLASS = [max(i for i, first in enumerate(DEPTHS) if first <= run) for run in range(DEPTHS[-1] + 1)]


class Chances(Protocol):
    """Probability that the next token is right after a run of right ones."""

    def chance(self, run: int) -> float: ...


class Curve:
    """A belief before any experience: `first` right after a miss, approaching `last` as the run grows."""

    def __init__(self, first: float, last: float) -> None:
        self._first, self._last = first, last

    def chance(self, run: int) -> float:
        return self._last - (self._last - self._first) * 0.5 ** min(run, DEPTHS[-1])


class Acceptance:
    """What share of tokens was right, by the run of right ones before: recent experience on top of a prior belief.

    Counts fade by `decay` with each observation of their class, so about the last 1 / (1 - decay) of them speak.
    The prior weighs as much as `weight` observations.
    """

    def __init__(self, prior: Chances, *, decay: float, weight: float) -> None:
        self._prior, self._decay, self._weight = prior, decay, weight
        self._right = [0.0] * len(DEPTHS)
        self._seen = [0.0] * len(DEPTHS)

    def chance(self, run: int) -> float:
        depth = _CLASS[min(run, DEPTHS[-1])]
        prior = self._prior.chance(DEPTHS[depth])
        return (self._right[depth] + self._weight * prior) / (self._seen[depth] + self._weight)

    def observe(self, run: int, right: bool) -> None:
        depth = _CLASS[min(run, DEPTHS[-1])]
        self._right[depth] = self._right[depth] * self._decay + right
        self._seen[depth] = self._seen[depth] * self._decay + 1.0


def expected_tokens(chances: Chances, run: int, limit: int) -> list[float]:
    """E(0..limit): tokens that a step emits with so many drafts after a run of right tokens; the first is certain.

    It ends early where one more draft adds next to nothing.
    """
    expected, reached = [1.0], 1.0
    deepest = chances.chance(DEPTHS[-1])
    for drafted in range(limit):
        at = run + drafted
        reached *= deepest if at >= DEPTHS[-1] else chances.chance(at)
        if reached < LEAST_ADDED:
            break
        expected.append(expected[-1] + reached)
    return expected


def best_length(
    expected: Sequence[float],
    verify_ms: VerifyCost,
    draft_ms: Callable[[int], float],
    plain_ms: float,
    limit: int,
    gain: float = MIN_GAIN,
) -> int:
    """The k of 0..`limit` that emits most tokens a millisecond; 0 unless that is `gain` times what plain steps do.

    `expected[k]` as of `expected_tokens`; `plain_ms`: what this sequence adds to the plain step it would share.
    """
    best, best_rate = 0, gain / plain_ms if plain_ms > 0 else float("inf")
    for k in range(1, min(limit, len(expected) - 1) + 1):
        rate = expected[k] / (verify_ms(k + 1) + draft_ms(k))
        if rate > best_rate:
            best, best_rate = k, rate
    return best


def pays_to_wait(
    chances: Chances, run: int, expected: Sequence[float], k: int, verify_ms: VerifyCost, plain_ms: float
) -> bool:
    """Whether a plain step now, and drafts only if it shows the source to be right, beats `k` drafts at once.

    After a miss it often does: the step costs little and tells whether all of a long draft would be lost. `expected`
    as of `expected_tokens` for `run`; the source drafts at no cost.
    """
    chance = chances.chance(run)
    later = expected_tokens(chances, run + 1, len(expected) - 1)
    longest = best_length(later, verify_ms, no_cost, plain_ms, len(later) - 1)
    then_ms = verify_ms(longest + 1) if longest else plain_ms
    waiting = (1.0 + chance * later[longest]) / (plain_ms + chance * then_ms)
    return waiting > WAITING_GAIN * expected[k] / verify_ms(k + 1)


def no_cost(_tokens: int) -> float:
    return 0.0
