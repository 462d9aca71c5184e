"""How much one account or key may ask for: decisions on what it was charged in the last minute. Pure.

    data   Window    charges of the last 60 s of one kind, oldest first, at most about 2 * EXACT_MAX of them
           Tally     the windows of one holder (an account or a key), and how many of its requests are under way
           Refusal   which limit, and the first instant at which the same demand is admitted
    verbs  refusal(limits, demand, now)   would it be too much?      charge(demand, now)   count it
           Charge.settle(amount, now)     an estimate becomes what it really was
    near   `engine.gateway.admit` keeps tallies, brings the clock and speaks HTTP; values come from `engine.access`

A sliding log, not a bucket that refills: a bucket of the size of the limit lets twice the limit into some windows, a
smaller one refuses bursts that the limit allows. The log does neither: whatever stretch of 60 s one looks at, no more
than the limit is admitted in it, and what still fits is never refused. Of charges beyond EXACT_MAX in one window,
those within GRAIN_S count as the last of them: never more is admitted, something may be refused 60 ms too long.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

WINDOW_S = 60.0
EXACT_MAX = 1000
GRAIN_S = WINDOW_S / EXACT_MAX


class Kind(StrEnum):
    """What is limited. The value is the quota's id."""

    REQUESTS = "requests-per-minute"
    PROMPT = "prompt-tokens-per-minute"
    UNCACHED = "cache-adjusted-prompt-tokens-per-minute"  # those that no cache spared
    GENERATED = "generated-tokens-per-minute"
    CONCURRENT = "concurrent-requests"


TOKENS = (Kind.PROMPT, Kind.UNCACHED, Kind.GENERATED)
PER_MINUTE = (Kind.REQUESTS, *TOKENS)

Amounts = Mapping[Kind, int]  # limits, or a demand: what is not in it is not limited, or not asked for


@dataclass(eq=False, slots=True)
class _Entry:
    began: float
    ends: float
    amount: int


class Window:
    """Charges of the last minute."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._total = 0

    def used(self, now: float) -> int:
        while self._entries and self._entries[0].ends <= now:
            self._total -= self._entries.popleft().amount
        return self._total

    def admits_at(self, limit: int, amount: int, now: float) -> float:
        """The first instant from `now` on at which `amount` fits, if nothing else happens; inf for never.

        More than the whole limit fits when nothing else is there: it could not be sent otherwise.
        """
        if limit <= 0:
            return math.inf
        excess = self.used(now) + min(amount, limit) - limit
        at = now
        for entry in self._entries:
            if excess <= 0:
                break
            excess -= entry.amount
            at = entry.ends
        return at

    def charge(self, amount: int, now: float) -> Charge:
        self.used(now)
        last = self._entries[-1] if self._entries else None
        if last is None or len(self._entries) < EXACT_MAX or now - last.began >= GRAIN_S:
            last = _Entry(now, now + WINDOW_S, 0)
            self._entries.append(last)
        last.ends = now + WINDOW_S
        self._add(last, amount)
        return Charge(self, last, amount)

    def _add(self, entry: _Entry, amount: int) -> None:
        entry.amount += amount
        self._total += amount


class Charge:
    """What one request was charged in one window."""

    def __init__(self, window: Window, entry: _Entry, amount: int) -> None:
        self._window, self._entry, self._amount = window, entry, amount

    def settle(self, amount: int, now: float) -> None:
        """It was `amount` after all. What was charged too much is as if it had never been; more is charged now."""
        more, self._amount = amount - self._amount, amount
        if more > 0:
            self._window.charge(more, now)
        elif more < 0 and self._entry.ends > now:
            self._window._add(self._entry, more)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`limit` of `kind` is used up. `at` is the first instant at which the same demand fits if nothing else happens:
    inf for never, None where that depends on when a request ends."""

    kind: Kind
    limit: int
    at: float | None


class Tally:
    """What one holder was charged, and the requests that it has under way."""

    def __init__(self) -> None:
        self._windows = {kind: Window() for kind in PER_MINUTE}
        self.concurrent = 0

    def used(self, kind: Kind, now: float) -> int:
        return self.concurrent if kind is Kind.CONCURRENT else self._windows[kind].used(now)

    def idle(self, now: float) -> bool:
        """Nothing would change if it were forgotten."""
        return not self.concurrent and not any(window.used(now) for window in self._windows.values())

    def refusal(self, limits: Amounts, demand: Amounts, now: float) -> Refusal | None:
        """None where everything fits, else the limit that refuses longest."""
        refusals = [r for kind, amount in demand.items() if (r := self._refusal(limits, kind, amount, now))]
        return longest(refusals)

    def charge(self, demand: Amounts, now: float) -> dict[Kind, Charge]:
        """Count it, whatever the limits are; requests under way are the caller's to count."""
        return {kind: self._windows[kind].charge(amount, now) for kind, amount in demand.items()}

    def _refusal(self, limits: Amounts, kind: Kind, amount: int, now: float) -> Refusal | None:
        limit = limits.get(kind)
        if limit is None:
            return None
        if kind is Kind.CONCURRENT:
            return Refusal(kind, limit, None if limit else math.inf) if self.concurrent + amount > limit else None
        at = self._windows[kind].admits_at(limit, amount, now)
        return Refusal(kind, limit, at) if at > now else None


def longest(refusals: Iterable[Refusal]) -> Refusal | None:
    """The one that is known to hold longest."""
    return max(refusals, key=lambda refusal: -math.inf if refusal.at is None else refusal.at, default=None)
