"""Decides what a round does. Pure: no clock, no memory, no model; every input is an argument.

A round is: a turn for each set of adapters that has running sequences (its sequences decode, in calls of least total
cost), then prompt chunks for as long as the inter-token budget allows, planned when the turns are over. Decode and
prefill are separate calls because llama.cpp splits a mixed batch into equal-length parts anyway (measured: mixing buys
nothing on CPU, and costs the running sequences their rhythm).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

MOVES_WEIGHED = 8


class StepCost(Protocol):
    """Milliseconds of one decode call that carries `width` sequences."""

    def __call__(self, width: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Table:
    """What `tabulate` computes once, so that a step only looks up. Index: how many sequences, from 0."""

    best_ms: tuple[float, ...]  # of decoding that many consecutive ids, cut at best
    widths: tuple[tuple[int, ...], ...]  # that best cut: the widths of its calls, in order
    any_ids: bool = False  # whether ids with gaps between them share a call (shared KV cells)


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of a round, milliseconds. `shared`: prompt work while at least as many others decode, which bounds the
    gap between their tokens; `alone`: prompt work at most, which bounds how long a cancelled prompt goes on.
    `smallest_chunk_tokens` is worth its overhead even over budget."""

    batch_tokens: int
    smallest_chunk_tokens: int
    prefill_token_ms: float
    shared_ms: float
    alone_ms: float
    turns_ms: float = 400.0  # how long the turns of all adapters may take, which is the gap between bursts of tokens
    turn_overhead: float = 0.05  # the share of a turn that switching to it may cost, as far as `turns_ms` allows
    steady_ms: float = 100.0  # how long the turn may take where nothing but decoding is to be done
    steady_tokens: int = 8  # and how many tokens: what planning costs is no part of it any more


@dataclass(frozen=True, slots=True)
class Running:
    """A sequence that decodes, under a set of adapters."""

    sequence: int
    adapters: Hashable


@dataclass(frozen=True, slots=True)
class Prefilling:
    """A sequence whose prompt is not in memory yet. Its next chunk has `least_tokens` to `limit_tokens`, and leaves
    nothing or at least `least_tokens` too (twice that fits the batch and the limit). `rank`: lower goes first."""

    sequence: int
    adapters: Hashable
    remaining_tokens: int
    limit_tokens: int
    rank: tuple[float, ...]
    least_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """The sequences of one adapter set decode `repeats` tokens each, one after another in time."""

    adapters: Hashable
    sequences: tuple[int, ...]
    repeats: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Evaluate the next `tokens` of a sequence's prompt."""

    sequence: int
    adapters: Hashable
    tokens: int


def plan_turns(
    running: Sequence[Running],
    active: Hashable,
    table: Table,
    limits: Limits,
    switch_ms: float = 0.0,
    *,
    steady: bool = False,
) -> tuple[Turn, ...]:
    """A turn for each adapter set. `active`, the one in force, comes first, so that it need not be switched to;
    `switch_ms` is what changing adapters costs. `steady`: nobody's prompt is to be read."""
    groups: dict[Hashable, list[int]] = {}
    for one in running:
        groups.setdefault(one.adapters, []).append(one.sequence)
    costs = {adapters: total_cost(ids, table) for adapters, ids in groups.items()}
    if len(groups) == 1:
        [(adapters, ids)] = groups.items()
        return (Turn(adapters, tuple(sorted(ids)), _steady_repeats(costs[adapters], limits) if steady else 1),)
    round_ms = sum(costs.values()) + switch_ms * len(groups)
    ordered = sorted(groups, key=lambda adapters: adapters != active)
    return tuple(Turn(a, tuple(sorted(groups[a])), _repeats(costs[a], round_ms, switch_ms, limits)) for a in ordered)


def _steady_repeats(own_ms: float, limits: Limits) -> int:
    """How many tokens those who have the model to themselves decode before anything is planned anew."""
    return max(1, min(limits.steady_tokens, int(limits.steady_ms / own_ms))) if own_ms > 0 else 1


def _repeats(own_ms: float, round_ms: float, switch_ms: float, limits: Limits) -> int:
    """How many tokens a turn decodes: enough to keep switching cheap, as long as a round stays within the budget."""
    if switch_ms <= 0 or own_ms <= 0:
        return 1
    wanted = math.ceil(switch_ms / (limits.turn_overhead * own_ms))
    return max(1, min(wanted, int(limits.turns_ms / round_ms)))


