"""Carries out rounds, one call to the model after another.

    close a gap between ids -> a draft model reads on -> turns of decoding -> newcomers -> prompt chunks

What a round contains is the planner's decision. It may take most of a second, so between its calls tokens are sent and
what other threads ask is done: sequences may be gone when it is their turn. Who could join makes it shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from client.errors import Internal
from engine.replica import planner, stepper
from engine.replica.loaded import Loaded
from engine.replica.memory import Memory
from engine.replica.meters import Meters
from engine.replica.sequence import Sequence

DRAFT_CHUNK_MS = 60.0  # of a draft model that reads on: nobody waits for it
COMPACTION_GAIN = 1.15  # a move costs about a millisecond and a cached prefix


class Outcome(stepper.Outcome, Protocol):
    """Who is told what came of a call, and that it is over."""

    def between_calls(self) -> None:
        """The context is free for a moment: sequences may end here, none may begin."""

    def pressing(self) -> bool:
        """Whether somebody came since the last admission who could start."""

    def admit_newcomers(self) -> None:
        """Sequences may begin here."""


class Rounds:
    """`active` is the scheduler's own map of running sequences by id; compaction changes ids in it here."""

    def __init__(
        self,
        loaded: Loaded,
        limits: planner.Limits,
        memory: Memory,
        meters: Meters,
        active: dict[int, Sequence],
        outcome: Outcome,
    ) -> None:
        self._loaded, self._context = loaded, loaded.context
        self._limits, self._memory, self._active, self._outcome = limits, memory, active, outcome
        self._table = planner.tabulate(loaded.costs, loaded.context.slots, any_ids=loaded.context.unified)
        self._stepper = stepper.Stepper(loaded, self._table, meters, active, outcome)
        drafter = loaded.draft_model
        self._draft_chunk_tokens = max(1, int(DRAFT_CHUNK_MS / drafter.prefill_token_ms)) if drafter else 0
        self._number = 0

    def next(self) -> None:
        """One round. Its turns end early once somebody could join, or somebody has left: more tokens than one only make
        switching, or planning, cheap."""
        self._number += 1
        self._compact()
        self._draft_ahead()
        for turn in self._turns():
            self._take(turn)
        self._outcome.admit_newcomers()
        for chunk in self._chunks():
            if chunk.sequence in self._active:
                self._active[chunk.sequence].served = self._number
                self._stepper.prefill(chunk)
                self._outcome.between_calls()
        self._loaded.adapters.sweep(self._stepper.in_use())

    def _take(self, turn: planner.Turn) -> None:
        there = len(self._active)
        for _token in range(turn.repeats):
            self._stepper.decode_turn(turn)
            self._outcome.between_calls()
            if self._outcome.pressing() or len(self._active) < there:
                break

    def _turns(self) -> tuple[planner.Turn, ...]:
        running = [planner.Running(i, s.job.adapters) for i, s in self._active.items() if s.running]
        steady = len(running) == len(self._active) and not any(
            s.speculator is not None and s.speculator.needs_catch_up for s in self._active.values()
        )
        return planner.plan_turns(
            running, self._stepper.in_force, self._table, self._limits, self._stepper.switch_ms, steady=steady
        )

    def _chunks(self) -> tuple[planner.Chunk, ...]:
        running = sum(s.running for s in self._active.values())
        return planner.plan_chunks(list(self._prefilling()), running, self._stepper.in_force, self._limits)

    def _prefilling(self) -> Iterator[planner.Prefilling]:
        for identifier, sequence in self._active.items():
            if sequence.prefilling:
                least = self._loaded.wide if sequence.in_wide_part else 1
                rank = (-sequence.priority, sequence.served, identifier)
                left, limit = sequence.remaining_prompt, self._chunk_limit(sequence)
                yield planner.Prefilling(identifier, sequence.job.adapters, left, limit, rank, least)

    def _chunk_limit(self, sequence: Sequence) -> int:
        limit = self._context.rows if sequence.scores_prompt else self._context.batch
        narrow = self._loaded.wide > 1 and not sequence.in_wide_part
        return min(limit, self._loaded.wide - 1) if narrow else limit

    def _draft_ahead(self) -> None:
        """Give one sequence's draft model a chunk of what it has yet to read."""
        for sequence in self._active.values():
            speculator = sequence.speculator
            if speculator is not None and sequence.running and speculator.needs_catch_up:
                speculator.catch_up(self._draft_chunk_tokens)
                return

    def _compact(self) -> None:
        """Close a gap between active ids when that makes turns cheaper; the id left behind stays as a cached prefix."""
        if not self._loaded.model.can_reuse_prefix:
            return
        groups: dict[object, list[int]] = {}
        for identifier, sequence in self._active.items():
            if sequence.running:
                groups.setdefault(sequence.job.adapters, []).append(identifier)
        free = [i for i in range(self._context.slots) if i not in self._active]
        move = planner.compaction(groups.values(), free, self._table, gain=COMPACTION_GAIN)
        if move is not None:
            self._move(*move)

    def _move(self, source: int, target: int) -> None:
        sequence = self._active[source]
        try:
            self._memory.move(source, target)
        except Exception as error:  # neither id can be trusted now
            self._outcome.fail(sequence, Internal(f"a sequence could not be moved: {error!r}"))
            self._memory.drop(target)
            return
        del self._active[source]
        sequence.identifier = target
        self._active[target] = sequence
