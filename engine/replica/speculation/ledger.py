"""What keeps speculation from costing more than it may, whatever is drafted: budgets that its losses are paid from.

A draft is made only if its worst case, nothing accepted, is covered; what it then gains goes back in. So the time lost
over any number of steps is bounded by the grant and the allowances: 3 % of what plain steps take, from 200 tokens on.
"""

from __future__ import annotations

GRANT_STEPS = 4.0  # plain steps that may be lost before anything was earned: 2 % of 200
ALLOWANCE = 0.01  # of plain time, for all ledgers of a replica together
MOST_STEPS = 24.0  # gains beyond these are not gambled with on drafts
MOST_CATCH_UP_STEPS = 2000.0
TRIAL_DRAFTS = 6
FIRST_WAIT_TOKENS, LONGEST_WAIT_TOKENS = 64, 4096


class Ledger:
    """Milliseconds that may still be lost, over all requests of a replica; `most_steps` in plain steps bounds them."""

    def __init__(self, grant_steps: float = GRANT_STEPS, most_steps: float = MOST_STEPS) -> None:
        self._grant_steps, self._most_steps = grant_steps, most_steps
        self._balance_ms: float | None = None  # None: the grant is not yet known in milliseconds

    def affords(self, loss_ms: float, plain_ms: float) -> bool:
        """Whether a loss is covered."""
        return loss_ms <= self._known(plain_ms)

    def spend(self, loss_ms: float, plain_ms: float) -> None:
        """Take out what a draft loses at worst; `earn` what it did not lose."""
        self._balance_ms = self._known(plain_ms) - loss_ms

    def earn(self, gain_ms: float, plain_ms: float) -> float:
        """Put a gain in; returns what is over the bound and not kept."""
        balance, most = self._known(plain_ms) + gain_ms, self._most_steps * plain_ms
        self._balance_ms = min(balance, most)
        return max(0.0, balance - most)

    def _known(self, plain_ms: float) -> float:
        if self._balance_ms is None:
            self._balance_ms = self._grant_steps * plain_ms
        return self._balance_ms


class Trials:
    """When to try a draft model that is believed not to pay: a few drafts at once, again after 64 tokens, and twice as
    long after each trial in which it did not pay."""

    def __init__(self) -> None:
        self._wait_tokens = self._since_tokens = 0
        self._left = TRIAL_DRAFTS

    @property
    def due(self) -> bool:
        return self._since_tokens >= self._wait_tokens

    def pass_token(self) -> None:
        """A token was emitted, by any request that could be drafted for."""
        self._since_tokens += 1

    def tried(self, *, pays: bool) -> None:
        """One draft of a trial was verified; `pays`: what is believed now."""
        self._left -= 1
        if self._left > 0:
            return
        longer = min(max(FIRST_WAIT_TOKENS, 2 * self._wait_tokens), LONGEST_WAIT_TOKENS)
        self._wait_tokens = FIRST_WAIT_TOKENS if pays else longer
        self._since_tokens, self._left = 0, TRIAL_DRAFTS
