"""How fast a queue is being served, and so how long whoever comes now would wait. Pure: the caller brings the clock.

Where a deployment says how long anyone may wait, that makes its queue's bound: as many as are given a place in this
time (Little's law), more when replicas are fast and fewer when they are slow, from one place given to the next.
"""

from __future__ import annotations

from collections import deque

KNOWN_AFTER = 16  # places given; of fewer nothing is concluded
KEPT = 128
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0


class Pace:
    """The instants at which places were given while somebody waited. The time since the last one counts, so that a
    queue that stands still grows slow; a burst (replicas answer in batches) makes it look fast, never slow."""

    def __init__(self) -> None:
        self._given: deque[float] = deque(maxlen=KEPT)

    def begin(self) -> None:
        """A queue forms where there was none."""
        self._given.clear()

    def given(self, now: float) -> None:
        self._given.append(now)

    def wait_s(self, places: int, now: float) -> float | None:
        """Seconds until so many more places will have been given; None while too little is known."""
        if len(self._given) < KNOWN_AFTER:
            return None
        return places * (now - self._given[0]) / (len(self._given) - 1)

    def over(self, most_s: float, places: int, oldest_s: float, now: float) -> bool:
        """Whether who comes now would wait longer than `most_s` for the last of `places`. While too little is known: if
        the first of those who wait, for `oldest_s` seconds, does so already."""
        wait_s = self.wait_s(places, now)
        return (oldest_s if wait_s is None else wait_s) > most_s

    def retry_s(self, places: int, now: float, otherwise: float) -> float:
        """When to come back: when those who wait now have been served."""
        wait_s = self.wait_s(places, now)
        return otherwise if wait_s is None else min(RETRY_MAX_S, max(RETRY_MIN_S, wait_s))
