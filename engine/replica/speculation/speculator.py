"""Drafts for one request, step by step: who proposes, how many tokens, and what came of it.

    propose -> [ the scheduler verifies: one decode call, rows sampled while they equal the draft ] -> verified
    advance, for every token of the output

How many tokens to draft follows from measured acceptance and measured cost; it is none when drafts would not pay, or
when the worst case is more than the replica's ledger may lose.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from engine.replica.job import DraftCounts
from engine.replica.speculation.ledger import Ledger
from engine.replica.speculation.pricing import best_length, expected_tokens, no_cost, pays_to_wait
from engine.replica.speculation.settings import MAX_DRAFT_TOKENS
from engine.replica.speculation.shared import SharedSpeculation
from engine.replica.speculation.sources import Drafting, Lookup
from engine.replica.speculation.totals import Source

log = logging.getLogger(__name__)

TRIAL_TOKENS = 4
WORTH = 2.0  # what catching up must promise to save, in terms of its cost


@dataclass(frozen=True, slots=True)
class Proposal:
    """Tokens to verify after the sequence's next one, and who says so; no tokens: decode as usual."""

    tokens: Sequence[int] = ()
    source: Source | None = None
    loss_ms: float = 0.0  # what verifying loses if none is accepted: reserved in the ledger until `verified`
    trial: bool = False


NOTHING = Proposal()


