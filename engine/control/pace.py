"""How fast a queue is being served, and so how long whoever comes now would wait. Pure: the caller brings the clock.

    data   Pace      the instants at which places were given since the queue formed
           Service   what requests take of a slot, by those that ended lately, whether any of them waited or not
    verbs  Pace.wait_s, Pace.over, Pace.retry_s; latest_start_s: when it is too late to begin
    near   `engine.fleet.lobby` keeps both

Where a deployment says how long anyone may wait, that makes its queue's bound: as many as are given a place in this
time (Little's law), more when replicas are fast and fewer when they are slow. A queue that has just formed tells
nothing yet: what requests took before stands for the places that it has not given, and before any was answered the
longest that anyone may wait does, so that as many wait as there are slots.
"""

from __future__ import annotations

import math
from collections import deque

KNOWN_AFTER = 16  # places given, or one for each slot where there are more: of fewer alone nothing is concluded
KEPT = 128  # or two for each slot: slots that end their requests together look neither fast nor slow
KEPT_MAX = 1024
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0
_WEIGHT = 0.1  # of the newest in the mean of what requests take
_LONG = 1.5  # times the mean: so long may one take that is not to be late
_LONGER_MAX = 10.0  # times the mean: one client that reads for an hour turns no crowd away


class Service:
    """A mean in which the newest counts for a tenth. Until ten were seen, it is of those and of one that is assumed."""

    def __init__(self) -> None:
        self._seen = 0
        self._sum = 0.0
        self._assumed = 1.0  # the part that the assumed one still has

    def ended(self, seconds: float, slots: int, beside: int, *, cut: bool = False) -> None:
        """A request left its place after so long, on a replica of so many slots that had `beside` requests, this one
        among them. Of more than its slots some waited there. With fewer, each may be faster than when all are busy:
        somewhere between not at all and in proportion, so that the geometric mean of these is taken. One that was `cut`
        off by its deadline would have taken longer: how much is not known, so that it makes no request look shorter."""
        scale = slots / beside if beside >= slots else math.sqrt(slots / beside)
        known_s, took_s = self.known_s, seconds * scale
        if cut and took_s < (known_s or 0.0):
            return
        if known_s is not None:
            took_s = min(took_s, _LONGER_MAX * known_s)
        self._seen += 1
        weight = max(_WEIGHT, 1 / (self._seen + 1))
        self._sum += weight * (took_s - self._sum)
        self._assumed *= 1 - weight

    @property
    def known_s(self) -> float | None:
        """Seconds of a slot, by what was seen alone; None before anything was."""
        return self._sum / (1 - self._assumed) if self._seen else None

    def request_s(self, assumed_s: float) -> float:
        return self._sum + self._assumed * assumed_s


def latest_start_s(answered_in_s: float | None, takes_s: float) -> float:
    """In how many seconds a request must have a place that is to be answered within `answered_in_s`, where requests
    take `takes_s` on the mean, and some of them half as much more. At least half of its time: who gives its request
    less than most take knows it to be shorter. Infinite without a deadline."""
    if answered_in_s is None:
        return math.inf
    return answered_in_s - min(_LONG * takes_s, answered_in_s / 2)


class Pace:
    """The instants at which a queue formed (`begin` comes first) and places were given since. The time since the last
    one counts, so that a queue that stands still grows slow."""

    def __init__(self) -> None:
        self._given: deque[float] = deque(maxlen=KEPT_MAX + 1)

    def begin(self, now: float) -> None:
        """A queue forms where there was none."""
        self._given.clear()
        self._given.append(now)

    def given(self, now: float) -> None:
        self._given.append(now)

    def known(self, slots: int) -> bool:
        """Whether the queue itself tells how fast it is served."""
        return len(self._given) > _enough(slots)

    def wait_s(self, places: int, now: float, slots: int = 1, request_s: float | None = None) -> float | None:
        """Seconds until so many more places will have been given. `request_s`: what a request takes of one of the
        `slots`, by what was known before; None while too little is known."""
        if not self.known(slots):
            if request_s is None:
                return None
            count, passed_s, enough = len(self._given) - 1, now - self._given[0], _enough(slots)
            return places * ((enough - count) * request_s / max(1, slots) + passed_s) / enough
        count = min(len(self._given) - 1, max(KEPT, 2 * slots))
        return places * (now - self._given[-1 - count]) / count

    def over(
        self, most_s: float, places: int, oldest_s: float, now: float, slots: int = 1, service: Service | None = None
    ) -> bool:
        """Whether who comes now would wait longer than `most_s` for the last of `places`. While the queue itself tells
        too little, also: if the first of those who wait, for `oldest_s` seconds, does so already."""
        if oldest_s > most_s and not self.known(slots):
            return True
        request_s = (service or Service()).request_s(most_s)
        wait_s = self.wait_s(places, now, slots, request_s)
        return wait_s is not None and wait_s > most_s

    def retry_s(
        self, places: int, now: float, otherwise: float, slots: int = 1, request_s: float | None = None
    ) -> float:
        """When to come back: when those who wait now have been served."""
        wait_s = self.wait_s(places, now, slots, request_s)
        return otherwise if wait_s is None else min(RETRY_MAX_S, max(RETRY_MIN_S, wait_s))


def _enough(slots: int) -> int:
    return min(KEPT_MAX, max(KNOWN_AFTER, slots))
