"""Decides what the next step does. Pure: no clock, no memory, no model; every input is an argument.

One step is: some admissions, one decode of every running sequence (in groups), one chunk of one prompt.
Decode and prefill are separate calls because llama.cpp splits a mixed batch into equal-length parts anyway
(measured: mixing buys nothing on CPU, and costs the running sequences their rhythm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class StepCost(Protocol):
    """Milliseconds of one decode call that carries `width` sequences."""

    def __call__(self, width: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Prefilling:
    """A sequence whose prompt is not in memory yet. `served` is the number of the step that last fed it."""

    sequence: int
    remaining_tokens: int
    served: int
    limit_tokens: int  # a sequence that wants every row scored takes smaller chunks


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups of ascending, consecutive ids to decode one call each, then `chunk_tokens` of prompt for `prefill`."""

    groups: tuple[tuple[int, ...], ...]
    prefill: int | None
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Chunk sizes: `shared` keeps the gap between tokens short while others decode, `alone` only cancellation."""

    batch_tokens: int
    shared_chunk_tokens: int
    alone_chunk_tokens: int


def plan_step(running: Sequence[int], prefilling: Sequence[Prefilling], cost: StepCost, limits: Limits) -> Plan:
    """The next step: all of `running` decode; the prompt that waited longest for a chunk gets one."""
    groups = partition(running, cost)
    if not prefilling:
        return Plan(groups, None, 0)
    chosen = min(prefilling, key=lambda p: (p.served, p.sequence))
    chunk = limits.shared_chunk_tokens if running else limits.alone_chunk_tokens
    tokens = min(chunk, chosen.remaining_tokens, chosen.limit_tokens, limits.batch_tokens)
    return Plan(groups, chosen.sequence, max(1, tokens))


def partition(active: Sequence[int], cost: StepCost) -> tuple[tuple[int, ...], ...]:
    """Split the active ids into decode calls of least total cost.

    Ids that are not consecutive never share a call: llama.cpp would run them one by one inside it. Within a run of
    consecutive ids any cut is allowed, because two narrow steps can cost less than a wide one on a CPU.
    """
    groups: list[tuple[int, ...]] = []
    for run in consecutive_runs(active):
        start = 0
        for width in _cheapest_widths(len(run), cost):
            groups.append(tuple(run[start : start + width]))
            start += width
    return tuple(groups)


def consecutive_runs(ids: Sequence[int]) -> list[list[int]]:
    """Ascending ids grouped into runs without gaps."""
    runs: list[list[int]] = []
    for identifier in sorted(ids):
        if runs and runs[-1][-1] + 1 == identifier:
            runs[-1].append(identifier)
        else:
            runs.append([identifier])
    return runs


def _cheapest_widths(length: int, cost: StepCost) -> list[int]:
    """Dynamic programming over cut points: best[n] = min over w of cost(w) + best[n - w]. Wider wins a tie."""
    best, choice = [0.0] * (length + 1), [0] * (length + 1)
    for n in range(1, length + 1):
        best[n], choice[n] = min((cost(w) + best[n - w], -w) for w in range(1, n + 1))
    widths: list[int] = []
    while length:
        widths.append(-choice[length])
        length -= widths[-1]
    return widths


def total_cost(active: Sequence[int], cost: StepCost) -> float:
    """Milliseconds to decode one token for each active id, partitioned at its best."""
    return sum(cost(len(group)) for group in partition(active, cost))


def compaction(running: Sequence[int], free: Sequence[int], cost: StepCost, *, gain: float) -> tuple[int, int] | None:
    """A move (from, to) of one running sequence into a free id that makes each step at least `gain` times cheaper.

    Gaps appear when requests finish; without moves, eight sequences at ids 0, 2, 4, ... never share a step.
    """
    if len(running) < 2 or not free:
        return None
    now = total_cost(running, cost)
    moves = [(total_cost([i for i in running if i != a] + [b], cost), b, a) for a in running for b in free]
    cheapest, target, source = min(moves)
    return (source, target) if cheapest * gain < now else None
