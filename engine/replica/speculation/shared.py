"""What the requests of a replica share about speculation: costs, experience, ledgers, and the draft model's slots."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from itertools import accumulate

from engine.replica.speculation.ledger import ALLOWANCE, MOST_CATCH_UP_STEPS, Ledger, Trials
from engine.replica.speculation.pricing import Acceptance, VerifyCost
from engine.replica.speculation.settings import MAX_DRAFT_TOKENS
from engine.replica.speculation.sources import Drafter, Drafting, shared_record
from engine.replica.speculation.totals import Source, SpeculationTotals

log = logging.getLogger(__name__)


class SharedSpeculation:
    """One a replica, used on the scheduler's thread (`totals` may be read by others)."""

    def __init__(self, verify_ms: VerifyCost, drafter: Drafter | None = None) -> None:
        self.totals = SpeculationTotals()
        self.ledger = Ledger()
        self.trials = Trials()
        measured = [verify_ms(max(1, width)) for width in range(MAX_DRAFT_TOKENS + 2)]
        self.verify_ms: VerifyCost = list(accumulate(measured, max)).__getitem__  # rising, and looked up each step
        self.records: dict[Source, Acceptance] = {source: shared_record(source) for source in Source}
        # Catching up costs as much as many steps, so it is saved for: by an allowance, and by what drafts gained.
        self._catch_up = Ledger(0.0, MOST_CATCH_UP_STEPS)
        self._tried = False  # the first prompt is caught up on without charge: no model would ever be tried otherwise
        self._drafter = drafter
        self._free = list(range(drafter.slots)) if drafter is not None else []
        self._scopes: dict[int, Hashable] = {}  # whose tokens a free slot still holds

    def acquire(self, tokens: Sequence[int], scope: Hashable, limit: int) -> Drafting | None:
        """A slot of the draft model, or None when there is none. It keeps what it held only for the same `scope`:
        cached state of one isolation key never serves another."""
        if self._drafter is None:
            return None
        slot = self._take_slot(self._drafter, tokens, scope)
        if slot is None:
            return None
        return Drafting(self._drafter, slot, self.records[Source.DRAFT_MODEL], tokens, limit, scope)

    def regain(self, drafting: Drafting) -> bool:
        """A slot once more for a request that released its own; False when none is free."""
        slot = self._take_slot(drafting.drafter, drafting.tokens, drafting.scope)
        if slot is not None:
            drafting.slot = slot
        return slot is not None

    def _take_slot(self, drafter: Drafter, tokens: Sequence[int], scope: Hashable) -> int | None:
        if not self._free:
            return None
        own = [slot for slot in self._free if self._scopes.get(slot) == scope]
        try:
            slot = min(own, key=lambda s: drafter.missing(s, tokens)) if own else self._free[0]
            if not own:
                drafter.forget(slot)
        except Exception as error:  # a request goes without drafts rather than fail
            log.warning("the draft model failed: %r", error)
            return None
        self._free.remove(slot)
        self._scopes[slot] = scope
        return slot

    def release(self, drafting: Drafting, *, broken: bool = False) -> None:
        """The slot is free; `broken`: nobody may build on what it holds."""
        self._free.append(drafting.slot)
        if broken:
            self._scopes.pop(drafting.slot, None)

    def allow(self, plain_ms: float) -> None:
        """A token was emitted: the ledgers get the allowance of what it takes plainly."""
        if plain_ms <= 0:
            return
        allowance_ms = ALLOWANCE * plain_ms
        if self._drafter is not None:
            allowance_ms /= 2
            self._catch_up.earn(allowance_ms, plain_ms)
        self.ledger.earn(allowance_ms, plain_ms)

    def fund_catch_up(self, gain_ms: float, plain_ms: float) -> None:
        """A gain that the ledger of drafts has no room for."""
        if plain_ms > 0:
            self._catch_up.earn(gain_ms, plain_ms)

    def affords_catch_up(self, drafting: Drafting, plain_ms: float) -> bool:
        return not self._tried or any(fund.affords(drafting.missing_ms, plain_ms) for fund in self._funds)

    def pay_catch_up(self, ms: float, plain_ms: float, *, complete: bool) -> None:
        """Charge what a catch-up took; `complete`: nothing is missing now."""
        if self._tried:
            payer = next((fund for fund in self._funds if fund.affords(ms, plain_ms)), self._catch_up)
            payer.spend(ms, plain_ms)
        self._tried = self._tried or complete

    @property
    def _funds(self) -> tuple[Ledger, Ledger]:
        return self._catch_up, self.ledger