class Speculator:
    """The sources of one request, in order of precedence: its prediction, then n-grams or the draft model."""

    def __init__(
        self, shared: SharedSpeculation, lookups: Sequence[Lookup], drafting: Drafting | None, counts: DraftCounts
    ) -> None:
        self._shared, self._lookups, self._drafting, self._counts = shared, lookups, drafting, counts
        self._set_aside: Drafting | None = None  # while the request is pushed aside, without a slot
        self._open: Proposal = NOTHING
        self._plain_ms = 0.0
        self._room = 0

    def propose(self, limit: int, plain_ms: float, room: int) -> Proposal:
        """What to verify in this step. `limit`: the most drafts a decode call has place for; `plain_ms`: what the
        sequence would add to the plain step; `room`: tokens it may still emit (a step emits one more than it drafts).

        A proposal that is not verified needs no further call: the next `propose` takes it back.
        """
        self._take_back()
        self._plain_ms, self._room = plain_ms, room
        limit = min(limit, room - 1, MAX_DRAFT_TOKENS)
        if limit > 0 and plain_ms > 0:
            self._open = self._look_up(limit) or self._try_draft(limit) or NOTHING
        return self._open

    def verified(self, proposal: Proposal, accepted: int) -> None:
        """The first `accepted` tokens of the proposal were sampled."""
        if proposal.source is None or proposal is not self._open:
            return
        self._open = NOTHING
        drafted = len(proposal.tokens)
        self._earn(accepted * self._plain_ms)
        self._shared.totals[proposal.source].count(drafted, accepted)
        self._counts.drafted += drafted
        self._counts.accepted += accepted
        if proposal.source is Source.PREDICTION:
            self._counts.predicted += drafted
            self._counts.predicted_accepted += accepted
        if proposal.source is Source.DRAFT_MODEL and self._drafting is not None:
            self._drafting.observe(drafted, accepted)
            if proposal.trial:
                self._shared.trials.tried(pays=self._draft_length(MAX_DRAFT_TOKENS) > 0)

    def advance(self, token: int) -> None:
        """Follow one token of the output, drafted or not."""
        for lookup in self._lookups:
            lookup.advance(token)
        if self._drafting is not None:
            self._drafting.tokens.append(token)
            self._shared.trials.pass_token()
        self._shared.allow(self._plain_ms)

    @property
    def needs_catch_up(self) -> bool:
        """Whether the draft model should evaluate tokens of this request now, in steps of the scheduler's choice."""
        drafting = self._drafting
        if drafting is None:
            return False
        try:
            return drafting.missing_tokens > 0 and self._worth_catching_up(drafting)
        except Exception as error:
            self._give_up(error)
            return False

    def catch_up(self, budget_tokens: int) -> int:
        """Let the draft model evaluate at most so many tokens; returns how many are then missing.

        Where it gets no further (its context is full, a decode failed) it drafts no more for this request.
        """
        try:
            return self._catch_up(budget_tokens)
        except Exception as error:
            self._give_up(error)
            return 0

    def park(self) -> None:
        """The request is pushed aside: its draft slot serves others until `resume`."""
        self._take_back()
        self._set_aside = self._drafting
        self._stop_drafting()

    def resume(self) -> None:
        """The request goes on, with a draft slot again if one is free; nothing happens when it had not been parked."""
        drafting, self._set_aside = self._set_aside, None
        if drafting is not None and self._shared.regain(drafting):
            self._drafting = drafting

    def close(self) -> None:
        """The request is over: its draft slot is free."""
        self._take_back()
        self._stop_drafting()

    def _stop_drafting(self, *, broken: bool = False) -> None:
        if self._drafting is not None:
            self._shared.release(self._drafting, broken=broken)
            self._drafting = None

    def _give_up(self, error: Exception) -> None:
        """The draft model raised: that costs this request its drafts, and nobody anything else."""
        log.warning("the draft model failed, a request goes on without it: %r", error)
        self._stop_drafting(broken=True)

    # Free sources

    def _look_up(self, limit: int) -> Proposal | None:
        for lookup in self._lookups:
            follower = lookup.follower
            if follower.expected is None:
                continue
            expected = expected_tokens(lookup.record.chances, follower.run, min(limit, lookup.limit))
            tokens = follower.propose(self._affordable(len(expected) - 1, 0.0))
            verify_ms, chances = self._shared.verify_ms, lookup.record.chances
            k = best_length(expected, verify_ms, no_cost, self._plain_ms, len(tokens))
            if k == 0 or pays_to_wait(chances, follower.run, expected, k, verify_ms, self._plain_ms):
                continue
            return self._reserved(tokens[:k], lookup.source, 0.0, trial=False)
        return None

    # The draft model

    def _try_draft(self, limit: int) -> Proposal | None:
        try:
            return self._draft(limit)
        except Exception as error:
            self._give_up(error)
            return None

    def _catch_up(self, budget_tokens: int) -> int:
        drafting = self._drafting
        if drafting is None or budget_tokens < 1:
            return 0 if drafting is None else drafting.missing_tokens
        before = drafting.missing_tokens
        drafting.drafter.catch_up(drafting.slot, drafting.tokens, budget_tokens)
        after = drafting.missing_tokens
        if after >= before > 0:
            self._stop_drafting()
            return 0
        spent_ms = (before - after) * drafting.drafter.prefill_token_ms
        self._shared.pay_catch_up(spent_ms, self._plain_ms, complete=after == 0)
        return after

    def _draft(self, limit: int) -> Proposal | None:
        drafting = self._drafting
        if drafting is None or drafting.missing_tokens > 0:
            return None
        limit = self._affordable(min(limit, drafting.limit), drafting.drafter.step_ms)
        k = self._draft_length(limit)
        trial = k == 0 and self._trial_due
        k = k or (min(TRIAL_TOKENS, limit) if trial else 0)
        if k == 0:
            return None
        tokens = drafting.drafter.propose(drafting.slot, drafting.tokens, k)
        spent_ms = drafting.cost_ms(min(len(tokens) + 1, k))  # the token it was unsure of was computed, too
        if not tokens:
            self._ledger.spend(spent_ms, self._plain_ms)
            if trial:
                self._shared.trials.tried(pays=False)
            return None
        return self._reserved(tokens, Source.DRAFT_MODEL, spent_ms, trial=trial)

    def _draft_length(self, limit: int) -> int:
        """How many tokens of the draft model pay, by what is known."""
        drafting = self._drafting
        if drafting is None:
            return 0
        limit = min(limit, drafting.limit)
        expected = expected_tokens(drafting.record.chances, 0, limit)
        return best_length(expected, self._shared.verify_ms, drafting.cost_ms, self._plain_ms, limit)

    @property
    def _trial_due(self) -> bool:
        """Whether to draft although it is believed not to pay. Never where it could not even if all were accepted."""
        drafting = self._drafting
        if drafting is None or not self._shared.trials.due:
            return False
        all_accepted = range(1, drafting.limit + 2)
        verify_ms, draft_ms = self._shared.verify_ms, drafting.cost_ms
        return best_length(all_accepted, verify_ms, draft_ms, self._plain_ms, drafting.limit) > 0

    def _worth_catching_up(self, drafting: Drafting) -> bool:
        """Whether what is missing pays over the tokens to come, or a trial is due; the fund must cover either."""
        if self._plain_ms <= 0 or not self._shared.affords_catch_up(drafting, self._plain_ms):
            return False
        k = self._draft_length(MAX_DRAFT_TOKENS)
        if k == 0:
            return self._trial_due
        emitted = expected_tokens(drafting.record.chances, 0, k)[-1]
        step_ms = self._shared.verify_ms(k + 1) + drafting.cost_ms(k)
        saved_ms = (self._plain_ms - step_ms / emitted) * self._room
        return saved_ms >= WORTH * drafting.missing_ms

    # Money

    @property
    def _ledger(self) -> Ledger:
        return self._shared.ledger

    def _affordable(self, limit: int, step_ms: float) -> int:
        """The most drafts, at most `limit`, whose worst case the ledger covers."""
        verify_ms, plain_ms = self._shared.verify_ms, self._plain_ms
        affordable = 0
        while affordable < limit:  # costs rise with the length: halve the range
            middle = (affordable + limit + 1) // 2
            if self._ledger.affords(verify_ms(middle + 1) + middle * step_ms - plain_ms, plain_ms):
                affordable = middle
            else:
                limit = middle - 1
        return affordable

    def _reserved(self, tokens: Sequence[int], source: Source, spent_ms: float, *, trial: bool) -> Proposal:
        loss_ms = self._shared.verify_ms(len(tokens) + 1) - self._plain_ms
        self._ledger.spend(loss_ms + spent_ms, self._plain_ms)
        return Proposal(tokens, source, loss_ms, trial)

    def _take_back(self) -> None:
        if self._open.source is not None:
            self._earn(self._open.loss_ms)
            self._open = NOTHING

    def _earn(self, gain_ms: float) -> None:
        over_ms = self._ledger.earn(gain_ms, self._plain_ms)
        self._shared.fund_catch_up(over_ms, self._plain_ms)
