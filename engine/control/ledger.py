"""Since when and until when replicas took requests: the intervals that usage and cost are sums of. Pure.

An interval begins when a replica becomes READY and ends when it is no longer: drained, stopped, or gone. Instants are
whole milliseconds of UTC on an axis that moves with the monotonic clock, so that the length of an interval is the time
that really went by, whatever is done to the wall clock meanwhile (an hour set forth or back, a leap second).

An engine that is killed leaves its intervals open. The next one holds them at the last instant at which they are known
to have run: a replica that outlived it goes on in its interval as if nothing had been, every other interval ends there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

STEP_MS = 2000  # a wall clock that is off by more has been set: smeared leap seconds and slewing stay below


@dataclass(frozen=True, slots=True)
class Terms:
    """What a READY replica occupies and costs. `price`: micro-US-dollars an hour of the whole replica, None where there
    is none; `accelerator_type` is the wire's word."""

    node: str
    region: str
    accelerator_type: str
    accelerators: int
    price: int | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """Time of one replica in READY, from `began_ms` until before `ended_ms` (None: it goes on). `held_ms`: an engine
    ended then, and whether the replica outlived it is not known yet."""

    number: int
    deployment: str
    replica: str
    terms: Terms
    began_ms: int
    ended_ms: int | None = None
    held_ms: int | None = None

    @property
    def account(self) -> str:
        return self.deployment.split("/")[1]

    def within(self, start_ms: int, end_ms: int) -> int:
        """Milliseconds of it in a period that is over: what is open counts to the end."""
        until = self.ended_ms if self.ended_ms is not None else self.held_ms
        return max(0, min(end_ms if until is None else until, end_ms) - max(self.began_ms, start_ms))

    def parts(self, start_ms: int, end_ms: int, per_ms: int) -> Iterator[tuple[int, int]]:
        """What `within` comes to, by spans of `per_ms` from 1970 on: when each began, and how much of it is in it."""
        at, until = max(self.began_ms, start_ms), max(self.began_ms, start_ms) + self.within(start_ms, end_ms)
        while at < until:
            next_ms = (at // per_ms + 1) * per_ms
            yield at // per_ms * per_ms, min(until, next_ms) - at
            at = next_ms


@dataclass(slots=True)
class Presence:
    """A replica as it was last seen; instants are monotonic seconds. `since`: when it entered its stage; `seen_at`:
    when it was last known to live. `terms` has a ready one, and no other."""

    deployment: str
    since: float
    seen_at: float
    terms: Terms | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """All open intervals ran at this instant. `boot` tells which start of the machine `monotonic_ms` counts from."""

    boot: str
    monotonic_ms: int
    ledger_ms: int


@dataclass(frozen=True, slots=True)
class Axis:
    """Monotonic seconds of one boot as milliseconds of UTC."""

    boot: str
    offset_ms: int

    def at(self, monotonic_s: float) -> int:
        return self.offset_ms + round(monotonic_s * 1000)

    def beat(self, monotonic_s: float) -> Beat:
        return Beat(self.boot, round(monotonic_s * 1000), self.at(monotonic_s))

    @classmethod
    def set_by(cls, wall_ms: int, boot: str, monotonic_s: float) -> Axis:
        return cls(boot, wall_ms - round(monotonic_s * 1000))

    @classmethod
    def after(cls, last: Beat | None, wall_ms: int, boot: str, monotonic_s: float) -> Axis:
        """Goes on from the last beat: exactly where the machine has not been started anew, else by the wall clock, but
        never back."""
        if last is None:
            return cls.set_by(wall_ms, boot, monotonic_s)
        if last.boot == boot and last.monotonic_ms <= round(monotonic_s * 1000):
            return cls(boot, last.ledger_ms - last.monotonic_ms)
        return cls.set_by(max(wall_ms, last.ledger_ms), boot, monotonic_s)


class Book:
    """The intervals that are not over, by replica. Its verbs return the intervals that they changed, to be written."""

    def __init__(self, axis: Axis, left: Iterable[Interval] = (), last: Beat | None = None, numbered: int = 0) -> None:
        """`left`: what an earlier engine left open; `last`: its last beat; `numbered`: the highest number given."""
        self.axis = axis
        self.open = {one.replica: _held(one, last) for one in left}
        self._numbered = numbered
        self._former: Mapping[str, Presence] = {}  # as they were at the last look

    def unsettled(self) -> bool:
        """Whether it is still open which replicas outlived the engine before."""
        return any(one.held_ms is not None for one in self.open.values())

    def observe(self, replicas: Mapping[str, Presence], now_s: float) -> list[Interval]:
        """Compare with all replicas that there are. Level-triggered: what is missed once is made good the next time."""
        changed = []
        for replica, one in list(self.open.items()):
            there = replicas.get(replica)
            if there is not None and there.terms is not None and one.held_ms is None:
                continue  # it goes on, as nearly all do
            interval = self._follow(one, there, now_s)
            if interval is not one:
                changed.append(interval)
        for replica, there in replicas.items():
            if replica not in self.open and there.terms is not None:
                at_ms = self.axis.at(min(there.since, now_s))
                changed.append(self._begin(replica, there.deployment, there.terms, at_ms))
        self._former = dict(replicas)
        return changed

    def close(self, now_s: float) -> list[Interval]:
        """The engine ends, and all its replicas with it."""
        at = self.axis.at(now_s)
        return [self._end(one, at if one.held_ms is None else one.held_ms) for one in list(self.open.values())]

    def reset(self, now_s: float, wall_ms: int) -> list[Interval]:
        """When the wall clock was set: end what is open by the old time and begin it again by the new one, so that
        instants are those that people read and lengths stay true."""
        if abs(wall_ms - self.axis.at(now_s)) <= STEP_MS or self.unsettled():
            return []
        going_on = list(self.open.values())
        ended = [self._end(one, self.axis.at(now_s)) for one in going_on]
        self.axis = Axis.set_by(wall_ms, self.axis.boot, now_s)
        return ended + [self._begin(one.replica, one.deployment, one.terms, wall_ms) for one in going_on]

    def _follow(self, one: Interval, there: Presence | None, now_s: float) -> Interval:
        """The interval after a look at its replica; the very same object when nothing changed."""
        if one.held_ms is not None:
            if there is None:
                return self._end(one, one.held_ms)
            return self._keep(replace(one, held_ms=None)) if there.terms else one
        if there is None:  # it died since the last look
            last = self._former.get(one.replica)
            return self._end(one, self.axis.at(now_s if last is None else last.seen_at))
        return one if there.terms else self._end(one, self.axis.at(min(there.since, now_s)))

    def _begin(self, replica: str, deployment: str, terms: Terms, at_ms: int) -> Interval:
        self._numbered += 1
        return self._keep(Interval(self._numbered, deployment, replica, terms, at_ms))

    def _keep(self, one: Interval) -> Interval:
        self.open[one.replica] = one
        return one

    def _end(self, one: Interval, at_ms: int) -> Interval:
        del self.open[one.replica]
        return replace(one, ended_ms=max(one.began_ms, at_ms), held_ms=None)


def _held(one: Interval, last: Beat | None) -> Interval:
    """Not seen since the last beat; what an engine before held already stays held where it was."""
    if one.held_ms is not None:
        return one
    return replace(one, held_ms=max(one.began_ms, last.ledger_ms if last else one.began_ms))