def plan_chunks(prefilling: Sequence[Prefilling], running: int, active: Hashable, limits: Limits) -> tuple[Chunk, ...]:
    """Prompt chunks in the order of rank until the budget is used up; the first is always taken. `running`: how many
    sequences decode; `active`: the adapters in force.

    A chunk delays all that run, a decode turn delays all that wait for their first token: where more wait than run,
    the budget grows in proportion.
    """
    left_ms = limits.alone_ms
    if running:
        left_ms = min(left_ms, limits.shared_ms * max(1.0, len(prefilling) / running))
    chunks: list[Chunk] = []
    for one in sorted(prefilling, key=lambda p: p.rank):
        affordable = int(left_ms / limits.prefill_token_ms)
        least = max(limits.smallest_chunk_tokens, one.least_tokens)
        if chunks and affordable < min(least, one.remaining_tokens):
            break
        tokens = min(max(affordable, least), one.remaining_tokens, one.limit_tokens, limits.batch_tokens)
        if 0 < one.remaining_tokens - tokens < one.least_tokens:
            whole = one.remaining_tokens < 2 * one.least_tokens
            tokens = one.remaining_tokens - (0 if whole else one.least_tokens)
        chunks.append(Chunk(one.sequence, one.adapters, tokens))
        left_ms -= tokens * limits.prefill_token_ms
        if left_ms <= 0:
            break
    return tuple(sorted(chunks, key=lambda c: c.adapters != active))


# How the sequences of a turn share decode calls


def tabulate(cost: StepCost, slots: int, *, any_ids: bool = False) -> Table:
    """Dynamic programming over cut points: best[n] = min over w of cost(w) + best[n - w]. Wider wins a tie."""
    single = [0.0] + [cost(width) for width in range(1, slots + 1)]
    best, widths = [0.0], [()]  # type: tuple[list[float], list[tuple[int, ...]]]
    for n in range(1, slots + 1):
        least, negated = min((single[w] + best[n - w], -w) for w in range(1, n + 1))
        best.append(least)
        widths.append((-negated, *widths[n + negated]))
    return Table(tuple(best), tuple(widths), any_ids)


def partition(active: Sequence[int], table: Table) -> tuple[tuple[int, ...], ...]:
    """Split the active ids into decode calls of least total cost.

    Ids that are not consecutive never share a call unless `table.any_ids`: llama.cpp would run them one by one inside
    it. Within a run of consecutive ids any cut is allowed, because two narrow steps can cost less than a wide one on a
    CPU.
    """
    groups: list[tuple[int, ...]] = []
    for run in _shareable(active, table):
        at = 0
        for width in table.widths[len(run)]:
            groups.append(tuple(run[at : at + width]))
            at += width
    return tuple(groups)


def total_cost(active: Sequence[int], table: Table) -> float:
    """Milliseconds to decode one token for each active id, partitioned at its best."""
    return sum(table.best_ms[len(run)] for run in _shareable(active, table))


def _shareable(ids: Sequence[int], table: Table) -> list[Sequence[int]]:
    """The ids, ascending, cut where no call can span."""
    if table.any_ids:
        return [sorted(ids)] if ids else []
    return [range(first, first + length) for first, length in consecutive_runs(ids)]


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


def compaction(
    groups: Iterable[Sequence[int]], free: Sequence[int], table: Table, *, gain: float
) -> tuple[int, int] | None:
    """A move (from, to) of one running sequence into a free id that makes each step of its group at least `gain` times
    cheaper. A group: the ids that decode together, those of one adapter set.

    Gaps appear when requests finish; without moves, eight sequences at ids 0, 2, 4, ... never share a step. Weighed
    are moves of either end of the group to a free id beside another member.
    """
    if not free or table.any_ids:
        return None
    for ids in groups:
        if len(ids) < 2 or max(ids) - min(ids) + 1 == len(ids):
            continue
        beside = sorted({i + side for i in ids for side in (-1, 1)}.intersection(free))[:MOVES_WEIGHED]
        moves = [
            (total_cost([*(i for i in ids if i != source), target], table), target, source)
            for source in {max(ids), min(ids)}
            for target in beside
        ]
        if moves and min(moves)[0] * gain < total_cost(ids, table):
            _cost, target, source = min(moves)
            return source, target
    return None
