"""Runs a trace against a policy: arrivals, a bounded queue, replicas that start slowly and drain. Virtual time only.

The gateway is the same for every policy: it holds what does not fit (first come, first served), refuses what finds the
queue full or has waited too long, and sends each request to the replica with the least work.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from engine.fleet.lobby import QUEUE_MAX
from tests.bench.autoscaling.replica_model import Model, Replica, Request
from tests.bench.autoscaling.traces import Row

HOLD_TIMEOUT_S = 300.0  # firedeck.holdTimeout's default
AFTERWARDS_S = HOLD_TIMEOUT_S + 1.0  # after the last arrival, so that every request is served or refused


@dataclass(frozen=True, slots=True)
class View:
    """What a policy may look at. Requests, prompt and generated tokens are those since its last look; `mean` is the
    exact mean since then of requests in the house (held and in replicas), `rate` that of arrivals a second, `ttfts_ms`
    what first tokens took."""

    now: float
    ready: int
    starting: int
    running: int
    held: int
    oldest_held_s: float
    mean: float
    rate: float
    requests: int
    prompt_tokens: float
    generated_tokens: float
    last_request_at: float
    ttfts_ms: Sequence[float]


class Policy(Protocol):
    """`look_s` apart it is asked for a count; `wakes`: also at once when a request finds no replica at all."""

    look_s: float
    wakes: bool

    @property
    def name(self) -> str: ...

    def count(self, view: View) -> int: ...


@dataclass(frozen=True)
class Outcome:
    """Of one run, after its warm-up. Times are seconds; `starts` are replicas that were begun, `refused` requests that
    never had a first token."""

    policy: str
    ttft_p50_s: float
    ttft_p99_s: float
    replica_s: float
    starts: int
    refused: int
    requests: int


@dataclass
class Simulation:
    """One run. `warm_up_s`: neither requests nor replica-seconds before it count, the same for every policy."""

    model: Model
    policy: Policy
    rows: Sequence[Row]
    initial: int = 1
    warm_up_s: float = 0.0
    replicas: list[Replica] = field(default_factory=list)
    held: deque[Request] = field(default_factory=deque)
    ttfts_s: list[float] = field(default_factory=list)  # in the order of first tokens
    counts: list[tuple[float, int]] = field(default_factory=list)  # what was wanted, at each change
    now: float = 0.0
    _events: list[tuple[float, int, Replica | None, int]] = field(default_factory=list)
    _number: int = 0
    _replica_s: float = 0.0
    _starts: int = 0
    _inside: int = 0  # requests held or in replicas
    _area: float = 0.0  # under `_inside` since the policy last looked
    _area_at: float = 0.0
    _looked_at: float = 0.0
    _arrived: int = 0
    _seen: int = 0  # of `ttfts_s`
    _tokens: tuple[float, float] = (0.0, 0.0)
    _gone: tuple[float, float] = (0.0, 0.0)  # tokens of replicas that have ended
    _last_request_at: float = 0.0

    def run(self) -> Outcome:
        arrivals = [Request(*row) for row in self.rows]
        self._want(self.initial, at_once=True)
        self._push(0.0, None, 0)
        end = arrivals[-1].at + AFTERWARDS_S
        following = 0
        while True:
            arrives = arrivals[following].at if following < len(arrivals) else float("inf")
            due = self._events[0][0]
            if min(arrives, due) > end:
                break
            if arrives <= due:
                self._move_to(arrives)
                self._arrive(arrivals[following])
                following += 1
            else:
                self._handle(*heapq.heappop(self._events))
        return self._outcome(arrivals)

    # ------------------------------------------------------------------------------------------------- events

    def _push(self, at: float, replica: Replica | None, version: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, replica, version))

    def _handle(self, at: float, _: int, replica: Replica | None, version: int) -> None:
        if replica is None:
            self._move_to(at)
            self._look()
            self._push(at + self.policy.look_s, None, 0)
        elif replica.version == version and replica in self.replicas:
            self._move_to(at)
            replica.advance(at, self)
            self._remove_if_drained(replica)
            self._schedule(replica)
            self._dispatch()

    def _move_to(self, now: float) -> None:
        counted = max(0.0, min(now, self.rows[-1][0]) - max(self.now, self.warm_up_s))
        self._replica_s += counted * len(self.replicas)
        self.now = now

    def _schedule(self, replica: Replica) -> None:
        due = replica.due() if replica.ready_at <= self.now else replica.ready_at
        if due is not None:
            self._push(due, replica, replica.version)

    def _arrive(self, request: Request) -> None:
        self._arrived += 1
        if len(self.held) >= QUEUE_MAX:
            request.refused = True
            return
        self._count_inside(+1)
        self.held.append(request)
        if self.policy.wakes and not any(not r.draining for r in self.replicas):
            self._look()
        self._dispatch()

    def answered(self, request: Request) -> None:
        self.ttfts_s.append(self.now - request.at)

    def ended(self, request: Request) -> None:
        self._count_inside(-1)
        self._last_request_at = self.now

    def _count_inside(self, change: int) -> None:
        self._area += self._inside * (self.now - self._area_at)
        self._area_at = self.now
        self._inside += change

    # ------------------------------------------------------------------------------------------------ gateway

    def _dispatch(self) -> None:
        while self.held and self.now - self.held[0].at > HOLD_TIMEOUT_S:
            self.held.popleft().refused = True
            self._count_inside(-1)
        while self.held:
            serving = [r for r in self.replicas if r.ready_at <= self.now and not r.draining and r.has_room]
            if not serving:
                return
            replica = min(serving, key=lambda r: (r.in_flight, r.id))
            replica.advance(self.now, self)
            replica.serve(self.held.popleft())
            self._schedule(replica)

    # ------------------------------------------------------------------------------------------------- scaling

    def _look(self) -> None:
        self._count_inside(0)
        elapsed = self.now - self._looked_at
        prompts, generated = self.totals()
        view = View(
            now=self.now,
            ready=sum(r.ready_at <= self.now and not r.draining for r in self.replicas),
            starting=sum(r.ready_at > self.now for r in self.replicas),
            running=self._inside - len(self.held),
            held=len(self.held),
            oldest_held_s=self.now - self.held[0].at if self.held else 0.0,
            mean=self._area / elapsed if elapsed > 0 else float(self._inside),
            rate=self._arrived / elapsed if elapsed > 0 else 0.0,
            requests=self._arrived,
            prompt_tokens=max(0.0, prompts - self._tokens[0]),  # sums of floats
            generated_tokens=max(0.0, generated - self._tokens[1]),
            last_request_at=self._last_request_at,
            ttfts_ms=tuple(1000 * ttft_s for ttft_s in self.ttfts_s[self._seen :]),
        )
        self._area, self._looked_at, self._arrived, self._tokens = 0.0, self.now, 0, (prompts, generated)
        self._seen = len(self.ttfts_s)
        self._want(self.policy.count(view))
        if self.held:
            self._dispatch()

    def totals(self) -> tuple[float, float]:
        """(prompt tokens, generated tokens after the first of each request) ever made."""
        made = [self._gone, *(r.made(self.now) for r in self.replicas)]
        return sum(prompts for prompts, _ in made), sum(generated for _, generated in made)

    def _want(self, count: int, *, at_once: bool = False) -> None:
        """Keep draining ones where more are wanted, start the rest; drain where fewer are, as the reconciler does."""
        serving = [r for r in self.replicas if not r.draining]
        if len(serving) == count:
            return
        if not self.counts or self.counts[-1][1] != count:
            self.counts.append((self.now, count))
        for replica in [r for r in self.replicas if r.draining][: max(0, count - len(serving))]:
            replica.draining = False
            serving.append(replica)
        for _ in range(count - len(serving)):
            self._start(0.0 if at_once else self.model.start_s)
        victims = sorted(serving, key=lambda r: (r.ready_at <= self.now, r.in_flight, -r.started_at))
        for replica in victims[: max(0, len(serving) - count)]:
            replica.draining = True
            self._remove_if_drained(replica)

    def _start(self, start_s: float) -> None:
        self._number += 1
        replica = Replica(self._number, self.model, self.now, self.now + start_s)
        replica.begin(replica.ready_at)
        self.replicas.append(replica)
        self._starts += self.now >= self.warm_up_s
        self._push(replica.ready_at, replica, replica.version)

    def _remove_if_drained(self, replica: Replica) -> None:
        if replica.draining and not replica.in_flight:
            self.replicas.remove(replica)
            prompts, generated = replica.made(self.now)
            self._gone = self._gone[0] + prompts, self._gone[1] + generated

    def _outcome(self, arrivals: Sequence[Request]) -> Outcome:
        counted = [r for r in arrivals if r.at >= self.warm_up_s]
        ttfts = [r.first_token_at - r.at for r in counted if r.first_token_at is not None]
        p50, p99 = np.percentile(ttfts, [50, 99]) if ttfts else (float("nan"), float("nan"))
        refused = len(counted) - len(ttfts)
        return Outcome(self.policy.name, float(p50), float(p99), self._replica_s, self._starts, refused, len(counted))
