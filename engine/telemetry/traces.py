"""The requests of this engine that can be explained: those under way, and the newest of those that are over.

In memory alone, and bounded: 5,000 requests and 16 MiB altogether, of which the last 1,000 that failed, met a replica
that was lost, or were slow are kept when they would be too old among all. Who is over goes to whoever listens (the
exporter). Where there is no room, the oldest of the account that has most goes: no account can push out the others'.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator

from client.names import LOCAL_ACCOUNT
from engine.clock import Clock, SystemClock
from engine.telemetry import tracing
from engine.telemetry.trace import Attempt, Trace

RECENT_MAX, KEPT_MAX = 4_000, 1_000
BYTES_MAX = 16 << 20  # a quarter of it for those that are kept longer
SLOW_S = 2.0  # to the first token, or to the end of an answer that has none

# What a trace and an attempt take: the objects themselves, and what hangs on each of them whatever it is.
_TRACE_BYTES = sys.getsizeof(Trace.__new__(Trace)) + 1_100
_ATTEMPT_BYTES = sys.getsizeof(Attempt.__new__(Attempt)) + 900
_JUDGEMENT_BYTES = 300
_LASTED_BYTES = 160
_NUMBER_BYTES = 80


def slow(trace: Trace) -> bool:
    return (trace.seconds if trace.ttft_s is None else trace.ttft_s) > SLOW_S


def telling(trace: Trace) -> bool:
    """Whether it is worth keeping longer than others."""
    return trace.failed or len(trace.attempts) > 1 or slow(trace)


class _Shelf:
    """Traces in order, bounded by number and bytes over all accounts."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max, self._bytes_max = count_max, bytes_max
        self._of: dict[str, deque[Trace]] = {}
        self.count = self.bytes = 0

    def put(self, trace: Trace) -> list[Trace]:
        """Take one in; those that had to go for it."""
        self._of.setdefault(trace.account, deque()).append(trace)
        self.count, self.bytes = self.count + 1, self.bytes + trace.size
        gone = []
        while self.count > self._count_max or self.bytes > self._bytes_max:
            gone.append(self._drop(trace.account))
        return gone

    def _drop(self, account: str) -> Trace:
        """The oldest of `account` if that has its part or more, else of the one that has most."""
        if len(self._of[account]) * len(self._of) < self.count:
            account = max(self._of, key=lambda one: len(self._of[one]))
        mine = self._of[account]
        gone = mine.popleft()
        if not mine:
            del self._of[account]
        self.count, self.bytes = self.count - 1, self.bytes - gone.size
        return gone


class Traces:
    """`over` is called with every request that has ended and is kept."""

    def __init__(
        self, clock: Clock | None = None, *, recent: int = RECENT_MAX, kept: int = KEPT_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.over: Callable[[Trace], None] = _nobody
        self._recent = _Shelf(recent, bytes_max - bytes_max // 4)
        self._kept = _Shelf(kept, bytes_max // 4)
        self._by_id: dict[str, Trace] = {}
        self._seq = 0

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def bytes(self) -> int:
        """Of those that are over; those under way are as many as there are connections."""
        return self._recent.bytes + self._kept.bytes

    def begin(self, trace: Trace) -> None:
        self._seq += 1
        trace.seq = self._seq
        self._by_id[trace.request_id] = trace

    def forget(self, trace: Trace) -> None:
        """It was not worth a word."""
        self._by_id.pop(trace.request_id, None)

    def end(self, trace: Trace) -> None:
        tracing.end(trace)
        trace.size = size_of(trace)
        for old in self._recent.put(trace):
            gone = self._kept.put(old) if telling(old) else [old]
            for one in gone:
                self._by_id.pop(one.request_id, None)
        self.over(trace)

    def get(self, account: str, request_id: str) -> Trace | None:
        """None where there is none of this account's, or none any more."""
        found = self._by_id.get(request_id)
        return found if found is not None and _whose(found) == account else None

    def newest(self, account: str, before: int | None = None) -> Iterator[Trace]:
        """Those of an account, newest first; `before`: from that number on backwards."""
        mine = [t for t in self._by_id.values() if _whose(t) == account and (before is None or t.seq < before)]
        yield from sorted(mine, key=lambda t: -t.seq)


def size_of(trace: Trace) -> int:
    """Bytes that it takes, as a bound from above; what differs between traces is measured, the rest allowed for."""
    texts = len(trace.deployment) + len(trace.model) + len(trace.adapter) + len(trace.why) + len(trace.user)
    texts += len(trace.router) + len(trace.routed)
    texts += _LASTED_BYTES * ((trace.routed_in is not None) + (trace.looked_up_in is not None))
    numbers = sum([len(one.numbers) for one in trace.attempts])
    texts += sum([len(one.guard) + _JUDGEMENT_BYTES for one in trace.judgements])
    return _TRACE_BYTES + texts + _ATTEMPT_BYTES * len(trace.attempts) + _NUMBER_BYTES * numbers


def _whose(trace: Trace) -> str:
    """The account that may see it: of who had no good key, that of those who run the engine."""
    return trace.account or LOCAL_ACCOUNT


def _nobody(trace: Trace) -> None:
    """Nobody listens."""
