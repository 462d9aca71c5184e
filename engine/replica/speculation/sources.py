"""Who proposes drafts, each with the record of how often it was right: sources that cost nothing, and a draft model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from engine.replica.speculation.pricing import Acceptance, Chances, Curve
from engine.replica.speculation.totals import Source

# Tuned by simulation (tests/unit/speculation_simulation.py): beliefs before experience, and how fast they change.
BELIEFS = {Source.PREDICTION: Curve(0.4, 0.95), Source.NGRAM: Curve(0.3, 0.9), Source.DRAFT_MODEL: Curve(0.6, 0.7)}
SHARED_DECAY, SHARED_WEIGHT = 0.998, 8.0
REQUEST_DECAY = {Source.PREDICTION: 0.97, Source.NGRAM: 0.97, Source.DRAFT_MODEL: 0.95}
REQUEST_WEIGHT = 4.0


class Follower(Protocol):
    """Proposes by looking up text: it costs nothing, so it always has an opinion on the next token."""

    run: int

    @property
    def expected(self) -> int | None: ...

    def propose(self, limit: int) -> list[int]: ...

    def advance(self, token: int) -> None: ...


class Drafter(Protocol):
    """What is used of a DraftModel."""

    slots: int
    step_ms: float
    prefill_token_ms: float

    def missing(self, slot: int, tokens: Sequence[int]) -> int: ...

    def catch_up(self, slot: int, tokens: Sequence[int], budget_tokens: int) -> int: ...

    def propose(self, slot: int, tokens: Sequence[int], limit: int) -> list[int]: ...

    def forget(self, slot: int) -> None: ...


def shared_record(source: Source) -> Acceptance:
    """What all requests of a replica experienced with a source: where a new request starts from."""
    return Acceptance(BELIEFS[source], decay=SHARED_DECAY, weight=SHARED_WEIGHT)


class Record:
    """How often a source was right for one request; what it learns the other requests learn too."""

    def __init__(self, source: Source, shared: Acceptance) -> None:
        self._shared = shared
        self._own = Acceptance(shared, decay=REQUEST_DECAY[source], weight=REQUEST_WEIGHT)

    @property
    def chances(self) -> Chances:
        return self._own

    def observe(self, run: int, right: bool) -> None:
        self._own.observe(run, right)
        self._shared.observe(run, right)


class Lookup:
    """A follower of one request. Each token of the output shows whether it was right, drafted or not: it needs no
    trials."""

    def __init__(self, source: Source, follower: Follower, shared: Acceptance, limit: int) -> None:
        self.source, self.limit = source, limit
        self.follower = follower
        self.record = Record(source, shared)

    def advance(self, token: int) -> None:
        expected = self.follower.expected
        if expected is not None:
            self.record.observe(self.follower.run, expected == token)
        self.follower.advance(token)


class Drafting:
    """A slot of the draft model that drafts for one request, and the request's tokens. `scope`: whose state it is."""

    def __init__(
        self, drafter: Drafter, slot: int, shared: Acceptance, tokens: Sequence[int], limit: int, scope: Hashable = ()
    ) -> None:
        self.drafter, self.slot, self.limit, self.scope = drafter, slot, limit, scope
        self.tokens = list(tokens)
        self.record = Record(Source.DRAFT_MODEL, shared)

    @property
    def missing_tokens(self) -> int:
        """Tokens to evaluate before it can draft at the usual cost."""
        return max(0, self.drafter.missing(self.slot, self.tokens) - 2)

    @property
    def missing_ms(self) -> float:
        return self.missing_tokens * self.drafter.prefill_token_ms

    def cost_ms(self, tokens: int) -> float:
        return tokens * self.drafter.step_ms

    def observe(self, drafted: int, accepted: int) -> None:
        for position in range(min(accepted + 1, drafted)):
            self.record.observe(position, position < accepted)
