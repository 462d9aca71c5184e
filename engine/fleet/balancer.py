"""What a deployment knows for choosing among its replicas, and the choice made of it.

    data   Balancer  what each replica has read lately, which of them fail, what a request takes, how many were retried
    verbs  pick      a replica for a request, or None while none has room (`engine.control.route` decides)
           took      it goes there: its prompt is read there, and counts as such from now on
           ended     it left its place
           answered, failed    what came of it: five failures in a row eject a replica (`engine.control.outliers`)
           allow_retry         whether one more may be tried again (`engine.control.retries`)
           keep      the replicas there are: what is known of others is forgotten
    near   `engine.fleet.lobby` asks for places, `engine.gateway.verdict` tells what came of requests

All of it is in memory and of no use to a later engine, whose replicas are asked anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from typing import Protocol

from engine.clock import Clock
from engine.control.outliers import Outliers
from engine.control.prefix import BLOCK_CHARACTERS, CHARACTERS_PER_TOKEN, PrefixIndex
from engine.control.retries import RetryBudget
from engine.control.route import CHARACTER_S, PREFETCH, Candidate, Choice, Costs, Prompt, Rule, choose
from engine.fleet.replica import Replica

DEFAULT_SLOTS = 1
EXPECTED_MIN_S = 0.25  # a replica that needs longer than this for nothing is not called slow for it
_WEIGHT = 0.1  # of the newest in the mean of what requests take


class BalancerMeter(Protocol):
    """Told of each choice, and of each replica that is ejected."""

    def routed(self, rule: Rule) -> None: ...

    def ejected(self) -> None: ...


class Balancer:
    """Of one deployment. `told` counts."""

    def __init__(self, clock: Clock, told: BalancerMeter | None = None) -> None:
        self._clock, self._told = clock, told
        self._index = PrefixIndex()
        self._outliers = Outliers()
        self._budget = RetryBudget()
        self._costs = Costs()

    def pick(
        self, ready: Sequence[Replica], prompt: Prompt, avoid: frozenset[str], barred: Set[str]
    ) -> tuple[Replica, Choice] | None:
        """`avoid`: those that failed this very request, or cannot go on with it. To one that is `barred` it may not go
        now, though it has room. One that is ejected is taken where all others failed this very request."""
        by_id = {replica.id: replica for replica in ready}
        closed = barred & by_id.keys()
        if closed - avoid:
            closed |= avoid  # better wait for one of those
        ejected = self._outliers.passed_over(by_id, self._clock.monotonic()) - closed
        if ejected and not by_id.keys() - closed - ejected - avoid:
            ejected = frozenset()
        candidates = [self._candidate(r, prompt) for r in ready if r.id not in closed and r.id not in ejected]
        self._costs = self._costs._replace(character_s=_character_s(ready))
        choice = choose(candidates, avoid, prompt, self._costs, len(ejected))
        return (by_id[choice.id], choice) if choice else None

    def took(self, replica: Replica, prompt: Prompt, choice: Choice) -> None:
        prompt.taken = choice
        tokens = replica.report.cache.tokens
        most = None if tokens is None else tokens * CHARACTERS_PER_TOKEN // BLOCK_CHARACTERS
        self._index.read(replica.id, prompt.links, most)
        if self._told is not None:
            self._told.routed(choice.rule)

    def ended(self, seconds: float) -> None:
        """A request has left its place after so long."""
        request_s = self._costs.request_s
        self._costs = self._costs._replace(request_s=request_s + _WEIGHT * (seconds - request_s))

    def answered(self, replica: Replica, prompt: Prompt, took_s: float | None) -> str | None:
        """`took_s`: from sending it to the beginning of its stream, None for a whole answer. Why its replica is
        ejected; None while it is not."""
        slowness = None
        if took_s is not None and prompt.taken is not None:
            slowness = took_s / max(EXPECTED_MIN_S, prompt.taken.expected_s)
        return self._ejects(self._outliers.answered(replica.id, self._clock.monotonic(), slowness))

    def failed(self, replica: Replica) -> str | None:
        return self._ejects(self._outliers.failed(replica.id, self._clock.monotonic()))

    def asked(self) -> None:
        """A request came."""
        self._budget.asked(self._clock.monotonic())

    def allow_retry(self, replicas: Collection[Replica]) -> bool:
        """`replicas`: all there are; each may be lost once without a request that fails."""
        floor = sum((replica.slots or DEFAULT_SLOTS) + PREFETCH for replica in replicas)
        return self._budget.allows(self._clock.monotonic(), floor)

    def keep(self, living: Collection[str]) -> None:
        self._index.keep(living)
        self._outliers.keep(living)

    def _ejects(self, why: str | None) -> str | None:
        if why is not None and self._told is not None:
            self._told.ejected()
        return why

    def _candidate(self, replica: Replica, prompt: Prompt) -> Candidate:
        cache, index = replica.report.cache, self._index
        return Candidate(
            replica.id,
            replica.in_flight,
            replica.slots or DEFAULT_SLOTS,
            index.known(replica.id, prompt.links) * BLOCK_CHARACTERS,
            replica.unread,
            index.held(replica.id) * BLOCK_CHARACTERS,
            cache.full,
        )


def _character_s(replicas: Sequence[Replica]) -> float:
    """What reading takes, by what most of them measured."""
    told = sorted([token_s for replica in replicas if (token_s := replica.report.cache.token_s)])
    return told[len(told) // 2] / CHARACTERS_PER_TOKEN if told else CHARACTER_S
