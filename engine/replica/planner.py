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
class Table:
    """What `tabulate` computes once, so that a step only looks up. Index: how many sequences, from 0."""

    best_ms: tuple[float, ...]  # of decoding that many consecutive ids, cut at best
    widths: tuple[tuple[int, ...], ...]  # that best cut: the widths of its calls, in order


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


def tabulate(cost: StepCost, slots: int) -> Table:
    """Dynamic programming over cut points: best[n] = min over w of cost(w) + best[n - w]. Wider wins a tie."""
    single = [0.0] + [cost(width) for width in range(1, slots + 1)]
    best, widths = [0.0], [()]  # type: tuple[list[float], list[tuple[int, ...]]]
    for n in range(1, slots + 1):
        least, negated = min((single[w] + best[n - w], -w) for w in range(1, n + 1))
        best.append(least)
        widths.append((-negated, *widths[n + negated]))
    return Table(tuple(best), tuple(widths))


def plan_step(running: Sequence[int], prefilling: Sequence[Prefilling], table: Table, limits: Limits) -> Plan:
    """The next step: all of `running` decode; the prompt that waited longest for a chunk gets one."""
    groups = partition(running, table)
    if not prefilling:
        return Plan(groups, None, 0)
    chosen = min(prefilling, key=lambda p: (p.served, p.sequence))
    chunk = limits.shared_chunk_tokens if running else limits.alone_chunk_tokens
    tokens = min(chunk, chosen.remaining_tokens, chosen.limit_tokens, limits.batch_tokens)
    return Plan(groups, chosen.sequence, max(1, tokens))


def partition(active: Sequence[int], table: Table) -> tuple[tuple[int, ...], ...]:
    """Split the active ids into decode calls of least total cost.

    Ids that are not consecutive never share a call: llama.cpp would run them one by one inside it. Within a run of
    consecutive ids any cut is allowed, because two narrow steps can cost less than a wide one on a CPU.
    """
    groups: list[tuple[int, ...]] = []
    for first, length in consecutive_runs(active):
        for width in table.widths[length]:
            groups.append(tuple(range(first, first + width)))
            first += width
    return tuple(groups)


def consecutive_runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """The runs without gaps among distinct ids, ascending, each as (first id, length)."""
    if not ids:
        return []
    ordered = sorted(ids)
    if ordered[-1] - ordered[0] + 1 == len(ordered):
        return [(ordered[0], len(ordered))]
    runs, first, last = [], ordered[0], ordered[0]
    for identifier in ordered[1:]:
        if identifier != last + 1:
            runs.append((first, last - first + 1))
            first = identifier
        last = identifier
    return [*runs, (first, last - first + 1)]


def total_cost(active: Sequence[int], table: Table) -> float:
    """Milliseconds to decode one token for each active id, partitioned at its best."""
    return sum(table.best_ms[length] for _first, length in consecutive_runs(active))


def compaction(running: Sequence[int], free: Sequence[int], table: Table, *, gain: float) -> tuple[int, int] | None:
    """A move (from, to) of one running sequence into a free id that makes each step at least `gain` times cheaper.

    Gaps appear when requests finish; without moves, eight sequences at ids 0, 2, 4, ... never share a step. Only two
    moves are weighed, from either end inwards: the highest id to the lowest free one, and the mirror image.
    """
    if not running or not free:
        return None
    lowest, highest = min(running), max(running)
    if highest - lowest + 1 == len(running):
        return None
    now = total_cost(running, table)
    below, inside = min(free), max((i for i in free if i < highest), default=-1)
    inwards = [(highest, below)] * (below < highest) + [(lowest, inside)] * (inside > lowest)
    moves = [(total_cost([*(i for i in running if i != a), b], table), b, a) for a, b in inwards]
    if not moves:
        return None
    cheapest, target, source = min(moves)
    return (source, target) if cheapest * gain < now else None
