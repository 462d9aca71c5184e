"""Where requests wait for a place on a replica: first come, first served, bounded, with deadlines.

Which of the free places one gets is the business of `engine.fleet.balancer`; that it gets one in its turn, and waits
for no better one than there is, is decided here.

The gateway holds what the replicas cannot run yet, so that a replica that becomes ready takes its share of the queue
at once instead of waiting for new arrivals. Whoever would not have a place before its deadline, at the pace at which
the queue is being served, is told so at once, and when to come back: it would only keep others waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

from client.errors import FiredeckError, ResourceExhausted, Unavailable
from engine.clock import Clock
from engine.control.pace import Pace, Service, latest_start_s
from engine.control.route import PREFETCH, Choice, Prompt
from engine.fleet.balancer import DEFAULT_SLOTS, Balancer
from engine.fleet.replica import Replica
from engine.fleet.trials import NOBODY, Trial
from engine.telemetry import tracing

QUEUE_MAX = 512  # requests; beyond it the answer is 429 at once, or 503 while no replica is ready
RETRY_AFTER_S = 5.0
SURE = (
    0.8  # of the time that one has: so much the wait may look like, since half of all waits are longer than they look
)
WEED_EVERY_S = 0.5
HOPELESS = 1.5  # times the time that is left: so much longer the wait must look before one who waits is turned away


@dataclass(eq=False, slots=True)
class Waiter:
    """One request without a place."""

    since: float
    place: asyncio.Future[Replica]
    avoid: frozenset[str]
    trial: Trial | None
    prompt: Prompt
    timeout_s: float
    answered_in_s: float | None = None
    choice: Choice | None = None  # why just that place

    def latest_s(self, takes_s: float) -> float:
        """After how long it must have a place, where answers take so long."""
        return min(self.timeout_s, latest_start_s(self.answered_in_s, takes_s))

    def barred(self) -> Set[str]:
        """Replicas that it may not go to now, though they have room."""
        return self.trial.barred() if self.trial else NOBODY


class Lobby:
    """The queue of one deployment. `ready` gives its ready replicas; `knock` is called when someone must wait, `waited`
    with the seconds that each one did; `balancer` knows the replicas. Nobody new is to wait longer than `most_wait_s`
    while replicas serve."""

    def __init__(
        self,
        ready: Callable[[], Sequence[Replica]],
        knock: Callable[[], None],
        clock: Clock,
        waited: Callable[[float], None] = lambda seconds: None,
        balancer: Balancer | None = None,
        most_wait_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._ready = ready
        self._knock = knock
        self._waited = waited
        self._most_wait_s = most_wait_s
        self._clock = clock
        self._balancer = balancer or Balancer(clock)
        self._waiting: deque[Waiter] = deque()
        self._pace, self._service = Pace(), Service()
        self._weeded_at = 0.0
        self._closed: Exception | None = None

    @property
    def held(self) -> int:
        return len(self._waiting)

    def oldest_s(self) -> float:
        return self._clock.monotonic() - self._waiting[0].since if self._waiting else 0.0

    @asynccontextmanager
    async def place(
        self,
        timeout_s: float,
        avoid: frozenset[str] = NOBODY,
        trial: Trial | None = None,
        prompt: Prompt | None = None,
        answered_in_s: float | None = None,
    ) -> AsyncIterator[Replica]:
        """A place on a replica for the time of the `async with`; one that `trial` bars it from is none. `prompt`: what
        is known of the request; `answered_in_s`: how soon its client wants the whole answer.

        Raises ResourceExhausted when the queue is full (Unavailable while no replica is ready) or so long that no place
        would come within `timeout_s`, or too late for an answer; Unavailable when none came.
        """
        came_at, place = self._clock.monotonic(), asyncio.get_running_loop().create_future()
        waiter = Waiter(came_at, place, avoid, trial, prompt or Prompt(), timeout_s, answered_in_s)
        self._check_queue(waiter)
        replica = await self._wait(waiter)
        began_at, beside = self._clock.monotonic(), replica.in_flight
        try:
            yield replica
        finally:
            now = self._clock.monotonic()
            seconds, cut = now - began_at, answered_in_s is not None and now - came_at >= answered_in_s
            if not replica.suspect:  # what it had was lost, however long that took to be seen
                slots, most = replica.slots or DEFAULT_SLOTS, max(beside, replica.in_flight)
                self._service.ended(seconds, slots, most, cut=cut)
            replica.in_flight -= 1
            self._balancer.ended(seconds)
            self.serve()

    def serve(self) -> None:
        """Give free places to those who wait longest. Call whenever a place may have become free."""
        if not self._waiting:
            return  # as nearly always: every look at a fleet comes by here
        passed_over: list[Waiter] = []  # no free place is one for them
        while self._waiting:
            waiter = self._waiting[0]
            barred = waiter.barred()
            ready = self._ready()
            if not ready:
                self._pace.begin(self._clock.monotonic())
            picked = self._balancer.pick(ready, waiter.prompt, waiter.avoid, barred)
            if picked is None and not barred:
                break
            self._waiting.popleft()
            if picked is None:
                passed_over.append(waiter)
            elif not waiter.place.done():
                self._give(waiter, *picked)
        self._waiting.extendleft(reversed(passed_over))
        self._weed()

    def _weed(self) -> None:
        """Turn away who would have no place in time by far, at the pace of now: of those who have been nowhere yet, and
        have half of their time left, for else there is little to be gained."""
        now, slots = self._clock.monotonic(), self._slots()
        if now - self._weeded_at < WEED_EVERY_S or not self._waiting or not slots or not self._pace.known(slots):
            return
        self._weeded_at = now
        each_s, takes_s, ahead = self._pace.wait_s(1, now, slots) or 0.0, self._takes_s(slots), 0
        for waiter in self._waiting:
            most_s = waiter.latest_s(takes_s)
            left_s = waiter.since + most_s - now
            if waiter.avoid or left_s < most_s / 2 or (ahead + 1) * each_s <= HOPELESS * left_s:
                ahead += 1
            elif not waiter.place.done():
                why = f": {ahead} wait before this one, and are served more slowly than it looked"
                waiter.place.set_exception(self._over(ahead, why).because("overload"))

    def _give(self, waiter: Waiter, replica: Replica, choice: Choice) -> None:
        replica.in_flight += 1
        waiter.choice = choice
        if waiter.trial is not None:
            waiter.trial.begin(replica.id)
        self._balancer.took(replica, waiter.prompt, choice)
        waiter.place.set_result(replica)
        self._pace.given(self._clock.monotonic())

    def refuse(self, error: Exception) -> None:
        """Nobody will be served here any more (the deployment is deleted, the engine ends)."""
        self._closed = error
        self.turn_away(error)

    def turn_away(self, error: Exception) -> None:
        """Those who wait now get `error`; who comes later may wait again."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.place.done():
                waiter.place.set_exception(error)

    def reopen(self) -> None:
        self._closed = None

    async def _wait(self, waiter: Waiter) -> Replica:
        self._waiting.append(waiter)
        granted = at_once = False
        tracing.waits(len(self._waiting) - 1, len(self._ready()))
        try:
            self.serve()
            at_once = waiter.place.done()
            if not at_once and self._waiting[0] is waiter:
                self._knock()  # whoever comes after the first waits for the same
            async with asyncio.timeout(waiter.timeout_s):
                replica = await waiter.place
            granted = True
        except TimeoutError:
            alone = "; a replica died under this request, and others like it are tried first"
            why = f"no replica had a place within {waiter.timeout_s:.0f}s{alone if waiter.barred() else ''}"
            waited = Unavailable(why, hint="retry later", retry_after_s=RETRY_AFTER_S)
            raise waited.because("queue-timeout") from None
        finally:
            self._waited(self._clock.monotonic() - waiter.since)
            if not granted:
                self._abandon(waiter)
            tracing.placed(waiter.choice if granted else None, at_once=at_once)
        return replica

    def _check_queue(self, newcomer: Waiter) -> None:
        """Raises when nobody is served, when the queue is full or too long for this deadline, or for one who has been
        nowhere yet."""
        if self._closed is not None:
            raise self._closed
        held = len(self._waiting)
        in_the_way = any(not waiter.barred() for waiter in self._waiting)  # else a free place would be the newcomer's
        now = self._clock.monotonic()
        if not in_the_way or not self._ready():
            self._pace.begin(now)  # what was before tells nothing about what comes
        if not in_the_way and held < QUEUE_MAX:
            return
        if held >= QUEUE_MAX:
            raise self._full(held)
        slots = self._slots()
        takes_s = self._takes_s(slots)
        wait_s = self._pace.wait_s(held + 1, now, slots, self._service.known_s if slots else None)
        if wait_s is not None and wait_s > SURE * newcomer.latest_s(takes_s):
            why = f": {held} wait, for about {wait_s:.0f}s or longer, and this one has {newcomer.timeout_s:.0f}s"
            if wait_s <= newcomer.timeout_s:
                why += f", of which an answer takes about {takes_s:.0f}s"
            raise self._over(held, why).because("overload")
        most_s = self._most_wait_s()
        if newcomer.avoid or most_s is None or not slots:
            return
        if self._pace.over(most_s, held + 1, self._longest_s(), now, slots, self._service):
            why = f": {held} wait, and one more would for longer than the {most_s:g}s of its maxQueueWait"
            if self._service.known_s is None and not self._pace.known(slots):
                why = f": {held} wait, and before the first was answered no more may than run at a time (maxQueueWait)"
            raise self._over(held, why).because("overload")

    def _slots(self) -> int:
        """Requests that ready replicas run at once."""
        return sum([replica.slots or DEFAULT_SLOTS for replica in self._ready()])

    def _takes_s(self, slots: int) -> float:
        """What an answer takes from its place on, where all are busy: it waits there for a slot. 0 while not known."""
        return (self._service.known_s or 0.0) * (1 + PREFETCH * len(self._ready()) / max(1, slots))

    def _longest_s(self) -> float:
        """How long the first has waited who could have any place."""
        first = next((waiter.since for waiter in self._waiting if not waiter.barred()), None)
        return 0.0 if first is None else self._clock.monotonic() - first

    def _full(self, held: int) -> FiredeckError:
        """429 is for a load that is too much for the replicas; without a replica any load is."""
        if self._ready():
            return self._over(held).because("queue-full")
        text = f"no replica is ready yet, and {QUEUE_MAX} requests wait for one"
        return Unavailable(text, hint="retry later", retry_after_s=RETRY_AFTER_S).because("queue-full")

    def _over(self, held: int, why: str = "") -> ResourceExhausted:
        now, known_s = self._clock.monotonic(), self._service.known_s
        retry_s = self._pace.retry_s(held, now, RETRY_AFTER_S, self._slots(), known_s)
        return ResourceExhausted(
            f"the deployment is over capacity{why}", hint="retry later or add replicas", retry_after_s=retry_s
        )

    def _abandon(self, waiter: Waiter) -> None:
        """Leave the queue; a place that was given just as its waiter gave up is handed back."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
            waiter.place.result().in_flight -= 1
            self.serve()
