"""What drafts yield and cost, and how many of them pay: from what replicas counted and measured. Pure.

A step that drafts k tokens yields one token and every drafted one that is right up to there. It costs a verification of
k + 1 tokens and k tokens of the draft model (next to nothing for n-grams). Drafting pays while it yields more tokens a
millisecond than plain steps: of one request at a time, as replicas measure it; with many at once a plain step is
shared, and less pays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.fleet_types import SpeculationView


FEW_DRAFTS = 50  # that had a token at a position: fewer say nothing of it yet
_STEPS = 60  # of bisection


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds: a plain step, a step by how many tokens it verifies, one token of the draft model."""

    step_ms: float
    verify_ms: Mapping[int, float]
    draft_token_ms: float = 0.0

    def of(self, drafted: int) -> float:
        """A step that drafts so many tokens; between two measured widths on the line between them, beyond the widest
        in proportion to it."""
        known = sorted({1: self.step_ms, **self.verify_ms}.items())
        widths = [width for width, _ in known]
        wanted = drafted + 1
        if wanted >= widths[-1]:
            return known[-1][1] * wanted / widths[-1] + drafted * self.draft_token_ms
        at = bisect_left(widths, wanted)
        (low, below), (high, above) = known[max(0, at - 1)], known[at]
        share = (wanted - low) / (high - low) if high > low else 1.0
        return below + (above - below) * share + drafted * self.draft_token_ms


def costs_of(view: SpeculationView | None, *, by_model: bool) -> Costs | None:
    """As measured; None where that is not told. `by_model`: a draft model drafts."""
    if view is None or not view.step_ms or not view.verify_ms or (by_model and view.draft_token_ms is None):
        return None
    return Costs(view.step_ms, view.verify_ms, (view.draft_token_ms or 0.0) if by_model else 0.0)


def right_up_to(view: SpeculationView) -> tuple[float, ...]:
    """By position: of the drafts that had a token there, the share that was right up to there. It ends where too few
    had one."""
    found: list[float] = []
    for drafted, accepted in zip(view.drafted_at, (*view.accepted_at, *[0] * len(view.drafted_at)), strict=False):
        if drafted < FEW_DRAFTS:
            break
        found.append(min(accepted / drafted, found[-1] if found else 1.0))
    return tuple(found)


def one_more(chances: Sequence[float]) -> tuple[float, ...]:
    """With the next position, as likely to be right after the last one as that was after the one before it."""
    if not chances:
        return ()
    before = chances[-2] if len(chances) > 1 else 1.0
    return (*chances, chances[-1] * (chances[-1] / before if before else 0.0))


def tokens_per_step(chances: Sequence[float], drafted: int) -> float:
    """Expected tokens of a step, 1 to `drafted` + 1; a position that nobody has seen adds nothing."""
    return 1.0 + sum(chances[:drafted])


def speedup(chances: Sequence[float], drafted: int, costs: Costs) -> float:
    """Tokens a millisecond by those of plain steps."""
    return tokens_per_step(chances, drafted) * costs.step_ms / costs.of(drafted)


def best(chances: Sequence[float], costs: Costs) -> int:
    """How many tokens to draft, at most as many as have been seen; 0 where no draft pays."""
    return max(range(len(chances) + 1), key=lambda k: (speedup(chances, k, costs), -k))


def break_even(drafted: int, costs: Costs) -> float | None:
    """The acceptance of each token from which on a step of `drafted` drafts is faster than none (Leviathan et al.,
    "Fast Inference from Transformers via Speculative Decoding", 2023); None where even drafts that are all right are
    not worth it."""
    must = costs.of(drafted) / costs.step_ms
    if drafted + 1 <= must:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(middle**n for n in range(drafted + 1)) >= must else (middle, high)
    return high
