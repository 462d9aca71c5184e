"""Carries out a plan: decode calls, verifications of drafts, prompt chunks. All calls that compute are made here.

A call that fails is repeated one sequence at a time, so that only the sequence at fault fails. Every token that comes
out goes to `Outcome.take`, every sequence that cannot go on to `Outcome.fail`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from collections.abc import Sequence as Ordered
from typing import Protocol

import numpy as np

from client.errors import FiredeckError, Internal
from engine.replica import planner
from engine.replica.job import AdapterSet
from engine.replica.llama import Logits
from engine.replica.loaded import Loaded
from engine.replica.meters import Meters
from engine.replica.sequence import NotNumbers, Sequence
from engine.replica.speculation import Proposal

SWITCH_MS = 3.0  # what a change of adapters costs until it has been seen
SWITCH_LEARNING = 0.1
SWITCH_MOST_MS = 50.0  # more is a disturbance
NO_ROOM = 1  # llama_decode's code: the batch does not fit the cells, nothing was evaluated


class Outcome(Protocol):
    """Who is told what came of a call."""

    def take(self, sequence: Sequence, row: Logits) -> bool:
        """One more token of logits for `sequence`; False when that ended it."""

    def prompt_done(self, sequence: Sequence) -> None: ...

    def fail(self, sequence: Sequence, error: FiredeckError) -> None: ...

    def make_room(self, sequence: Sequence, tokens: int) -> bool:
        """Whether `tokens` more fit the cells, by making others give way; False: not now."""

    def cleanse(self) -> None:
        """Shared cells: rid them of what is no number."""

    def renew(self, sequence: Sequence) -> None:
        """What `sequence` holds is good, but the cells behind it hold no numbers."""

    def progressed(self) -> None: ...


class Stepper:
    """`active` maps ids to running sequences and is the scheduler's own: it shrinks while a plan is carried out."""

    def __init__(
        self,
        loaded: Loaded,
        table: planner.Table,
        meters: Meters,
        active: Mapping[int, Sequence],
        outcome: Outcome,
    ) -> None:
        self.in_force: AdapterSet = ()
        self.switch_ms = SWITCH_MS
        self._context, self._adapters = loaded.context, loaded.adapters
        self._table, self._meters = table, meters
        self._active, self._outcome = active, outcome
        self._just_switched = False
        # A token and its drafts must not become a wide call.
        rows = loaded.context.rows
        self._most_drafts = min(rows, loaded.wide - 1 if loaded.wide > 1 else rows) - 1

    # Adapters

    def activate(self, wanted: AdapterSet, affected: Ordered[Sequence]) -> bool:
        """Bring `wanted` into force; when that cannot be done, those who asked for it fail, and nobody else."""
        try:  # asked each time: what nobody used for a while may have been taken out of force
            switched = self._adapters.activate(self._context, wanted, in_use=self.in_use())
        except Exception as error:
            ours = error if isinstance(error, FiredeckError) else Internal(f"an adapter could not be set: {error!r}")
            for sequence in affected:
                self._outcome.fail(sequence, ours)
            return False
        self.in_force = wanted
        self._just_switched = switched
        self._meters.counters.adapter_switches_total += switched
        return True

    def in_use(self) -> Collection[str]:
        """Digests of the adapters that running sequences need."""
        return {use.digest for sequence in self._active.values() for use in sequence.job.adapters}

    # Decoding

    def decode_turn(self, turn: planner.Turn) -> None:
        """One token for each sequence of the turn that still runs, more where a draft is accepted."""
        sequences = [self._active[i] for i in turn.sequences if i in self._active]
        if not sequences or not self.activate(sequences[0].job.adapters, sequences):
            return
        plain_ms = planner.total_cost([s.identifier for s in sequences], self._table) / len(sequences)
        plain: list[int] = []
        for sequence in sequences:
            proposal = sequence.propose(plain_ms, self._most_drafts, self._context.length)
            if proposal is None:
                plain.append(sequence.identifier)
            else:
                self._verify(sequence, proposal)
        for group in planner.partition(plain, self._table):
            self._decode([self._active[i] for i in group if i in self._active])

    def _decode(self, group: list[Sequence]) -> None:
        """One token for each of `group`; on failure each alone, and who fails alone fails."""
        group = [s for s in group if self._fits(s, 1)]
        if not group:
            return
        tokens = [s.next_token if s.next_token is not None else 0 for s in group]
        started = time.perf_counter()
        code = self._context.decode_step([s.identifier for s in group], tokens, [len(s.held) for s in group])
        if code != 0:
            self._decode_failed(group, code)
            return
        rows = self._context.logits(len(group))
        if self._context.unified and len(group) > 1 and _overflowed(rows):  # in shared cells one spoils the others
            self._one_by_one(group)
            return
        self._decoded(len(group), time.perf_counter() - started)
        for sequence, token, row in zip(group, tokens, rows, strict=True):
            sequence.held.append(token)
            self._paced(sequence, 1)
            self._outcome.take(sequence, row)
        self._outcome.progressed()

    def _paced(self, sequence: Sequence, tokens: int) -> None:
        """Note the time since the sequence's last tokens, a share for each of the new ones."""
        now = time.monotonic()
        self._meters.inter_token_s.observe((now - sequence.last_token_at) / tokens, tokens)
        sequence.last_token_at = now

    def _decoded(self, width: int, seconds: float) -> None:
        self._meters.decoded(width, width, seconds)
        if self._just_switched:  # llama.cpp builds its graph anew in the call after a switch
            extra_ms = seconds * 1e3 - self._table.best_ms[width]
            self.switch_ms += SWITCH_LEARNING * (min(max(extra_ms, 0.0), SWITCH_MOST_MS) - self.switch_ms)
            self._just_switched = False

    def _decode_failed(self, group: list[Sequence], code: int) -> None:
        if len(group) == 1:
            self._fail(group[0], code)
        else:
            self._one_by_one(group)

    def _one_by_one(self, group: list[Sequence]) -> None:
        """What a call could not do for all of `group` without telling at whose fault."""
        for sequence in group:
            self._context.keep(sequence.identifier, len(sequence.held))  # some of the batch may have been done
        self._outcome.cleanse()
        for sequence in group:
            self._decode([sequence])

    def _verify(self, sequence: Sequence, proposal: Proposal) -> None:
        """Evaluate the next token and the drafts behind it in one call; take tokens for as long as they agree.

        Row i is exact as long as the tokens before it were the right ones, so what comes out is what single steps
        would have written, with the same draws.
        """
        next_token = sequence.next_token
        if next_token is None or not self._fits(sequence, 1 + len(proposal.tokens)):
            return
        tokens = [next_token, *proposal.tokens]
        started, held = time.perf_counter(), len(sequence.held)
        code = self._context.prefill(sequence.identifier, np.asarray(tokens, np.int32), held, rows="all")
        if code != 0:
            self._context.keep(sequence.identifier, held)
            self._decode([sequence])  # without drafts: they must never cost a request its answer
            return
        rows = self._context.logits(len(tokens))
        self._meters.decoded(1, len(tokens), time.perf_counter() - started)
        if _overflowed(rows):
            self._undo_drafts(sequence, proposal, held)
            return
        generated = sequence.generated
        sequence.verify(proposal)
        for token, draft, row in zip(tokens, [*proposal.tokens, None], rows, strict=True):
            sequence.held.append(token)
            if not self._outcome.take(sequence, row) or sequence.next_token != draft:
                break
        self._paced(sequence, max(1, sequence.generated - generated))
        sequence.verified()
        self._context.keep(sequence.identifier, len(sequence.held))
        self._outcome.progressed()

    def _undo_drafts(self, sequence: Sequence, proposal: Proposal, held: int) -> None:
        """What overflowed may be a guess, and its cells spoil the call. The request goes on from before, without any:
        if its own text overflows, it will come to that."""
        self._context.keep(sequence.identifier, held)
        sequence.draft_no_more(proposal)
        self._outcome.renew(sequence)

    # Prompts

    def prefill(self, chunk: planner.Chunk) -> None:
        """Evaluate the next tokens of a prompt; at its end, sample the first token."""
        sequence = self._active.get(chunk.sequence)
        if sequence is None or not self.activate(sequence.job.adapters, [sequence]):
            return
        start = len(sequence.held)
        tokens = sequence.pending[start : start + chunk.tokens]
        if not self._fits(sequence, len(tokens)):
            return
        last = start + len(tokens) == len(sequence.pending)
        scored = sequence.scores_prompt
        first = last and sequence.next_token is None
        # Overflow is looked for in each chunk where it would spoil others, or would stay when the rest never comes.
        watched = self._context.unified or bool(sequence.job.adapters)
        rows = "all" if scored else "last" if first or watched else "none"
        began = time.perf_counter()
        code = self._context.prefill(sequence.identifier, np.asarray(tokens, np.int32), start, rows=rows)
        if code != 0:
            self._fail(sequence, code)
            return
        sequence.held.extend(tokens)
        self._context.synchronize()  # on a GPU the call returns before the work is done
        logits = None if rows == "none" else self._context.logits(len(tokens) if scored else 1)
        self._meters.prefilled(len(tokens), time.perf_counter() - began)
        self._outcome.progressed()
        if logits is not None and watched and _overflowed(logits):
            self._outcome.fail(sequence, NotNumbers())
            return
        if logits is not None and scored:
            sequence.score(logits, start)
        if logits is not None and first and sequence.job.followed:
            sequence.job.prompt_row = np.array(logits[-1])
        if last and not sequence.job.times.prefilled:  # else it was set aside since, and has been told
            self._outcome.prompt_done(sequence)
        if logits is not None and first:
            self._outcome.take(sequence, logits[-1])

    # Failures

    def _fits(self, sequence: Sequence, tokens: int) -> bool:
        return sequence.identifier in self._active and self._outcome.make_room(sequence, tokens)

    def _fail(self, sequence: Sequence, code: int) -> None:
        what = "does not fit the memory" if code == NO_ROOM else f"failed in llama.cpp (llama_decode returned {code})"
        self._outcome.fail(sequence, Internal(f"this request {what}"))


def _overflowed(rows: Logits) -> bool:
    return bool(np.isnan(rows.max(axis=1)).any())
