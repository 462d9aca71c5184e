"""How many requests of a deployment may be tried again: a share of those asked lately, and a floor. Pure.

    data   RetryBudget   requests and retries of the last 10 s, second by second
    verbs  asked         one more request
           allows        whether one more of them may be tried again, which then counts
    near   `engine.fleet.balancer` keeps one for each deployment, `engine.gateway.verdict` asks

Without a bound, replicas that refuse under load would be sent every request as often as there are tries. The floor lets
each replica be lost once without a request that fails; a fifth beyond it is what Envoy's retry budget allows, too.
"""

from __future__ import annotations

from collections import deque

SHARE = 0.2
WINDOW_S = 10
FLOOR_MIN = 10


class RetryBudget:
    """Instants are seconds on the caller's monotonic axis, whole seconds are counted together."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, requests, retries], the oldest first

    def asked(self, now: float) -> None:
        self._second(now)[1] += 1

    def allows(self, now: float, floor: int) -> bool:
        """`floor`: so many are always allowed in the window, FLOOR_MIN at least."""
        second = self._second(now)
        asked, retried = (sum(one[which] for one in self._seconds) for which in (1, 2))
        if retried + 1 > SHARE * asked + max(floor, FLOOR_MIN):
            return False
        second[2] += 1
        return True

    def _second(self, now: float) -> list[int]:
        second = int(now)
        while self._seconds and self._seconds[0][0] <= second - WINDOW_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        return self._seconds[-1]
