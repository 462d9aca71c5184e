"""What an account's replicas have used since the month began, while they run on. Pure.

    data   Growing   the totals of the intervals that are over; those that are open, as one straight line
    verbs  take      an interval as it is now; at: what all come to by an instant; since: from a later instant on
    near   `engine.telemetry.ledger` has one for each account, and tells it every change of the book

Each open interval grows by a millisecond a millisecond, so that all of them together are a slope and an origin. What
they come to takes the same work for one replica as for thousands: budgets are asked about with every request.
"""

from __future__ import annotations

from dataclasses import fields

from engine.control.ledger import Interval
from engine.control.price import Totals

_SUMS = tuple(field.name for field in fields(Totals))


class Growing:
    """One account's, from `start_ms` on. `ended` may be given sums that were added up elsewhere."""

    def __init__(self, start_ms: int) -> None:
        self.ended = Totals()
        self._start_ms = start_ms
        self._open: dict[int, Interval] = {}  # by number
        self._slope, self._origin = Totals(), Totals()  # of the open ones: by the millisecond, and at 0

    def take(self, one: Interval) -> None:
        """What it was before counts no more."""
        former = self._open.pop(one.number, None)
        if former is not None:
            self._lean(former, -1)
        if one.ended_ms is None:
            self._open[one.number] = one
            self._lean(one, 1)
        else:
            count(self.ended, one, one.within(self._start_ms, one.ended_ms))

    def at(self, now_ms: int) -> Totals:
        """By `now_ms`, after which nothing that is open began."""
        grown = {name: getattr(self._slope, name) * now_ms + getattr(self._origin, name) for name in _SUMS}
        totals = Totals(**grown)
        totals.join(self.ended)
        return totals

    def since(self, start_ms: int, now_ms: int) -> Totals:
        """Of the open ones alone, from `start_ms` on: what is over was over before."""
        totals = Totals()
        for one in self._open.values():
            count(totals, one, one.within(start_ms, now_ms))
        return totals

    def _lean(self, one: Interval, sign: int) -> None:
        """One that is held does not grow."""
        if one.held_ms is not None:
            count(self._origin, one, sign * one.within(self._start_ms, one.held_ms))
            return
        count(self._slope, one, sign)
        count(self._origin, one, -sign * max(one.began_ms, self._start_ms))


def count(totals: Totals, one: Interval, ms: int) -> None:
    """`ms` of an interval, at what it occupies and costs."""
    terms = one.terms
    totals.add(ms, accelerators=terms.accelerators, price=terms.price, simulated=terms.simulated)
